"""One law, or baseline, against what one hold-out left out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from prunescale.errors import FitError
from prunescale.fitting.anchor import from_last_point
from prunescale.fitting.checks import Check
from prunescale.fitting.conclude import bootstrap
from prunescale.fitting.curve_alone import BASELINES
from prunescale.fitting.distance import distance, ranges
from prunescale.fitting.excess import reference
from prunescale.fitting.leave_out import leave_each_run_out
from prunescale.fitting.points import Points
from prunescale.fitting.predictive import predictive_interval
from prunescale.fitting.result import Fit, FitStatus
from prunescale.fitting.score import Score, score

ANCHORED = " +"
"""Behind the name of a law that is carried on from the last point of each curve."""

WORSE = {FitStatus.NOT_IDENTIFIED: "not-identified", FitStatus.STARTS_DISAGREE: "starts-disagree"}


@dataclass(frozen=True)
class AuditRow:
    """inside: share of the held-out points within the law's own 90 % predictive interval; None where it has none. distance: by how
    much the farthest held-out point lies outside what was fitted, a factor for each input, 1 within. doubts: why the refit may be a
    poor one, where the fit to all the points is not."""

    holdout: str
    law: str
    is_baseline: bool
    score: Score
    inside: float | None
    distance: Mapping[str, float]
    doubts: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Spread:
    """How many refits a predictive interval is made of, 0 for none, and their seed."""

    n: int
    seed: int


def judge(holdout: str, points: Points, held: np.ndarray, found: Fit, full: Fit, spread: Spread) -> AuditRow:
    """`found`, a fit that has not seen the points that are `held`, on those; `full` has."""
    inside = _inside(found, rows(points, held), None, spread)
    outside = _farthest(distance(found.ranges, rows(points, held)))
    judged = score(points, held, found.predict(points.columns))
    return AuditRow(holdout, found.law.name, False, judged, inside, outside, _doubts(found, full))


def judge_each_run(holdout: str, points: Points, full: Fit, spread: Spread) -> tuple[AuditRow, dict[str, str]]:
    """Every run predicted by the fit without it. Runs whose absence leaves constants open are not judged: by name, what is open.

    The predictive interval takes the spread of the fit to all the runs around the prediction without this one.
    """
    constants, lost = leave_each_run_out(full)
    names = np.unique(points.columns["run"])
    reasons = {str(names[number]): reason for number, reason in lost.items()}
    held = ~np.isin(points.run_index, list(lost))
    if not held.any():
        raise FitError(f"without any one run, {next(iter(reasons.values()))}")
    of_point = {name: constants[points.run_index, index] for index, name in enumerate(full.law.bounds)}
    predicted = type(full.law).from_constants(of_point).predict(points.columns)
    inside = _inside(full, rows(points, held), predicted[held], spread)
    row = AuditRow(holdout, full.law.name, False, score(points, held, predicted), inside, _farthest_run(full, points))
    return row, reasons


def judge_anchored(holdout: str, points: Points, held: np.ndarray, found: Fit) -> AuditRow:
    """The same fit, which has not seen the points that are held, carried on from the last point of each curve that it has."""
    predicted = from_last_point(found, points, held)
    outside = _farthest(distance(found.ranges, rows(points, held)))
    return AuditRow(holdout, f"{found.law.name}{ANCHORED}", True, score(points, held, predicted), None, outside)


def judge_baseline(holdout: str, points: Points, held: np.ndarray, baseline: str) -> AuditRow:
    predicted = BASELINES[baseline](points, held, reference(points.columns))
    outside = _farthest(distance(ranges(rows(points, ~held), ("n_tokens",)), rows(points, held)))
    return AuditRow(holdout, baseline, True, score(points, held, predicted), None, outside)


def rows(points: Points, keep: np.ndarray) -> dict[str, np.ndarray]:
    return {name: column[keep] for name, column in points.columns.items()}


def _doubts(found: Fit, full: Fit) -> tuple[Check, ...]:
    """Constants that went to a bound when points were taken away, and a worse end."""
    gone = [check for check in found.checks if check.code == "at-bound" and check not in full.checks]
    code = WORSE.get(found.status)
    return (*gone, *([Check(code, found.status.value)] if code and found.status is not full.status else []))


def _inside(found: Fit, there: dict[str, np.ndarray], centre: np.ndarray | None, spread: Spread) -> float | None:
    if not spread.n:
        return None
    low, high = predictive_interval(bootstrap(found, n=spread.n, seed=spread.seed), there, centre=centre, seed=spread.seed)
    return float(np.mean((low <= there["loss"]) & (there["loss"] <= high)))


def _farthest(factors: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: float(np.max(factor)) for name, factor in factors.items()}


def _farthest_run(full: Fit, points: Points) -> dict[str, float]:
    """How far the run that lies farthest out lies outside the others, in each input."""
    each = []
    for number in range(points.n_runs):
        here = points.run_index == number
        each.append(_farthest(distance(ranges(rows(points, ~here), full.law.columns), rows(points, here))))
    return {name: max(factors[name] for factors in each) for name in each[0]}
