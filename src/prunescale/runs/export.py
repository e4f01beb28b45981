"""Runs as text: CSV for a spreadsheet, JSON to ship measured curves as a file and load them elsewhere."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from prunescale.errors import StoreError
from prunescale.fields import fits, in_words
from prunescale.runs.check import check
from prunescale.runs.record import Point, Run

FORMAT = "prunescale runs 1"  # a reader that finds another number says so instead of guessing

_POINT_FIELDS = tuple(field.name for field in fields(Point))
_RUN_FIELDS = tuple(field.name for field in fields(Run) if field.name not in ("recipe", "versions", "points"))
_CSV_NAMES = {"id": "run", "flops": "run_flops", "seconds": "run_seconds"}  # of the whole run, where a point's could be meant


def runs_to_csv(runs: Sequence[Run]) -> str:
    """One row for each point, with the scalar fields of its run repeated; what nobody measured is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_CSV_NAMES.get(name, name) for name in _RUN_FIELDS] + list(_POINT_FIELDS))
    for run in runs:
        of_run = [getattr(run, name) for name in _RUN_FIELDS]
        writer.writerows(of_run + [getattr(point, name) for name in _POINT_FIELDS] for point in run.points)
    return text.getvalue()


def runs_to_json(runs: Sequence[Run]) -> str:
    """Everything about the runs. A field and a point take a line each, so that a diff shows what changed."""
    records = ",\n".join(_record_to_json(run) for run in runs)
    return f'{{\n"format": {json.dumps(FORMAT)},\n"runs": [\n{records}\n]\n}}\n'


def _record_to_json(run: Run) -> str:
    content = asdict(run)
    points = ",\n".join(f"    {_dumps(point)}" for point in content.pop("points"))
    lines = [f"  {_dumps(name)}: {_dumps(value)}," for name, value in content.items()]
    return "\n".join([" {", *lines, '  "points": [', points, "  ]", " }"])


def _dumps(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def read_json(path: str | Path) -> list[Run]:
    """The runs in a file that was written with `runs_to_json`: all of them, or a StoreError that names the file and why."""
    try:
        return runs_from_json(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"No runs can be read at {path} ({error.strerror}): give the path of exported runs.") from error
    except (UnicodeDecodeError, StoreError) as error:
        raise StoreError(f"{path}: {error}") from error


def runs_from_json(text: str) -> list[Run]:
    """The runs that `runs_to_json` was called on."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise StoreError(f"This is not JSON: {error}.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("runs"), list):
        raise StoreError(f'These are no exported runs; needed is JSON with "format": "{FORMAT}" and a list "runs".')
    return [_run(record, f"run {number}") for number, record in enumerate(content["runs"])]


def _run(record: Any, where: str) -> Run:
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
    if differing := sorted(record.keys() ^ types.keys()):
        raise StoreError(f"{where}: {differing[0]} is {'not a known field' if differing[0] in record else 'missing'}.")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
    for name, value in values.items():
        if not fits(value, types[name]):
            raise StoreError(f"{where}: {name} is {value!r}; it must be {in_words(types[name])}.")
    return {name: float(value) if isinstance(value, int) and _is_float(types[name]) else value for name, value in values.items()}


def _is_float(annotation: Any) -> bool:
    return fits(0.5, annotation)
