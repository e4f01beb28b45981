"""What a run must be before it is kept: a curve with a hole in it would spoil every fit that it takes part in, silently."""

import json
import math
import sys
from dataclasses import fields
from itertools import pairwise
from typing import get_args

from prunescale.errors import StoreError
from prunescale.fields import fits, in_words
from prunescale.runs.record import Phase, Point, Run

LARGEST_INTEGER = 2**63 - 1  # that SQLite holds
PHASES = get_args(Phase)
TAKEN = {field.name for field in (*fields(Run), *fields(Point))} | {"run"}
"""What an input of a law cannot be called: `columns` has these already."""


def check(run: Run) -> None:
    """Raise a StoreError that names the first thing that keeps this run from being stored."""
    _check_fields(f"Run {run.id!r}", run)
    for name in ("recipe", "versions"):
        try:
            json.dumps(getattr(run, name), allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise StoreError(f"Run {run.id!r}: {name} cannot be written as JSON ({error}).") from error
    _check_inputs(run)
    _check_left(run)
    if not run.points:
        raise StoreError(f"Run {run.id!r} has no points; at least one measured loss is needed.")
    for position, point in enumerate(run.points):
        if _is_plain(point):
            continue
        _check_fields(f"Run {run.id!r}, point {position}", point)
        _check_domains(f"Run {run.id!r}, point {position}", point)
    for before, after in pairwise(run.points):
        is_branch = after.n_tokens == before.n_tokens and before.phase != "annealed" == after.phase
        if after.n_tokens <= before.n_tokens and not is_branch:
            raise StoreError(
                f"Run {run.id!r} has a point at {after.n_tokens} tokens after one at {before.n_tokens}; n_tokens must rise, "
                "but for the annealed end of a branch beside a point of the training that it left."
            )


def _is_plain(point: Point) -> bool:
    """Whether a point is one of those that nearly all are, told in a fraction of the time: of the very types, with numbers that are
    finite, and no domains. What is not is looked at field by field."""
    return (
        type(point.n_tokens) is int
        and -LARGEST_INTEGER <= point.n_tokens <= LARGEST_INTEGER
        and type(point.loss) is type(point.learning_rate) is type(point.seconds) is float
        and math.isfinite(point.loss)
        and math.isfinite(point.learning_rate)
        and math.isfinite(point.seconds)
        and type(point.phase) is str
        and point.phase in PHASES
        and type(point.domains) is dict
        and not point.domains
    )


def _check_fields(where: str, record: Run | Point) -> None:
    for field in fields(record):
        value = getattr(record, field.name)
        if not fits(value, field.type):
            raise StoreError(f"{where}: {field.name} is {value!r}; it must be {in_words(field.type)}.")
        if isinstance(value, str) and not is_unicode(value):
            raise StoreError(f"{where}: {field.name} is {value!r}, with half a character (a lone surrogate): leave that out.")
        if isinstance(value, float) and not math.isfinite(value):
            raise StoreError(f"{where}: {field.name} is {value}; only finite numbers are kept.")
        if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise StoreError(f"{where}: {field.name} is {short(value)}; integers are kept up to 2^63 - 1.")


def _check_inputs(run: Run) -> None:
    for name, value in run.inputs.items():
        if not (isinstance(name, str) and name.isidentifier()):
            raise StoreError(f"Run {run.id!r}: an input is called {name!r}; a name has letters, digits and _ only.")
        if name in TAKEN:
            raise StoreError(f"Run {run.id!r}: {name} is among the inputs; it is a field of every run or point: give it there.")
        if not _is_finite(value):
            raise StoreError(f"Run {run.id!r}: the input {name} is {value!r}; it must be a finite number.")


def _check_left(run: Run) -> None:
    """The steps of `n_params_left`: pairs of whole numbers, the first from 0 on, their tokens rising."""
    last = -1
    for position, step in enumerate(run.n_params_left):
        if not (
            isinstance(step, tuple | list) and len(step) == 2 and all(fits(n, int) and 0 <= n <= LARGEST_INTEGER for n in step)
        ):
            raise StoreError(
                f"Run {run.id!r}: n_params_left has {step!r}; needed are pairs of whole numbers, tokens and weights."
            )
        if step[0] <= last or (position == 0 and step[0] != 0):
            raise StoreError(
                f"Run {run.id!r}: n_params_left has {step[0]} tokens after {max(last, 0)}; they begin with 0 and rise."
            )
        last = step[0]


def _check_domains(where: str, point: Point) -> None:
    for name, loss in point.domains.items():
        if not (isinstance(name, str) and is_unicode(name) and _is_finite(loss)):
            raise StoreError(f"{where}: the loss of the domain {name!r} is {loss!r}; it must be a finite number.")


def _is_finite(value: object) -> bool:
    return fits(value, float) and abs(value) <= sys.float_info.max  # type: ignore[arg-type]


def is_unicode(text: str) -> bool:
    """Whether a text can be written: JSON may hold halves of characters."""
    return text.isascii() or text.encode(errors="replace").decode() == text


def short(value: int) -> str:
    return f"{value:.3g}" if value.bit_length() < 1000 else f"a number of {value.bit_length()} bits"
