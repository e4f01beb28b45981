"""Projects of trackio: the SQLite file in which it keeps them, a table `metrics` with what was logged as JSON, and the Parquet
file that it makes of that table."""

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from prunescale.errors import StoreError
from prunescale.runs.importers.opening import MAX_LINE, parsed_json
from prunescale.runs.importers.rows import BadRow, Row, Source
from prunescale.runs.importers.table import limited, read_table
from prunescale.runs.importers.wandb import as_log

OWN = ("run_id", "run_name", "step", "timestamp")
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""How trackio writes what JSON has no word for."""


DAMAGED = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged database raises; SQLite's own messages may be no text."""


def read_trackio(path: Path) -> Source:
    table = read_table(path) if path.suffix.lower() == ".parquet" else _project(path)
    if not {"run_name", "step"} <= set(table.columns):
        raise StoreError(f"{path} is no project of trackio: it has no columns run_name and step.")
    log = as_log(table)
    run = "run_id" if "run_id" in table.columns else "run_name"  # early versions had only names
    step = log.step if log.step == "train/global_step" else "step"
    return replace(log, one_run=False, run=(run,), name="run_name", step=step)


def is_project(path: Path) -> bool:
    """Whether a file is an SQLite database with the table of a project."""
    try:
        with closing(_connect(path)) as connection:
            return {"run_name", "step", "metrics"} <= set(_columns(connection))
    except (*DAMAGED, OSError):
        return False


def _project(path: Path) -> Source:
    if not is_project(path):
        raise StoreError(f"{path} is no project of trackio: an SQLite file with its table metrics, or its Parquet, is needed.")
    names: dict[str, None] = dict.fromkeys(OWN)
    for row in limited(_rows(path), path):
        names |= dict.fromkeys(row.values)
    with closing(_connect(path)) as connection:
        known = _columns(connection)
    columns = tuple(name for name in names if name in known or name not in OWN)
    return Source(path, columns, limited(_rows(path), path))


def _rows(path: Path) -> Iterator[Row]:
    with closing(_connect(path)) as connection:
        own = [name for name in OWN if name in _columns(connection)]
        try:
            for number, logged, *values in connection.execute(
                f"SELECT id, CASE WHEN length(metrics) <= {MAX_LINE} THEN metrics END, {', '.join(own)} FROM metrics ORDER BY id"
            ):
                yield _row(f"row {number}", logged, dict(zip(own, values, strict=True)))
        except DAMAGED as error:
            raise StoreError(f"{path} cannot be read ({error}).") from error


def _row(where: str, logged: Any, own: dict[str, Any]) -> Row:
    try:
        values = parsed_json(logged, where) if isinstance(logged, str | bytes) else None
    except StoreError:
        values = None
    if not isinstance(values, dict):
        return Row(where, own, BadRow("not JSON", "has no JSON object of metrics"))
    return Row(where, {name: _finite(value) for name, value in values.items()} | own)


def _finite(value: Any) -> Any:
    return NOT_FINITE.get(value, value) if isinstance(value, str) else value


def _connect(path: Path) -> sqlite3.Connection:
    """To read only. A project at rest is opened as a file that nobody changes, so that nothing is written beside it."""
    log = path.with_name(path.name + "-wal")
    at_rest = not log.exists() or log.stat().st_size == 0
    mode = "mode=ro&immutable=1" if at_rest else "mode=ro"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 16 * MAX_LINE)  # a column may be an expression, of any size
    return connection


def _columns(connection: sqlite3.Connection) -> list[str]:
    """Of the table metrics; none if that is no table."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'metrics'").fetchone():
        return []
    return [row[1] for row in connection.execute("PRAGMA table_info(metrics)")]
