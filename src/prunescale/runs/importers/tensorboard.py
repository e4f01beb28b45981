"""Event files of TensorBoard: each folder that holds some is a run, each tag a column, each step a row."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prunescale.errors import StoreError
from prunescale.runs.importers.opening import needed
from prunescale.runs.importers.rows import MAX_ROWS, Row, Source
from prunescale.runs.importers.wandb import as_log

MARK = "tfevents"
RUN, STEP = "run", "step"
FRAME = 16
"""Bytes around a record: its length, and two check sums."""

Steps = dict[int, dict[str, float]]


def read_tensorboard(path: Path) -> Source:
    """The scalars below a folder, or of one event file."""
    folders = _folders(path)
    if not folders:
        raise StoreError(f"There are no event files of TensorBoard in {path}: their names have {MARK} in them.")
    runs: dict[str, Steps] = {}
    notes: list[str] = []
    for name, files in folders.items():
        runs[name] = {}
        for file in files:
            notes += _add(file, runs[name])
    tags = dict.fromkeys(tag for steps in runs.values() for values in steps.values() for tag in values)
    log = as_log(Source(path, (RUN, STEP, *(tag for tag in tags if tag not in (RUN, STEP))), _rows(runs), notes=tuple(notes)))
    return Source(**{**vars(log), "one_run": False, "run": (RUN,), "name": RUN, "step": STEP})


def event_files(path: Path) -> list[Path]:
    """A file that is one, or those below a folder, in the order of their names, which begin with the time."""
    if path.is_dir():
        return sorted(file for file in path.rglob(f"*{MARK}*") if file.is_file())
    return [path] if MARK in path.name else []


def _folders(path: Path) -> dict[str, list[Path]]:
    """The event files of each run, by the run's name: its folder below the path, or the path's own name."""
    top = path if path.is_dir() else path.parent
    folders: dict[str, list[Path]] = {}
    for file in event_files(path):
        name = file.parent.relative_to(top).as_posix()
        folders.setdefault(top.resolve().name if name == "." else name, []).append(file)
    return folders


def _add(file: Path, steps: Steps) -> list[str]:
    """Put the scalars of an event file with those of its run; back comes what to know about the file.

    Where a tag's steps go back, training was resumed from an earlier checkpoint: what the tag had from there on is forgotten.
    """
    with needed("tensorboard", "tensorboard", "TensorBoard's event files"):
        from tensorboard.compat.proto.event_pb2 import Event
    of_tag: dict[str, list[int]] = defaultdict(list)  # rising
    for step, values in sorted(steps.items()):
        for tag in values:
            of_tag[tag].append(step)
    n_bytes = n_events = 0
    for record in _records(file):
        try:
            event = Event.FromString(record)
        except Exception as error:  # protobuf's own, whose class has moved from version to version
            raise StoreError(f"{file} is damaged: its event {n_events + 1} cannot be read.") from error
        n_bytes, n_events = n_bytes + len(record) + FRAME, n_events + 1
        for tag, value in _scalars(event):
            _forget(steps, tag, of_tag[tag], event.step)
            steps.setdefault(event.step, {})[tag] = value
            of_tag[tag].append(event.step)
        if len(steps) > MAX_ROWS:
            raise StoreError(f"{file} has more than {MAX_ROWS:,} steps.")
    if n_bytes < file.stat().st_size:
        return [f"{file.name} is cut short or damaged after {n_events} events; what follows was not read."]
    return []


def _records(file: Path) -> Iterator[bytes]:
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

    try:
        yield from RawEventFileLoader(str(file)).Load()
    except OSError as error:
        raise StoreError(f"{file} cannot be read ({error.strerror}).") from error


def _scalars(event: Any) -> Iterator[tuple[str, float]]:
    """The single numbers of an event: as older writers put them, and as tensors without dimensions."""
    for value in event.summary.value:
        if value.HasField("simple_value"):
            yield value.tag, value.simple_value
        elif value.HasField("tensor") and not value.tensor.tensor_shape.dim:
            number = _of_tensor(value.tensor)
            if number is not None:
                yield value.tag, number


def _of_tensor(tensor: Any) -> float | None:
    from tensorboard.compat.proto import types_pb2
    from tensorboard.util.tensor_util import make_ndarray

    if tensor.dtype not in (types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE, types_pb2.DT_INT32, types_pb2.DT_INT64):
        return None
    try:
        return float(make_ndarray(tensor))
    except (TypeError, ValueError):
        return None


def _forget(steps: Steps, tag: str, of_tag: list[int], from_step: int) -> None:
    """Each step of a tag is forgotten once at most, so that a log which goes back at every event takes no longer to read."""
    while of_tag and of_tag[-1] >= from_step:
        step = of_tag.pop()
        steps[step].pop(tag, None)
        if not steps[step]:
            del steps[step]


def _rows(runs: dict[str, Steps]) -> Iterator[Row]:
    for name, steps in runs.items():
        for step, values in sorted(steps.items()):
            yield Row(f"step {step} of {name}", {**values, RUN: name, STEP: step})
