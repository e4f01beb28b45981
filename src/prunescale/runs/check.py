"""What a run must be before it is kept: a curve with a hole in it would spoil every fit that it takes part in, silently."""

import json
import math
from dataclasses import fields
from itertools import pairwise

from prunescale.errors import StoreError
from prunescale.fields import fits, in_words
from prunescale.runs.record import Point, Run


def check(run: Run) -> None:
    """Raise a StoreError that names the first thing that keeps this run from being stored."""
    _check_fields(f"Run {run.id!r}", run)
    for name in ("recipe", "versions"):
        try:
            json.dumps(getattr(run, name), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise StoreError(f"Run {run.id!r}: {name} cannot be written as JSON ({error}).") from error
    if not run.points:
        raise StoreError(f"Run {run.id!r} has no points; at least one measured loss is needed.")
    for position, point in enumerate(run.points):
        _check_fields(f"Run {run.id!r}, point {position}", point)
    for before, after in pairwise(run.points):
        if after.n_tokens <= before.n_tokens:
            raise StoreError(
                f"Run {run.id!r} has a point at {after.n_tokens} tokens after one at {before.n_tokens}; n_tokens must rise."
            )


def _check_fields(where: str, record: Run | Point) -> None:
    for field in fields(record):
        value = getattr(record, field.name)
        if not fits(value, field.type):
            raise StoreError(f"{where}: {field.name} is {value!r}; it must be {in_words(field.type)}.")
        if isinstance(value, float) and not math.isfinite(value):
            raise StoreError(f"{where}: {field.name} is {value}; only finite numbers are kept.")
