"""Runs as text: CSV for a spreadsheet, JSON to ship measured curves as a file and load them elsewhere."""

import csv
import io
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, fields
from types import UnionType
from typing import Any, get_args, get_origin

from prunescale.errors import StoreError
from prunescale.runs.record import Point, Run

FORMATS = ("prunescale runs 1", "prunescale runs 2", "prunescale runs 3")
"""A reader that finds another says so instead of guessing. The second may leave fields unknown and has `inputs`, the third has the
weights left while a model was pruned in training, and losses by domain."""

YOUNG_FIELDS = {"inputs", "n_params_left", "domains"}
"""What the first or the second format had not."""

POINT_FIELDS = tuple(field.name for field in fields(Point))
RUN_FIELDS = tuple(field.name for field in fields(Run) if field.name not in ("recipe", "versions", "inputs", "points"))
CSV_NAMES = {"id": "run", "flops": "run_flops", "seconds": "run_seconds"}
"""What fields of a run are called in a CSV, where they could be taken for a point's."""


def csv_header(inputs: Sequence[str] = (), without: Collection[str] = ()) -> list[str]:
    """The columns of a CSV of runs: their fields, their further inputs, and a point's fields."""
    of_run = [CSV_NAMES.get(name, name) for name in RUN_FIELDS if name not in without]
    return [*of_run, *inputs, *(name for name in POINT_FIELDS if name not in without)]


def runs_to_parquet(runs: Sequence[Run]) -> bytes:
    """A Parquet file with the columns and rows of `runs_to_csv`, typed: what nobody knows is null, what is more than one value is JSON.

    Raises StoreError where pyarrow is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise StoreError("Parquet needs pyarrow: pip install 'prunescale[parquet]'.") from error
    inputs = list(dict.fromkeys(name for run in runs for name in run.inputs))
    types = [*(_arrow_type(field) for field in _fields(Run, RUN_FIELDS)), *("float64" for _ in inputs)]
    types += [_arrow_type(field) for field in fields(Point)]
    columns = zip(*_rows(runs, inputs), strict=True) if runs else [()] * len(types)
    arrays = [pyarrow.array(values, type) for values, type in zip(columns, types, strict=True)]
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(arrays, names=csv_header(inputs)), file)
    return file.getvalue()


def _fields(cls: type[Run], names: Collection[str]) -> list[Any]:
    return [field for field in fields(cls) if field.name in names]


def _arrow_type(field: Any) -> str:
    """Of a field's values, as pyarrow calls it."""
    choices = get_args(field.type) if get_origin(field.type) is UnionType else (field.type,)
    return "int64" if int in choices else "float64" if float in choices else "string"


def runs_to_csv(runs: Sequence[Run]) -> str:
    """One row for each point, with the scalar fields and inputs of its run repeated; what nobody knows is an empty cell."""
    text = io.StringIO()
    inputs = list(dict.fromkeys(name for run in runs for name in run.inputs))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(csv_header(inputs))
    writer.writerows(_rows(runs, inputs))
    return text.getvalue()


def _rows(runs: Sequence[Run], inputs: Sequence[str]) -> Iterator[list[Any]]:
    """What stands under `csv_header`, point by point."""
    for run in runs:
        of_run = [_cell(getattr(run, name)) for name in RUN_FIELDS] + [run.inputs.get(name) for name in inputs]
        for point in run.points:
            yield of_run + [_cell(getattr(point, name)) for name in POINT_FIELDS]


def _cell(value: Any) -> Any:
    """JSON for what is more than one value, and nothing for none of them."""
    return (_dumps(value) if value else None) if isinstance(value, dict | tuple) else value


def runs_to_json(runs: Sequence[Run]) -> str:
    """Everything about the runs. A field and a point take a line each, so that a diff shows what changed."""
    records = ",\n".join(_record_to_json(run) for run in runs)
    return f'{{\n"format": {json.dumps(FORMATS[-1])},\n"runs": [\n{records}\n]\n}}\n'


def _record_to_json(run: Run) -> str:
    content = without_empty(asdict(run))
    points = ",\n".join(f"    {_dumps(without_empty(point))}" for point in content.pop("points"))
    lines = [f"  {_dumps(name)}: {_dumps(value)}," for name, value in content.items()]
    return "\n".join([" {", *lines, '  "points": [', points, "  ]", " }"])


def without_empty(content: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record; of the young ones that are more than one value, those that have any."""
    return {name: value for name, value in content.items() if value or name not in ("n_params_left", "domains")}


def _dumps(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)
