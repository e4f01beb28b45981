"""A process that does one job and leaves its outcome beside it: `python -m prunescale.sweep.worker JOB.json`, also under torchrun."""

import json
import os
import sys
from pathlib import Path

from prunescale.sweep.job import Job, carry_out, outcome_file
from prunescale.training import Progress
from prunescale.training.resume import write_whole


def main(file: str) -> None:
    job = Job(**json.loads(Path(file).read_text(encoding="utf-8")))
    outcome = carry_out(job, Progress(note=lambda sentence: print(sentence, file=sys.stderr, flush=True)))
    if int(os.environ.get("RANK", "0")) == 0:
        write_whole(outcome_file(job), json.dumps({"state": outcome.state, "reason": outcome.reason}))


if __name__ == "__main__":
    main(sys.argv[1])
