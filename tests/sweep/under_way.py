"""Jobs that are watched while they are under way, and interrupted."""

import time
from pathlib import Path

N_STEPS = 400
"""Of a run that is interrupted: two seconds go by after its first checkpoint, where nobody else wants the cores."""


def curve_of(outcome):
    assert outcome.state == "done", outcome
    return [(point.n_tokens, point.loss, point.learning_rate, point.phase) for point in outcome.run.points]


def until_true(found, seconds=60):
    """Ask again and again, and come back with the answer."""
    until = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return answer


def in_mid_training(job):
    """Wait for a checkpoint; back comes the process that is at it, which holds the lock."""
    folder = Path(job.folder)
    until_true(lambda: list(folder.glob("training/step-*")))
    number = (folder / "lock").stat().st_ino
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    (process,) = [int(lock[4]) for lock in locks if lock[1] == "FLOCK" and lock[5].endswith(f":{number}")]
    return process
