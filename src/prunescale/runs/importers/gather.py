"""Rows into curves: each row checked, and put to its run."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from prunescale.runs.importers.mapping import OF_POINT, Column, text_of
from prunescale.runs.importers.mapping import TEXTS as OUR_TEXTS
from prunescale.runs.importers.rows import BadRow, Row, Source, is_empty, shown
from prunescale.runs.importers.wishes import Plan
from prunescale.runs.record import Phase

SHOWN = 5
"""Bad rows that a message tells of one by one."""


@dataclass(frozen=True)
class Measured:
    """A point as a row gives it. n_rates: how many learning rates of its run were known by then."""

    where: str
    n_tokens: int
    loss: float
    learning_rate: float | None
    phase: Phase | None
    seconds: float | None
    n_rates: int


@dataclass
class Curve:
    """What was found of one run. labels: the cells that tell it apart. of_run: its fields and inputs, and where each was read."""

    labels: tuple[str, ...]
    points: list[Measured] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    of_run: dict[str, tuple[Any, str]] = field(default_factory=dict)


@dataclass
class Faults:
    """The bad rows: how many of which reason, and the first few in words."""

    reasons: Counter[str] = field(default_factory=Counter)
    first: list[str] = field(default_factory=list)

    def add(self, where: str, name: str, bad: BadRow) -> None:
        self.reasons[bad.reason] += 1
        if len(self.first) < SHOWN:
            self.first.append(" ".join(part for part in (f"{where}:", name, bad.detail) if part))


def gather(source: Source, plan: Plan) -> tuple[list[Curve], Faults, int]:
    """The curves in the order in which their first rows come, the bad rows, and how many rows there were."""
    curves: dict[tuple[str, ...], Curve] = {}
    faults = Faults()
    n_rows = 0
    for row in source.rows:
        n_rows += 1
        try:
            if row.fault:
                raise row.fault
            labels = _labels(row, plan)
            _take(row, curves.setdefault(labels, Curve(labels)), plan, source.is_log)
        except BadField as bad:
            faults.add(row.where, bad.name, bad.why)
        except BadRow as bad:
            faults.add(row.where, "", bad)
    return list(curves.values()), faults, n_rows


class BadField(Exception):
    """A BadRow, with the field of ours that is at fault."""

    def __init__(self, name: str, why: BadRow) -> None:
        super().__init__(f"{name} {why.detail}")
        self.name, self.why = name, why


def _labels(row: Row, plan: Plan) -> tuple[str, ...]:
    if plan.run is None:
        return (row.where,)
    labels = []
    for column in plan.run:
        value = row.values.get(column)
        if is_empty(value):
            raise BadField(column, BadRow("empty", "is empty"))
        labels.append(str(value).strip())
    return tuple(labels)


def _take(row: Row, curve: Curve, plan: Plan, is_log: bool) -> None:
    """Put what a row says to its curve: all of it or, where it raises, nothing but a learning rate."""
    columns = plan.columns
    rate = _rate(row, columns.get("learning_rate"), plan)
    if is_log and all(is_empty(row.values.get(name)) for name in columns["loss"].theirs.columns):
        if rate is not None:
            curve.rates.append(rate)
        return
    n_tokens = _number(row, columns["n_tokens"], plan)
    loss = _number(row, columns["loss"], plan)
    if curve.points:
        _must_rise(n_tokens, curve.points[-1])
    of_run = _of_run(row, curve, plan)
    phase = _phase(row, columns.get("phase"))
    seconds = _number(row, columns["seconds"], plan) if _is_given(row, columns.get("seconds")) else None
    if rate is not None:
        curve.rates.append(rate)
    if rate is None and is_log and curve.rates:
        rate = curve.rates[-1]
    curve.points.append(Measured(row.where, int(n_tokens), loss, rate, phase, seconds, len(curve.rates)))
    curve.of_run |= of_run


def _rate(row: Row, column: Column | None, plan: Plan) -> float | None:
    return _number(row, column, plan) if column and _is_given(row, column) else None


def _is_given(row: Row, column: Column | None) -> bool:
    """Whether any of the cells that a column is made of has something in it."""
    return column is not None and not all(is_empty(row.values.get(name)) for name in column.theirs.columns)


def _number(row: Row, column: Column, plan: Plan) -> float | int:
    try:
        return column.number(row.values, round_counts=plan.round_counts)
    except BadRow as bad:
        raise BadField(column.ours, bad) from None


def _must_rise(n_tokens: float, last: Measured) -> None:
    if n_tokens == last.n_tokens:
        raise BadField("n_tokens", BadRow("tokens given twice", f"is {n_tokens:,}, as at {last.where} of the same run already"))
    if n_tokens < last.n_tokens:
        detail = f"is {n_tokens:,} after {last.n_tokens:,} at {last.where} of the same run; it must rise"
        raise BadField("n_tokens", BadRow("tokens that do not rise", detail))


def _phase(row: Row, column: Column | None) -> Phase | None:
    if column is None:
        return None
    value = text_of(row.values, column.theirs)
    for phase in get_args(Phase):
        if value == phase:
            return phase
    detail = "is empty" if value is None else f"is {shown(value)}; it must be one of {', '.join(get_args(Phase))}"
    raise BadField("phase", BadRow("no phase", detail))


def _of_run(row: Row, curve: Curve, plan: Plan) -> Mapping[str, tuple[Any, str]]:
    """What a row says of its run and no earlier one did. Raises where it says something else than an earlier one."""
    found: dict[str, tuple[Any, str]] = {}
    for name, column in plan.columns.items():
        if name in OF_POINT or not _is_given(row, column):
            continue
        value = text_of(row.values, column.theirs) if name in OUR_TEXTS else _number(row, column, plan)
        earlier, where = curve.of_run.get(name, (value, row.where))
        if value != earlier:
            detail = (
                f"is {shown(value)}, and {shown(earlier)} at {where}; it must be one for a whole run (does --run tell all apart?)"
            )
            raise BadField(name, BadRow("differs within a run", detail))
        found[name] = (earlier, where)
    return found
