"""One run of a sweep, carried out in a folder of its own by whichever process it falls to.

    training/       measurements and checkpoints (see training/resume.py)
    status.json     how far it is, for whoever looks
    result.json     the record of the run, when it has ended
    lock            held by the process that is at it, which the system takes from a process that is killed

A job is plain content, so that it reaches another process or machine as JSON. The folder must be reached from there under the same path.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch

from prunescale.errors import PrunescaleError, TrainingError, TrainingStopped, in_one_line
from prunescale.fields import fits
from prunescale.models import read_lineage, save
from prunescale.recipe import Recipe
from prunescale.runs import Point, Run, read_json, runs_to_json
from prunescale.sweep.one import run_recipe
from prunescale.training import Machine, Progress, both, ranks_of_torchrun
from prunescale.training.resume import write_whole

TOLD_EVERY = 0.5
"""Seconds from one status to the next."""

ASKED_EVERY = 0.1
"""Seconds from one look at the stop file and the driver to the next: on a network drive each takes its time."""

State = Literal["done", "stopped", "refused", "failed"]


@dataclass(frozen=True)
class Job:
    """What to do, and where. recipe: as `Recipe.to_dict` gives it. attempt: tells this try from those before. n_processes: that share the
    model, a GPU each. It stops at a checkpoint at `until` (Unix time), where there is a `stop_file`, and where the process `driver` of
    this machine is gone. save_to: a folder for the trained model. jobs_per_gpu: that may share a GPU, which its seconds depend on."""

    recipe: dict[str, Any]
    folder: str
    stop_file: str
    attempt: str = "first"
    device: str = "auto"
    n_processes: int = 1
    jobs_per_gpu: int = 1
    until: float | None = None
    driver: int | None = None
    save_to: str | None = None
    checkpoint_minutes: float = 10.0
    part_tokens: int | None = None
    recompute: bool = False

    @property
    def should_stop(self) -> bool:
        is_late = self.until is not None and time.time() >= self.until
        return is_late or Path(self.stop_file).exists() or (self.driver is not None and not is_alive(self.driver))


@dataclass(frozen=True)
class Outcome:
    """How a job ended. done: with the record of its run. stopped: at a checkpoint, as it was asked to. refused: for a reason that will be
    the same when it is tried again. failed: for another, such as a process that was killed."""

    state: State
    run: Run | None = None
    reason: str = ""


def carry_out(job: Job, progress: Progress | None = None) -> Outcome:
    """Do a job in this process, or this process's part of it under torchrun, and come back with how it ended; only what interrupts a
    process, such as KeyboardInterrupt, is raised. A job that is done already is not done again."""
    folder = Path(job.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "lock", is_wanted=int(os.environ.get("RANK", "0")) == 0):
            return trained(job, folder, progress or Progress())
    except TrainingStopped as stop:
        return Outcome("stopped", reason=str(stop))
    except PrunescaleError as error:
        return Outcome("refused", reason=str(error))
    except torch.OutOfMemoryError:
        return Outcome("failed", reason="The GPU has too little memory free: compute fewer tokens at once, or blocks anew.")
    except Exception as error:  # a process that does many jobs goes on with the next
        return Outcome("failed", reason=f"{type(error).__name__}: {in_one_line(str(error))}")


def trained(job: Job, folder: Path, progress: Progress) -> Outcome:
    """Several processes decide together what each could see differently: whether it is done, and whether it should stop."""
    recipe = Recipe.from_dict(job.recipe)
    with ranks_of_torchrun(device_of(job.device)) as (ranks, device):
        kept = kept_result(folder) if ranks.is_first else None
        if ranks.same(kept is not None):
            return kept or Outcome("done")
        if ranks.same(job.should_stop):
            raise TrainingStopped("Stopped before it began.")
        if job.save_to:
            refuse_anothers_model(Path(job.save_to), recipe)
        status = Status(folder / "status.json", recipe.train.tokens)
        machine = Machine(device, ranks, job.part_tokens, job.recompute, 60 * job.checkpoint_minutes, now_and_then(job))
        told = both(progress, status.progress) if ranks.is_first else None
        with like_a_fresh_process(device):
            done = run_recipe(recipe, machine=machine, keep_in=folder / "training", progress=told)
        if done is None:
            return Outcome("done")
        run, checkpoint = done
        if job.jobs_per_gpu > 1:
            run = replace(run, inputs={**run.inputs, "runs_per_gpu": float(job.jobs_per_gpu)})
        if job.save_to:
            shutil.rmtree(job.save_to, ignore_errors=True)  # of one that was killed before it had told
            save(checkpoint, job.save_to, dtype=checkpoint.dtype)
        write_whole(folder / "result.json", runs_to_json((run,)))
    return Outcome("done", run)


def refuse_anothers_model(place: Path, recipe: Recipe) -> None:
    """Raise TrainingError where the trained model would take the place of one of another recipe."""
    history = read_lineage(place).get("training") or [{}]
    if place.exists() and history[-1].get("recipe") != json.loads(json.dumps(recipe.to_dict())):
        raise TrainingError(f"{place} is the model of another recipe: move it away, or give the sweep another --folder.")


def now_and_then(job: Job) -> Callable[[], bool]:
    """Whether a job should stop, as a training may ask after each step: the clock is looked at each time, the rest not as often."""
    looked = [-ASKED_EVERY]

    def should_stop() -> bool:
        if job.until is not None and time.time() >= job.until:
            return True
        if time.monotonic() - looked[0] < ASKED_EVERY:
            return False
        looked[0] = time.monotonic()
        return job.should_stop

    return should_stop


def outcome_file(job: Job) -> Path:
    """Where a process of its own leaves how this try ended."""
    return Path(job.folder) / f"job-{job.attempt}-outcome.json"


@contextmanager
def like_a_fresh_process(device: torch.device) -> Iterator[None]:
    """What one job leaves behind is not to touch the next in the same process: torch.compile gives up after some models that went through
    the same function, and the peak of the GPU's memory is that of the process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        yield
    finally:
        torch.compiler.reset()


def is_alive(process: int) -> bool:
    """Also one that has ended and that nobody has asked about since is none."""
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's, or not Linux
        return True
    return state != "Z"


def kept_result(folder: Path) -> Outcome | None:
    """What an earlier process has left when it had come to the end; None where there is nothing that can be read."""
    try:
        (run,) = read_json(folder / "result.json")
    except (PrunescaleError, ValueError):
        return None
    return Outcome("done", run)


def device_of(name: str) -> torch.device:
    return torch.device(name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def locked(file: Path, *, is_wanted: bool = True) -> Iterator[None]:
    """Wait until no other process is at it: one that was left alone stops at its next step."""
    if not is_wanted:
        yield
        return
    with open(file, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_held(lock: Path) -> bool:
    """Whether a process is at the run that this lock belongs to."""
    try:
        with open(lock) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


class Status:
    """Writes to a file how far a training is, for other processes to read."""

    def __init__(self, file: Path, n_tokens: int) -> None:
        self.file = file
        self.content: dict[str, Any] = {"stage": "loading", "of_tokens": n_tokens, "n_tokens": 0}
        self.began, self.n_before, self.told = time.monotonic(), 0, 0.0
        self.tell()

    @property
    def progress(self) -> Progress:
        return Progress(note=self.note, stage=self.stage, begin=self.begin, step=self.step, point=self.point)

    def tell(self) -> None:
        self.content["time"], self.told = time.time(), time.monotonic()
        beside = self.file.with_suffix(".unfinished")
        with suppress(OSError):  # a full disk: no reason to end a training
            beside.write_text(json.dumps(self.content), encoding="utf-8")  # no fsync: of no use after a crash
            beside.replace(self.file)

    def stage(self, words: str) -> None:
        self.content["stage"] = words
        self.tell()

    def note(self, sentence: str) -> None:
        self.content["notes"] = [*self.content.get("notes", ()), sentence]
        self.tell()

    def begin(self, n_tokens: int, flops_per_token: float) -> None:
        self.content |= {"n_tokens": n_tokens, "seconds_to_begin": time.monotonic() - self.began}
        self.began, self.n_before = time.monotonic(), n_tokens
        self.tell()

    def step(self, n_tokens: int) -> None:
        if time.monotonic() - self.told < TOLD_EVERY:
            return
        seconds = time.monotonic() - self.began
        self.content |= {"n_tokens": n_tokens, "tokens_per_second": (n_tokens - self.n_before) / seconds if seconds else None}
        self.tell()

    def point(self, point: Point) -> None:
        self.content["loss"] = point.loss


@dataclass(frozen=True)
class Told:
    """What a process that is at a run says of it. n_tokens: trained on. loss: the last measured. seconds_to_begin: from its start to the
    first step. What is not known, or is no such thing, is None."""

    stage: str | None = None
    n_tokens: int | None = None
    tokens_per_second: float | None = None
    loss: float | None = None
    seconds_to_begin: float | None = None
    notes: tuple[str, ...] = ()


def status_of(folder: Path) -> Told:
    """What is told in a folder; nothing where no process has begun."""
    try:
        content = json.loads((folder / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return Told()
    if not isinstance(content, dict):
        return Told()
    notes = content.get("notes")
    numbers: dict[str, Any] = {
        field.name: content.get(field.name) for field in fields(Told) if field.name not in ("stage", "notes")
    }
    known = {name: value for name, value in numbers.items() if fits(value, int | float) and (value == 0 or 1e-9 < value < 1e18)}
    return Told(
        stage=stage if isinstance(stage := content.get("stage"), str) else None,
        notes=tuple(note for note in notes if isinstance(note, str)) if isinstance(notes, list) else (),
        **known,
    )
