"""The formats that can be read, by name, and which of them a path is."""

from collections.abc import Callable
from pathlib import Path

from prunescale.errors import StoreError
from prunescale.runs.export import POINT_FIELDS, YOUNG_FIELDS, csv_header
from prunescale.runs.importers.opening import refuse_odd
from prunescale.runs.importers.rows import Source
from prunescale.runs.importers.table import csv_header as header_of
from prunescale.runs.importers.table import parquet_columns, read_table
from prunescale.runs.importers.tensorboard import event_files, read_tensorboard
from prunescale.runs.importers.trackio import is_project, read_trackio
from prunescale.runs.importers.trainer_state import find, read_trainer_state
from prunescale.runs.importers.wandb import is_history, is_panel, read_wandb
from prunescale.runs.reading import read_json, read_runs
from prunescale.runs.record import Run

OURS = "prunescale"
READERS: dict[str, Callable[[Path], Source]] = {
    "table": read_table,
    "trainer-state": read_trainer_state,
    "tensorboard": read_tensorboard,
    "wandb": read_wandb,
    "trackio": read_trackio,
}
"""Of runs that were measured elsewhere."""
OUR_HEADER = tuple(csv_header(without=YOUNG_FIELDS)[: 1 - len(POINT_FIELDS)])
SQLITE = b"SQLite format 3\0"


def format_of(path: Path) -> str:
    """The format of what lies at a path, by its name and its beginning; what cannot be told is taken for exported runs of ours."""
    refuse_odd(path)
    if not path.exists():
        return OURS
    if path.is_dir():
        return _of_folder(path)
    if event_files(path):
        return "tensorboard"
    match path.suffix.lower():
        case ".csv" | ".tsv" | ".txt":
            return _of_columns(header_of(path))
        case ".parquet":
            return _of_columns(parquet_columns(path))
        case ".jsonl" | ".ndjson":
            return "wandb" if '"_step"' in _beginning(path) else "table"
        case ".json":
            return "trainer-state" if path.name == "trainer_state.json" or '"log_history"' in _beginning(path) else OURS
    return "trackio" if is_project(path) else OURS


def _of_folder(path: Path) -> str:
    try:
        find(path)
    except StoreError:
        if event_files(path):
            return "tensorboard"
        raise StoreError(f"In the folder {path} there is no trainer_state.json and no event file of TensorBoard.") from None
    return "trainer-state"


def _of_columns(columns: tuple[str, ...]) -> str:
    if columns[: len(OUR_HEADER)] == OUR_HEADER:
        return OURS
    if {"run_name", "step", "timestamp"} <= set(columns):
        return "trackio"
    return "wandb" if is_history(columns) or is_panel(columns) else "table"


def read_ours(path: Path) -> list[Run]:
    """Exported runs, as JSON or CSV, or those of another store."""
    refuse_odd(path)
    if path.suffix.lower() == ".csv" or (path.is_file() and _beginning(path).startswith(SQLITE.decode())):
        return read_runs(path)
    return read_json(path)


def _beginning(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(65536).decode("utf-8", errors="replace")
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}): give the path of a file that is there.") from error
