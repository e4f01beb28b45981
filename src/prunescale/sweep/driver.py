"""A sweep: the runs of a study, done by an engine, each put into the store when it has ended.

The store says what is done, and the folder of the sweep what is under way, so a sweep that was stopped or killed at any moment goes
on when it is started again. Only the driver writes to the store.

    driver.lock     held by the driver, which the system takes from one that is killed
    stop            there, jobs are asked to stop at a checkpoint
    <recipe hash>/  a run: see job.py; and failures.json, why it has failed so far
    models/         the trained models, by the names of the runs, where they are kept
"""

import fcntl
import json
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from prunescale import embedded
from prunescale.errors import TrainingError
from prunescale.pruning.prune import refuse_unknown_method
from prunescale.recipe import Recipe
from prunescale.runs import Store
from prunescale.study import Planned, Study
from prunescale.sweep.engines import Engine, Pending
from prunescale.sweep.job import Job, Outcome, is_held, status_of
from prunescale.training import refuse_damaged
from prunescale.training.resume import write_whole
from prunescale.training.shards import is_shards

LOOKED_EVERY = 0.1
"""Seconds from one look at the jobs under way to the next."""

Stage = Literal["waiting", "running", "done", "stopped", "failed"]


@dataclass
class Entry:
    """A run of the study and where it stands. stopped: before its end, with a checkpoint to go on from. known: it was in the store before
    the sweep began. reason: of the last failure. loss: the last measured one of a run that is done."""

    run: Planned
    folder: Path
    stage: Stage = "waiting"
    known: bool = False
    failures: int = 0
    reason: str = ""
    loss: float | None = None
    pending: Pending | None = field(default=None, repr=False)

    @property
    def model(self) -> Path:
        """Where the trained model is, or would be."""
        return self.folder.parent / "models" / self.run.file_name


@dataclass(frozen=True)
class Settings:
    """job: what each of the sweep's jobs is given (see `Job`). retries: of a job that failed. seconds: after which all stop."""

    job: dict[str, Any]
    save_models: bool = False
    retries: int = 2
    seconds: float | None = None
    keep_checkpoints: bool = False


def sweep(
    study: Study,
    store: str | Path,
    folder: str | Path,
    engine: Engine,
    settings: Settings,
    look: Callable[[Sequence[Entry]], None] = lambda entries: None,
) -> list[Entry]:
    """Do what a study asks for and is not in the store, and come back with where each of its runs stands.

    folder: for the runs under way. look: is called now and then with all entries. After an interrupt or SIGTERM, jobs are asked to
    stop at a checkpoint, and after another they are ended at once. A job that is refused, for a reason that stays, is not tried
    again; one that fails is, after the others. Raises TrainingError where another sweep is at work in the folder, StoreError where
    the store cannot be written, and DataError for token shards that are not as they were written.
    """
    refuse_impossible(run.recipe for run in study.runs)
    place = Path(folder).absolute()
    with only_one(place), Store.create(store) as runs:
        stop_file = place / "stop"
        stop_file.unlink(missing_ok=True)
        until = None if settings.seconds is None else time.time() + settings.seconds
        common = Job({}, "", str(stop_file), until=until, **settings.job)
        entries = entries_of(study, runs, place)
        waiting = [entry for entry in entries if entry.stage != "done"]
        to_begin = [seconds_to_begin(entry) for entry in entries if entry.folder.exists()] or [0.0]
        refuse_damaged_texts(entry.run.recipe for entry in waiting)
        for entry in waiting:  # what earlier sweeps have come to does not count
            entry.stage, entry.failures, entry.reason = "waiting", 0, ""

        begun: list[Entry] = []

        def under_way() -> list[Entry]:
            return [entry for entry in entries if entry.pending]

        def job_of(entry: Entry) -> Job:
            attempt = uuid.uuid4().hex[:8]
            save_to = str(entry.model) if settings.save_models else None
            return replace(common, recipe=entry.run.recipe.to_dict(), folder=str(entry.folder), attempt=attempt, save_to=save_to)

        def is_too_late() -> bool:
            """A run that is begun now would be stopped before its first step; while it compiles it cannot be. The first is begun anyway."""
            return common.should_stop or (until is not None and bool(begun) and time.time() + max(to_begin) >= until)

        def filled() -> None:
            while waiting and len(under_way()) < engine.n_slots and not is_too_late():
                entry = waiting.pop(0)
                if found := runs.find(entry.run.recipe.hash):  # by another sweep, meanwhile
                    entry.stage, entry.loss = "done", found.loss
                    continue
                entry.stage = "running"
                begun.append(entry)
                look(entries)
                try:
                    entry.pending = engine.start(job_of(entry))
                except OSError as error:
                    settled(entry, Outcome("failed", reason=f"{entry.folder} cannot be written ({error.strerror})."))

        def collected() -> None:
            for entry in under_way():
                assert entry.pending
                if outcome := entry.pending.outcome():
                    entry.pending = None
                    to_begin.append(seconds_to_begin(entry))
                    settled(entry, outcome)
                    look(entries)

        def settled(entry: Entry, outcome: Outcome) -> None:
            if outcome.run:
                runs.add_unless_done(outcome.run)
                entry.stage, entry.loss = "done", outcome.run.loss
                for file in (entry.folder / "failures.json", *entry.folder.glob("job-*.json")):
                    file.unlink(missing_ok=True)
                if not settings.keep_checkpoints:
                    shutil.rmtree(entry.folder / "training", ignore_errors=True)
            elif outcome.state == "stopped":
                entry.stage = "stopped"
            else:
                entry.stage, entry.reason, entry.failures = "failed", outcome.reason, entry.failures + 1
                told_of_failure(entry)
                if outcome.state == "failed" and entry.failures <= settings.retries:
                    entry.stage = "waiting"
                    waiting.append(entry)

        try:
            with interrupts_ask(stop_file):
                while (waiting and not is_too_late()) or under_way():
                    filled()
                    collected()
                    if under_way():
                        look(entries)
                        time.sleep(LOOKED_EVERY)
        finally:
            for entry in under_way():
                assert entry.pending
                entry.pending.kill()
            stop_file.unlink(missing_ok=True)
        return entries


def entries_of(study: Study, store: Store | None, folder: str | Path) -> list[Entry]:
    """Where each run of a study stands, whoever is at it."""
    known = {run["recipe_hash"]: run["loss"] for run in store.summaries()} if store else {}
    entries = []
    for run in study.runs:
        entry = Entry(run, Path(folder) / run.recipe.hash)
        failures = failures_of(entry)
        entry.failures, entry.reason = len(failures), failures[-1] if failures else ""
        if run.recipe.hash in known:
            entry.stage, entry.known, entry.loss = "done", True, known[run.recipe.hash]
        elif is_held(entry.folder / "lock"):
            entry.stage = "running"
        elif failures:
            entry.stage = "failed"
        elif (entry.folder / "training").exists():
            entry.stage = "stopped"
        entries.append(entry)
    return entries


def refuse_impossible(recipes: Iterable[Recipe]) -> None:
    """Raise PruningError for a method that there is none of, AssetError for such an embedded model: a run would only tell at its turn,
    while the others are trained."""
    for recipe in recipes:
        if recipe.prune:
            refuse_unknown_method(recipe.prune.method)
        if recipe.base and recipe.base.startswith(embedded.PREFIX):
            embedded.model_folder(recipe.base.removeprefix(embedded.PREFIX))


def refuse_damaged_texts(recipes: Iterable[Recipe]) -> None:
    """Read the token shards of some recipes, each folder once: what is not as it was written would spoil runs without a word."""
    for text in sorted({text for recipe in recipes for text in (recipe.train.data, recipe.train.held_out)}):
        if is_shards(Path(text).expanduser()):
            refuse_damaged(text)


def seconds_to_begin(entry: Entry) -> float:
    """From the start of its process to the first step, for loading, pruning and compiling."""
    return status_of(entry.folder).seconds_to_begin or 0.0


def failures_of(entry: Entry) -> list[str]:
    """Why a run has failed so far, a line each."""
    try:
        return [str(reason) for reason in json.loads((entry.folder / "failures.json").read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, RecursionError):
        return []


def told_of_failure(entry: Entry) -> None:
    with suppress(OSError):  # of a full disk, say, which is then the reason
        entry.folder.mkdir(parents=True, exist_ok=True)
        write_whole(entry.folder / "failures.json", json.dumps([*failures_of(entry), entry.reason]))


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Raises TrainingError where another process is inside with the same folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "driver.lock", "w")  # noqa: SIM115 - until the end of this
    except OSError as error:
        raise TrainingError(f"No sweep can work in {folder} ({error.strerror}): name another --folder.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainingError(
                f"Another sweep is at work in {folder}: wait for it, look at it with `prunescale sweep status`, or name another --folder."
            ) from error
        yield


@contextmanager
def interrupts_ask(stop_file: Path) -> Iterator[None]:
    """Inside, the first interrupt from the keyboard or SIGTERM makes the file by which jobs are asked to stop; another interrupt is
    one. In another thread than the first of the process, which signals do not reach, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(*_: Any) -> None:
        stop_file.touch()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {sign: signal.signal(sign, ask) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
