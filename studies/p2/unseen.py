"""Fits to the family on runs that no fit has seen: those of the size above it, and those of another family.

Both as they are, and carried on from a pilot: the first tenth of a curve's own tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prunescale.fitting import HOLDOUTS, Fit, Points, Score, predictive_interval, select
from prunescale.fitting.anchor import from_last_point
from prunescale.fitting.curve_alone import BASELINES
from prunescale.fitting.metrics import excess_over
from prunescale.fitting.score import score
from prunescale.runs import Run
from studies.p2.answers import HOW, Asked, Columns, asked
from studies.p2.decisions import decided, usable
from studies.p2.planned import is_of

MIN_GAIN = 0.05
"""Nats by a doubling of the tokens that are worth it, of which in models of this size less than 60M tokens bring less."""

END = "power law of each end"
"""Of the baselines the best from a tenth of the tokens."""


@dataclass(frozen=True)
class Unseen:
    """A law on runs that it was not fitted to. inside: share of the points in its 90 % interval; None where it has none. ratio: of the
    excess after all tokens to what was predicted, on geometric average over runs; None where some prediction has no excess. factor: by
    which the recommended tokens are off, to a gain of MIN_GAIN, on geometric average over the `n_worth` runs of which it can be told.
    pilot: errors beyond a tenth of the tokens, of the law carried on from that tenth's last point; None where its excess cannot be
    scaled."""

    law: str
    whole: Score
    inside: float | None
    ratio: float | None
    factor: float | None
    n_worth: int
    pilot: Score | None


def above(runs: Sequence[Run]) -> list[Run]:
    """Those of the size above the family."""
    return [run for run in runs if is_of("base-large", run) or is_of("curves-large", run)]


def on_unseen(fits: Mapping[str, Fit | str], question: Asked) -> list[Unseen]:
    """Each law, as it was fitted to other runs, on all points of a question."""
    table = usable(question).table
    runs = list(np.unique(table["run"]))
    found = []
    for name, of_law in fits.items():
        if isinstance(of_law, str):
            continue
        points = points_for(of_law, question)
        decision = decided(of_law, table, runs, MIN_GAIN)
        everything = np.ones(len(points.loss), dtype=bool)
        whole = score(points, everything, of_law.predict(points.columns))
        found.append(
            Unseen(
                name,
                whole,
                inside(of_law, points),
                ratio_of(of_law, table),
                decision.factor,
                decision.n_worth,
                from_pilot(of_law, points),
            )
        )
    return found


def points_for(found: Fit, question: Asked) -> Points:
    """The points of a question that a law can use: the same for all that need no other column."""
    return select(type(found.law), question.table, phases=question.phases, **HOW)


def inside(found: Fit, points: Points) -> float | None:
    if found.replicates is None:
        return None
    low, high = predictive_interval(found, points.columns)
    return float(np.mean((low <= points.loss) & (points.loss <= high)))


def ratio_of(found: Fit, table: Columns) -> float | None:
    last = np.append(table["run"][1:] != table["run"][:-1], True)
    of_last = {name: column[last] for name, column in table.items()}
    measured, said = (each - of_last["loss_control"] for each in (of_last["loss"], found.predict(of_last)))
    return float(np.exp(np.mean(np.log(measured / said)))) if np.all(said > 0) and np.all(measured > 0) else None


def from_pilot(found: Fit, points: Points) -> Score | None:
    if excess_over(type(found.law)) is None:
        return None
    (held,) = HOLDOUTS["tenfold"](points)
    return score(points, held, from_last_point(found, points, held))


def by_own_end(fits: Mapping[str, Fit | str], question: Asked) -> Score:
    """Beyond a tenth of the tokens, by the power law through the end of that tenth: no law of many runs."""
    known = next(found for found in fits.values() if isinstance(found, Fit))
    points = points_for(known, question)
    (held,) = HOLDOUTS["tenfold"](points)
    return score(points, held, BASELINES[END](points, held, "loss_control"))


def ask(runs: Sequence[Run], questions: Mapping[str, Mapping[str, Fit | str]]) -> dict[str, tuple[list[Unseen], Score]]:
    """By method, of those that some of the runs are pruned by: the laws at the constant rate, and each curve's own end. questions: the fits
    to the family, by method."""
    found = {}
    for method, fits in questions.items():
        question = asked(runs, method)
        if len(question.table["run"]):
            found[method] = (on_unseen(fits, question), by_own_end(fits, question))
    return found
