"""Runs as text: CSV for a spreadsheet, JSON to ship measured curves as a file and load them elsewhere."""

import csv
import io
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, fields
from typing import Any

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


def runs_to_csv(runs: Sequence[Run]) -> str:
    """One row for each point, with the scalar fields and inputs of its run repeated; what nobody knows is an empty cell."""
    text = io.StringIO()
    inputs = list(dict.fromkeys(name for run in runs for name in run.inputs))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(csv_header(inputs))
    for run in runs:
        of_run = [_cell(getattr(run, name)) for name in RUN_FIELDS] + [run.inputs.get(name) for name in inputs]
        writer.writerows(of_run + [_cell(getattr(point, name)) for name in POINT_FIELDS] for point in run.points)
    return text.getvalue()


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
