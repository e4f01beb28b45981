"""What a run must be before it is kept: a curve with a hole in it would spoil every fit that it takes part in, silently."""

import json
import math
from dataclasses import fields
from itertools import pairwise

from prunescale.errors import StoreError
from prunescale.fields import fits, in_words
from prunescale.runs.record import Point, Run

LARGEST_INTEGER = 2**63 - 1  # that SQLite holds
TAKEN = {field.name for field in (*fields(Run), *fields(Point))} | {"run"}
"""What an input of a law cannot be called: `columns` has these already."""


def check(run: Run) -> None:
    """Raise a StoreError that names the first thing that keeps this run from being stored."""
    _check_fields(f"Run {run.id!r}", run)
    for name in ("recipe", "versions"):
        try:
            json.dumps(getattr(run, name), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise StoreError(f"Run {run.id!r}: {name} cannot be written as JSON ({error}).") from error
    _check_inputs(run)
    if not run.points:
        raise StoreError(f"Run {run.id!r} has no points; at least one measured loss is needed.")
    for position, point in enumerate(run.points):
        _check_fields(f"Run {run.id!r}, point {position}", point)
    for before, after in pairwise(run.points):
        is_branch = after.n_tokens == before.n_tokens and before.phase != "annealed" == after.phase
        if after.n_tokens <= before.n_tokens and not is_branch:
            raise StoreError(
                f"Run {run.id!r} has a point at {after.n_tokens} tokens after one at {before.n_tokens}; n_tokens must rise, "
                "but for the annealed end of a branch beside a point of the training that it left."
            )


def _check_fields(where: str, record: Run | Point) -> None:
    for field in fields(record):
        value = getattr(record, field.name)
        if not fits(value, field.type):
            raise StoreError(f"{where}: {field.name} is {value!r}; it must be {in_words(field.type)}.")
        if isinstance(value, float) and not math.isfinite(value):
            raise StoreError(f"{where}: {field.name} is {value}; only finite numbers are kept.")
        if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise StoreError(f"{where}: {field.name} is {value:.3g}; integers are kept up to 2^63 - 1.")


def _check_inputs(run: Run) -> None:
    for name, value in run.inputs.items():
        if not (isinstance(name, str) and name.isidentifier()):
            raise StoreError(f"Run {run.id!r}: an input is called {name!r}; a name has letters, digits and _ only.")
        if name in TAKEN:
            raise StoreError(f"Run {run.id!r}: {name} is among the inputs; it is a field of every run or point: give it there.")
        if not fits(value, float) or not math.isfinite(value):
            raise StoreError(f"Run {run.id!r}: the input {name} is {value!r}; it must be a finite number.")
