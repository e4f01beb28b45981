"""What fits are for: how many tokens they would have told somebody to spend, and from how little.

Fits and excesses are as in answers.py. A run is worth going on with until a doubling of its tokens gains less than MIN_GAIN nats.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from prunescale.errors import FitError
from prunescale.fitting import HOLDOUTS, Fit, Points, select
from prunescale.fitting.excess import scale
from prunescale.laws import LAWS
from studies.p2.answers import HOW, LAST, MIN_TOKENS, OURS, Asked, Columns, fits

MIN_GAIN = 0.02
COMPARED = ("p2", "p2-control", *OURS)
PILOT_TOKENS = (2_500_000, 4_200_000, 7_600_000, 15_900_000, 30_100_000)


@dataclass(frozen=True)
class Decision:
    """Of runs that a fit has not seen, or not to the end: error of the excess after all tokens, as a share of it, on average over runs; and
    the factor by which the recommended tokens are off, on geometric average over the `n_worth` runs of which it can be told."""

    law: str
    n_runs: int
    error: float
    factor: float | None
    n_worth: int


def worth(excess: Callable[[np.ndarray], np.ndarray], min_gain: float = MIN_GAIN) -> float:
    """Tokens from which on a doubling gains less than so many nats: MIN_TOKENS where that is so from the start, half of LAST, beyond which
    nobody measured a doubling, where it is not before."""
    n_tokens = np.geomspace(MIN_TOKENS, LAST / 2, 400)
    enough = np.flatnonzero(excess(n_tokens) - excess(2 * n_tokens) < min_gain)
    return float(n_tokens[enough[0]]) if len(enough) else LAST / 2


def decided(found: Fit, table: Columns, runs: Sequence[str], min_gain: float = MIN_GAIN) -> Decision:
    """A fit judged on some runs of a table, to their last tokens, in which they have the points of one phase alone."""
    errors, factors = [], []
    for run in runs:
        here = {name: column[table["run"] == run] for name, column in table.items()}
        over = here["loss"] - here["loss_control"]
        said = found.predict(here) - here["loss_control"]
        errors.append(abs(said[-1] - over[-1]) / scale(here, here["loss"])[-1])
        measured, predicted = (worth(between(here["n_tokens"], each), min_gain) for each in (over, said))
        if MIN_TOKENS < measured < LAST / 2:
            factors.append(abs(np.log(predicted / measured)))
    factor = float(np.exp(np.mean(factors))) if factors else None
    return Decision(found.law.name, len(runs), float(np.mean(errors)), factor, len(factors))


def between(n_tokens: np.ndarray, excess: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """An excess at any number of tokens, by its measurements."""
    return lambda wanted: np.interp(np.log(wanted), np.log(n_tokens), excess)


def usable(question: Asked) -> Asked:
    """With the points that fits are of alone, each run's in the order of its tokens."""
    table = question.table
    kept = np.isin(table["phase"], question.phases) & (table["n_tokens"] >= MIN_TOKENS) & np.isfinite(table["loss_control"])
    order = np.flatnonzero(kept)[np.lexsort([table["n_tokens"][kept], table["run"][kept]])]
    return replace(question, table={name: column[order] for name, column in table.items()})


def points_of(question: Asked) -> Points:
    """The points of a usable question, in the order of its table, as hold-outs take them."""
    return select(LAWS[OURS[0]], question.table, phases=question.phases, **HOW)


def fitted(question: Asked, seen: np.ndarray) -> list[Fit]:
    """The laws that are compared, fitted to some of a question's points; those that can be."""
    part = replace(question, table={name: column[seen] for name, column in question.table.items()})
    return [each for each in fits(part, COMPARED, n=0).values() if isinstance(each, Fit)]


def from_few_tokens(question: Asked) -> Iterator[tuple[int, list[Decision]]]:
    """All runs, each to so many tokens only."""
    question = usable(question)
    table = question.table
    runs = list(np.unique(table["run"]))
    for most in PILOT_TOKENS:
        yield most, [decided(found, table, runs) for found in fitted(question, table["n_tokens"] <= most)]


def to_late_tokens(question: Asked) -> list[Decision]:
    """All runs, each without the last fifth of its points."""
    question = usable(question)
    table = question.table
    (held,) = HOLDOUTS["checkpoints"](points_of(question))
    return [decided(found, table, list(np.unique(table["run"]))) for found in fitted(question, ~held)]


def from_few_runs(question: Asked) -> Iterator[tuple[str, int, list[Decision]]]:
    """The runs of the smallest sizes, or of two rates of them, to their ends; judged on the runs of all larger sizes."""
    question = usable(question)
    table = question.table
    sizes = np.unique(table["n_params_before"])
    lowest = table["pruning_rate"] < 0.3
    for n in range(2, len(sizes)):
        small = np.isin(table["n_params_before"], sizes[:n])
        others = list(np.unique(table["run"][~small]))
        for what, seen in ((f"{n} smallest sizes", small), (f"{n} smallest sizes, rates below 0.3", small & lowest)):
            if seen.any():
                n_runs = len(np.unique(table["run"][seen]))
                yield what, n_runs, [decided(found, table, others) for found in fitted(question, seen)]


def held_out_decisions(question: Asked) -> Iterator[tuple[str, list[Decision]]]:
    """The hold-outs of whole runs."""
    question = usable(question)
    table = question.table
    points = points_of(question)
    for name in ("size", "rate", "size-and-rate"):
        try:
            (held,) = HOLDOUTS[name](points)
        except FitError:
            continue
        out = np.unique(points.columns["run"][held])
        yield name, [decided(found, table, list(out)) for found in fitted(question, ~np.isin(table["run"], out))]


def of_another(question: Asked, other: Asked) -> list[Decision]:
    """The constants of one method's runs on those of another."""
    question, table = usable(question), usable(other).table
    everything = np.ones(len(question.table["run"]), dtype=bool)
    return [decided(found, table, list(np.unique(table["run"]))) for found in fitted(question, everything)]


@dataclass(frozen=True)
class Decisions:
    """All that is decided of one method: from few tokens by the most of them, without the last fifth, from few runs by which and how many,
    and by hold-outs of whole runs."""

    few_tokens: list[tuple[int, list[Decision]]]
    late: list[Decision]
    few_runs: list[tuple[str, int, list[Decision]]]
    held_out: list[tuple[str, list[Decision]]]

    @classmethod
    def of(cls, question: Asked) -> "Decisions":
        return cls(
            list(from_few_tokens(question)),
            to_late_tokens(question),
            list(from_few_runs(question)),
            list(held_out_decisions(question)),
        )
