"""Runs back from the text that `export` made of them, and from whatever of ours holds runs."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

from prunescale.errors import StoreError
from prunescale.fields import fits, in_words, read
from prunescale.file_names import is_odd
from prunescale.runs.check import check
from prunescale.runs.export import CSV_NAMES, FORMATS, POINT_FIELDS, RUN_FIELDS, YOUNG_FIELDS, csv_header
from prunescale.runs.record import Point, Run
from prunescale.runs.store import Store


def is_exported(path: str | Path) -> bool:
    """Whether a path is that of a file of exported runs, which ends in .json or .csv, and not of a store. Raises StoreError for what is
    neither."""
    if is_odd(path):
        raise StoreError(f"{path} is no ordinary file: give the path of a store or of exported runs.")
    return Path(path).suffix.lower() in (".json", ".csv")


def read_runs(path: str | Path) -> list[Run]:
    """The runs at a path, oldest first in a store."""
    if not is_exported(path):
        with Store.open(path) as store:
            return list(store.list())
    return read_json(path) if Path(path).suffix.lower() == ".json" else read_csv(path)


def read_json(path: str | Path) -> list[Run]:
    """The runs in a file that was written with `runs_to_json`: all of them, or a StoreError that names the file and why."""
    return _told(path, runs_from_json)


def read_csv(path: str | Path) -> list[Run]:
    """The runs in a file that was written with `runs_to_csv`: all of them, or a StoreError that names the file and why."""
    return _told(path, runs_from_csv)


def _told(path: str | Path, runs_from: Any) -> list[Run]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return runs_from(file.read())
    except OSError as error:
        raise StoreError(f"No runs can be read at {path} ({error.strerror}): give the path of exported runs.") from error
    except UnicodeDecodeError as error:
        raise StoreError(
            f"{path} is no text, as exported runs are: export them as JSON or CSV; Parquet is not read back."
        ) from error
    except (ValueError, StoreError) as error:  # no path
        raise StoreError(f"{path}: {error}") from error
    except RecursionError as error:
        raise StoreError(f"{path} is nested too deep to hold runs: give the path of exported runs.") from error


def runs_from_json(text: str) -> list[Run]:
    """The runs that `runs_to_json` was called on."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"This is not JSON: {error}.") from error
    if not isinstance(content, dict) or content.get("format") not in FORMATS or not isinstance(content.get("runs"), list):
        raise StoreError(f'These are no exported runs; needed is JSON with "format": "{FORMATS[-1]}" and a list "runs".')
    return [_run_of_json(record, f"run {number}") for number, record in enumerate(content["runs"])]


def _run_of_json(record: Any, where: str) -> Run:
    values = _typed(Run, record, where)
    points = tuple(
        Point(**(point if _is_plain(point) else _typed(Point, point, f"{where}, point {i}")))
        for i, point in enumerate(values.pop("points"))
    )
    run = Run(**values, points=points)
    check(run)
    return run


PLAIN = {"n_tokens": int, "loss": float, "learning_rate": float, "phase": str, "seconds": float}
"""The fields of nearly all points. What is of these very types needs no look at each annotation, which takes ten times as long."""


def _is_plain(record: Any) -> bool:
    return type(record) is dict and {name: type(value) for name, value in record.items()} == PLAIN


def _typed(cls: type[Run] | type[Point], record: Any, where: str) -> dict[str, Any]:
    """The values of a record, each what its field says; JSON writes a list for a tuple, and may leave out a float's `.0`."""
    if not isinstance(record, dict):
        raise StoreError(f"{where} is {record!r}; it must be an object.")
    types = {field.name: field.type for field in fields(cls)}
    if unknown := sorted(record.keys() - types.keys()):
        raise StoreError(f"{where}: {unknown[0]} is not a known field.")
    if missing := sorted(types.keys() - record.keys() - YOUNG_FIELDS):
        raise StoreError(f"{where}: {missing[0]} is missing.")
    values = {name: _tuples(value) for name, value in record.items()}
    for name, value in values.items():
        if not fits(value, types[name]):
            raise StoreError(f"{where}: {name} is {value!r}; it must be {in_words(types[name])}.")
    try:
        return {
            name: float(value) if isinstance(value, int) and _is_float(types[name]) else value for name, value in values.items()
        }
    except OverflowError as error:
        raise StoreError(f"{where} has a number of too many digits: numbers are kept up to 1.8e308.") from error


def _tuples(value: Any) -> Any:
    """The value with its lists, and those in them, as tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _is_float(annotation: Any) -> bool:
    return fits(0.5, annotation)


def runs_from_csv(text: str) -> list[Run]:
    """The runs that `runs_to_csv` was called on, without their recipes and versions, which a table has no place for."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(rows, [])
        without = () if POINT_FIELDS[-1] in header else YOUNG_FIELDS  # what an older prunescale wrote
        n_before, n_after = (sum(name not in without for name in names) for names in (RUN_FIELDS, POINT_FIELDS))
        inputs = header[n_before : len(header) - n_after]
        if header != csv_header(inputs, without):
            raise StoreError(
                "These are no exported runs; needed is what `prunescale runs export --format csv` writes. "
                "For another table there is `prunescale runs import --from table`."
            )
        cells = (_cells(header, row, rows.line_num) for row in rows)
        # A run's rows follow one another; a run that comes again later has its id twice, which whoever takes both will notice.
        return [_run_of_cells(list(of_run), inputs) for _, of_run in groupby(cells, key=lambda row: row["run"])]
    except csv.Error as error:
        raise StoreError(f"line {rows.line_num}: {error}.") from error


def _cells(header: list[str], row: list[str], line: int) -> dict[str, str]:
    if len(row) != len(header):
        raise StoreError(f"line {line} has {len(row)} cells, and the header {len(header)}.")
    return {"line": str(line), **dict(zip(header, row, strict=True))}


def _run_of_cells(rows: list[dict[str, str]], inputs: Iterable[str]) -> Run:
    first = rows[0]
    run = Run(
        **_values(first, _fields_of(Run, RUN_FIELDS), CSV_NAMES),
        recipe={},
        versions={},
        inputs={name: _read(first, name, float) for name in inputs if first[name]},
        points=tuple(_plain_point(row) or Point(**_values(row, fields(Point))) for row in rows),
    )
    check(run)
    return run


def _plain_point(row: dict[str, str]) -> Point | None:
    """The point in a row that has all of PLAIN and no more; None for another, which is then read field by field."""
    if row.get("domains"):
        return None
    try:
        return Point(**{name: kind(row[name]) for name, kind in PLAIN.items()})
    except ValueError:
        return None


def _values(row: dict[str, str], of: Iterable[Any], names: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """The fields of a record in a row; those that it leaves empty and that are more than one value, left out."""
    cells = {field: names.get(field.name, field.name) for field in of}
    many = {field for field in cells if field.default_factory is not MISSING or isinstance(field.default, tuple)}
    return {
        field.name: _many(row, name) if field in many else _read(row, name, field.type)
        for field, name in cells.items()
        if field not in many or row.get(name)
    }


def _many(row: dict[str, str], name: str) -> Any:
    try:
        return _tuples(json.loads(row[name]))
    except (ValueError, RecursionError):
        raise StoreError(f"line {row['line']}: {name} is {row[name]!r}; it must be JSON.") from None


def _fields_of(cls: type[Run], names: Iterable[str]) -> Any:
    return [field for field in fields(cls) if field.name in names]


def _read(row: dict[str, str], name: str, annotation: Any) -> Any:
    """A cell as the value of a field of that type."""
    try:
        return read(row[name], annotation)
    except ValueError:
        raise StoreError(f"line {row['line']}: {name} is {row[name]!r}; it must be {in_words(annotation)}.") from None
