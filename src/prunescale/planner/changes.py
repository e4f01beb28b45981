"""What else a planned sweep might be: each change by itself, one more value of an input, longer runs, more of them, less noise."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, log

import numpy as np

from prunescale.amounts import short
from prunescale.fitting.distance import ADDED
from prunescale.fitting.identify import NOUNS
from prunescale.laws import Columns, Law
from prunescale.planner.planned import Planned
from prunescale.planner.trust import SHARES

LONGER = 3  # times as many tokens
SPARSEST = 0.9  # a share that is not gone beyond
MOST_ADDED = 60  # points of a curve


@dataclass(frozen=True, eq=False)
class Change:
    """The sweep that one change makes of another. priced: whether training costs are what it costs."""

    words: str
    planned: Planned
    priced: bool = True


def changes(planned: Planned) -> tuple[Change, ...]:
    """Those that make sense for these columns."""
    return (*_another_value(planned), *_longer(planned), _again(planned), *_quieter(planned))


def _another_value(planned: Planned) -> Iterator[Change]:
    """The runs at an input's greatest value once more at one above it, and those at its least at one below."""
    single = len(np.unique(planned.columns["run"])) == len(planned.columns["run"])
    for name in planned.law.columns:
        if name in ADDED or name == "unique_tokens" or (name == "n_tokens" and not single):
            continue
        noun = next((noun for prefix, noun in NOUNS.items() if name.startswith(prefix)), name)
        for edge, value in _beyond(planned.law, name, np.unique(planned.columns[name])):
            rows = np.flatnonzero(planned.columns[name] == edge)
            more = _copied(planned.columns, rows, f" at {value:g}") | {name: np.full(len(rows), value)}
            yield Change(f"one more {noun}: {short(value)}", _with(planned, more))


def _beyond(law: Law, name: str, values: np.ndarray) -> Iterator[tuple[float, float]]:
    """An end of the values, and the next value beyond it at their usual distance: in shares a difference, else a factor."""
    low, high, n = float(values[0]), float(values[-1]), len(values)
    if name in SHARES:
        step = (high - low) / (n - 1) if n > 1 else high / 2 or 0.25
        above, below = high + step, low - step if low - step > 0.01 else low / 2
    else:
        factor = (high / low) ** (1 / (n - 1)) if n > 1 else 2.0
        above, below = high * factor, low / factor
    if above <= SHARES.get(name, np.inf) * SPARSEST:
        yield high, above
    if below > 0:
        yield low, below


def _longer(planned: Planned) -> Iterator[Change]:
    """Every curve goes on to three times its tokens, measured about as often as before."""
    columns = planned.columns
    run, n_each = np.unique(columns["run"], return_counts=True)
    if "n_tokens" not in planned.law.columns or not np.any(n_each > 1):
        return
    extended = planned
    for name in run[n_each > 1]:
        rows = np.flatnonzero(columns["run"] == name)
        rows = rows[np.argsort(columns["n_tokens"][rows])]
        before, last = columns["n_tokens"][rows[-2:]]
        n_more = min(ceil(log(LONGER) / log(last / before)), MOST_ADDED) if last > before else 1
        more = _copied(columns, np.repeat(rows[-1:], n_more), "")
        extended = _with(extended, more | {"n_tokens": np.geomspace(last, LONGER * last, n_more + 1)[1:]})
    yield Change(f"{LONGER} times the tokens a run", extended)


def _again(planned: Planned) -> Change:
    return Change("every run twice", _with(planned, _copied(planned.columns, np.arange(planned.n_points), " again")))


def _quieter(planned: Planned) -> Iterator[Change]:
    noise = planned.noise
    half = replace(noise, between_runs=noise.between_runs / 2, within_run=noise.within_run / 2)
    if half != noise:
        yield Change("half the noise", replace(planned, noise=half), priced=False)


def _copied(columns: Columns, rows: np.ndarray, suffix: str) -> dict[str, np.ndarray]:
    copied = {name: values[rows] for name, values in columns.items()}
    return copied | {"run": np.array([f"{name}{suffix}" for name in copied["run"]])}


def _with(planned: Planned, more: Columns) -> Planned:
    return replace(planned, columns={name: np.concatenate([planned.columns[name], more[name]]) for name in planned.columns})
