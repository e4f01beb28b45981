"""Which of their columns is which of our fields, as people write it: `n_tokens=tokens_B:B`, and values: `n_params_before=1.2B`."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from prunescale.errors import StoreError
from prunescale.fields import fits
from prunescale.runs.importers.formula import Formula, listed, parse
from prunescale.runs.importers.rows import BadRow, Source, is_empty, shown
from prunescale.runs.importers.units import Quantity, Unit, amount, quantity, unit
from prunescale.runs.record import Point, Run

OF_POINT = tuple(field.name for field in fields(Point))
TEXTS = ("name", "base", "pruning_method", "device", "phase")
NOT_GIVEN = ("id", "created", "kind", "recipe", "recipe_hash", "versions", "inputs", "n_params_left", "domains", "points", "run")
NUMBERS = tuple(
    field.name for field in (*fields(Run), *fields(Point)) if field.name not in (*TEXTS, *NOT_GIVEN)
)  # `seconds` and `loss` are a point's; the run's own follow from them
INTEGERS = {field.name for field in (*fields(Run), *fields(Point)) if fits(1, field.type) and not fits(0.5, field.type)}


@dataclass(frozen=True)
class Column:
    """One of our fields and what it is made of."""

    ours: str
    theirs: Formula
    unit: Unit

    def number(self, row: Mapping[str, Any], *, round_counts: bool) -> float | int:
        """The value in our unit; a whole number where our field is one. Raises BadRow."""
        value = self.unit.to_ours(self.theirs.value(row))
        return checked(self.ours, value, round_counts=round_counts)


def checked(name: str, value: float, *, round_counts: bool) -> float | int:
    """A value as our field holds it. Raises BadRow where it cannot be one."""
    kind = quantity(name)
    if value < 0 and (kind in (Quantity.COUNT, Quantity.LOSS, Quantity.SHARE, Quantity.RATE) or name in NUMBERS):
        raise BadRow("negative", f"is {value:g}, below zero")
    if kind is Quantity.SHARE and value > 1:
        raise BadRow("above 1", f"is {value:g}; it goes from 0 to 1 (for 25 write the unit percent)")
    if name not in INTEGERS:
        return value
    if value >= 2**63:
        raise BadRow("too large", f"is {value:.3g}; counts are kept up to 9.2e18")
    # A whole number that went through a unit or two is off by a few of the last bits of a float.
    if abs(value - round(value)) > 1e-14 * value and not round_counts:
        raise BadRow("not whole", f"is {value!r}, not a whole number; --round-counts rounds it")
    return round(value)


def column(text: str, source: Source) -> Column:
    """What a `--column OURS=THEIRS:UNIT` says. Raises StoreError with what to write."""
    ours, equals, theirs = text.partition("=")
    ours = ours.strip()
    if not (equals and ours and theirs.strip()):
        raise StoreError(f"--column {text}: write OURS=THEIRS:UNIT, for example --column loss=val_loss:nats.")
    known_name(ours, "--column")
    if ours in TEXTS:
        return Column(ours, text_column(theirs.strip(), source), Unit())
    formula, colon, unit_text = theirs.rpartition(":")
    if not colon or theirs.strip() in source.columns:
        if quantity(ours) is not Quantity.RATE:
            raise StoreError(
                f"--column {text}: the unit is missing; write {ours}={theirs.strip()}:UNIT, UNIT being {quantity(ours).value}."
            )
        formula, unit_text = theirs, "1"
    return Column(ours, parse(formula, source.columns, source.path.name), unit(unit_text.strip(), ours))


def text_column(name: str, source: Source) -> Formula:
    if name not in source.columns:
        raise StoreError(f"{source.path.name} has no column {name!r}; its columns: {listed(source.columns)}.")
    return Formula(name, (("*", name),))


def constant(text: str) -> tuple[str, str | float | int]:
    """What a `--set NAME=VALUE` says: a field of the run, or an input of a law, that is the same for all. Raises StoreError."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not (equals and name and value):
        raise StoreError(f"--set {text}: write NAME=VALUE, for example --set n_params_before=1.2B.")
    known_name(name, "--set")
    if name in ("n_tokens", "loss", "seconds", "phase"):
        advice = "--phase" if name == "phase" else f"--column {name}=THEIRS:UNIT"
        raise StoreError(f"--set {text}: {name} belongs to a point, not to a run; give it with {advice}.")
    if name in TEXTS:
        return name, value
    try:
        return name, checked(name, amount(value, name), round_counts=False)
    except BadRow as bad:
        raise StoreError(f"--set {text}: {name} {bad.detail}.") from None


def known_name(name: str, option: str) -> None:
    """Raise a StoreError where a name cannot be given, or is likely to be a slip of one that can."""
    if name in NOT_GIVEN:
        advice = {"kind": "give --kind", "run": "give --run"}.get(name, "prunescale makes it itself")
        raise StoreError(f"{option} {name}=...: {name} is not given in this way; {advice}.")
    if name in NUMBERS or name in TEXTS:
        return
    if not name.isidentifier():
        raise StoreError(f"{option} {name}=...: a name has letters, digits and _ only.")
    if near := difflib.get_close_matches(name, (*NUMBERS, *TEXTS), n=1, cutoff=0.9):
        raise StoreError(f"{option} {name}=...: did you mean {near[0]}?")


def text_of(row: Mapping[str, Any], formula: Formula) -> str | None:
    """The text in a row's cell; None if it is empty. Raises BadRow where it is something else."""
    value = row.get(formula.text)
    if is_empty(value):
        return None
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value).strip()
    raise BadRow("not a text", f"is {shown(value)}, which is not a text")
