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

OfFamily = Mapping[str, Mapping[str, Fit | str]]
"""Fits to the family by method and law, at the constant rate; the reason where there is none."""

ABOVE = ("base-large", "curves-large")
"""The parts of the study that are of the size above the family."""

MIN_GAIN = 0.05
"""Nats: what a doubling of the tokens must gain here. With as little as in decisions.py these models would go on beyond all that was
measured."""

END = "power law of each end"
"""Of the baselines the best from a tenth of the tokens."""


@dataclass(frozen=True)
class Unseen:
    """A law on runs that it was not fitted to. inside: share of the points in its 90 % interval; None where it has none. ratios: of the
    excess after all tokens to what was predicted, by the rate; none where some prediction has no excess. factor: by
    which the recommended tokens are off, to a gain of MIN_GAIN, on geometric average over the `n_worth` runs of which it can be told.
    pilot: errors beyond a tenth of the tokens, of the law carried on from that tenth's last point; None where its excess cannot be
    scaled."""

    whole: Score
    inside: float | None
    ratios: Mapping[float, float]
    factor: float | None
    n_worth: int
    pilot: Score | None

    @property
    def ratio(self) -> float | None:
        """On geometric average over the rates."""
        return float(np.exp(np.mean(np.log(list(self.ratios.values()))))) if self.ratios else None


def on_unseen(fits: Mapping[str, Fit | str], question: Asked) -> dict[str, Unseen]:
    """Each law by its name, as it was fitted to other runs, on all points of a question."""
    table = usable(question).table
    runs = list(np.unique(table["run"]))
    found = {}
    for name, of_law in fits.items():
        if isinstance(of_law, str):
            continue
        points = points_for(of_law, question)
        decision = decided(of_law, table, runs, MIN_GAIN)
        everything = np.ones(len(points.loss), dtype=bool)
        whole = score(points, everything, of_law.predict(points.columns))
        found[name] = Unseen(
            whole,
            inside(of_law, points),
            ratios_of(of_law, table),
            decision.factor,
            decision.n_worth,
            from_pilot(of_law, points),
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


def ratios_of(found: Fit, table: Columns) -> dict[float, float]:
    last = np.append(table["run"][1:] != table["run"][:-1], True)
    of_last = {name: column[last] for name, column in table.items()}
    measured, said = (each - of_last["loss_control"] for each in (of_last["loss"], found.predict(of_last)))
    if not (np.all(said > 0) and np.all(measured > 0)):
        return {}
    return dict(sorted(zip(of_last["pruning_rate"].tolist(), (measured / said).tolist(), strict=True)))


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


def ask(runs: Sequence[Run], of_family: OfFamily) -> dict[str, tuple[dict[str, Unseen], Score]]:
    """By method, of those that some of the runs are pruned by: the laws, and each curve's own end."""
    found = {}
    for method, fits in of_family.items():
        question = asked(runs, method)
        if len(question.table["run"]):
            found[method] = (on_unseen(fits, question), by_own_end(fits, question))
    return found
