"""Runs back from the text that `export` made of them, and from whatever of ours holds runs."""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from typing import Any

from prunescale.errors import StoreError
from prunescale.fields import fits, in_words, read
from prunescale.runs.check import check
from prunescale.runs.export import CSV_NAMES, FORMATS, POINT_FIELDS, RUN_FIELDS, csv_header
from prunescale.runs.record import Point, Run
from prunescale.runs.store import Store


def read_runs(path: str | Path) -> list[Run]:
    """The runs at a path, oldest first in a store: a file of exported runs if it ends in .json or .csv, otherwise a store."""
    match Path(path).suffix.lower():
        case ".json":
            return read_json(path)
        case ".csv":
            return read_csv(path)
    with Store.open(path) as store:
        return list(store.list())


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
    except (UnicodeDecodeError, StoreError) as error:
        raise StoreError(f"{path}: {error}") from error


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
    points = tuple(Point(**_typed(Point, point, f"{where}, point {i}")) for i, point in enumerate(values.pop("points")))
    run = Run(**values, points=points)
    check(run)
    return run


def _typed(cls: type[Run] | type[Point], record: Any, where: str) -> dict[str, Any]:
    """The values of a record, each what its field says; JSON writes a list for a tuple, and may leave out a float's `.0`."""
    if not isinstance(record, dict):
        raise StoreError(f"{where} is {record!r}; it must be an object.")
    types = {field.name: field.type for field in fields(cls)}
    if unknown := sorted(record.keys() - types.keys()):
        raise StoreError(f"{where}: {unknown[0]} is not a known field.")
    if missing := sorted(types.keys() - record.keys() - {"inputs"}):  # which the first format had not
        raise StoreError(f"{where}: {missing[0]} is missing.")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
    for name, value in values.items():
        if not fits(value, types[name]):
            raise StoreError(f"{where}: {name} is {value!r}; it must be {in_words(types[name])}.")
    return {name: float(value) if isinstance(value, int) and _is_float(types[name]) else value for name, value in values.items()}


def _is_float(annotation: Any) -> bool:
    return fits(0.5, annotation)


def runs_from_csv(text: str) -> list[Run]:
    """The runs that `runs_to_csv` was called on, without their recipes and versions, which a table has no place for."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(rows, [])
        inputs = header[len(RUN_FIELDS) : len(header) - len(POINT_FIELDS)]
        if header != csv_header(inputs):
            raise StoreError(
                "These are no exported runs; needed is what `prunescale runs export --format csv` writes. "
                "For another table there is `prunescale runs import --from table`."
            )
        cells = [_cells(header, row, rows.line_num) for row in rows]
    except csv.Error as error:
        raise StoreError(f"line {rows.line_num}: {error}.") from error
    # A run's rows follow one another; a run that comes again later has its id twice, which whoever takes both will notice.
    return [_run_of_cells(list(of_run), inputs) for _, of_run in groupby(cells, key=lambda row: row["run"])]


def _cells(header: list[str], row: list[str], line: int) -> dict[str, str]:
    if len(row) != len(header):
        raise StoreError(f"line {line} has {len(row)} cells, and the header {len(header)}.")
    return {"line": str(line), **dict(zip(header, row, strict=True))}


def _run_of_cells(rows: list[dict[str, str]], inputs: Iterable[str]) -> Run:
    first = rows[0]
    run = Run(
        **{field.name: _read(first, CSV_NAMES.get(field.name, field.name), field.type) for field in _fields_of(Run, RUN_FIELDS)},
        recipe={},
        versions={},
        inputs={name: _read(first, name, float) for name in inputs if first[name]},
        points=tuple(Point(**{field.name: _read(row, field.name, field.type) for field in fields(Point)}) for row in rows),
    )
    check(run)
    return run


def _fields_of(cls: type[Run], names: Iterable[str]) -> Any:
    return [field for field in fields(cls) if field.name in names]


def _read(row: dict[str, str], name: str, annotation: Any) -> Any:
    """A cell as the value of a field of that type."""
    try:
        return read(row[name], annotation)
    except ValueError:
        raise StoreError(f"line {row['line']}: {name} is {row[name]!r}; it must be {in_words(annotation)}.") from None
