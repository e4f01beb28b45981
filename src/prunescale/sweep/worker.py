"""A process that does one job and leaves its outcome beside it: `python -m prunescale.sweep.worker JOB.json`, also under torchrun."""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

from prunescale.sweep.job import Job, carry_out, outcome_file
from prunescale.training import Progress
from prunescale.training.resume import write_whole

PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Be killed when the process that started this one is, where the system can do that (Linux): torchrun puts its processes into sessions
    of their own, where a signal to its group does not reach them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(file: str) -> None:
    if "RANK" in os.environ:
        end_with_parent()
    job = Job(**json.loads(Path(file).read_text(encoding="utf-8")))
    outcome = carry_out(job, Progress(note=lambda sentence: print(sentence, file=sys.stderr, flush=True)))
    if int(os.environ.get("RANK", "0")) == 0:
        write_whole(outcome_file(job), json.dumps({"state": outcome.state, "reason": outcome.reason}))
    if outcome.state in ("refused", "failed"):
        sys.exit(f"{outcome.state}: {outcome.reason}")  # so that torchrun ends the others, which would wait for this one


if __name__ == "__main__":
    main(sys.argv[1])
