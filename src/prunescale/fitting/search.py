"""Where to begin: many candidates spread evenly, ranked at once, the best of them followed."""

from dataclasses import replace

import numpy as np

from prunescale.fitting.linear import linear_constants, non_negative
from prunescale.fitting.points import Points
from prunescale.fitting.problem import CHUNK, Problem

N_CANDIDATES = 512
N_POINTS = 512  # that candidates are ranked on


def starts(problem: Problem, n_starts: int) -> np.ndarray:
    """Coordinates to start from, (n_starts, constants): half of them the best candidates, half spread over all ranks.

    The candidates differ in those constants in which the loss is not linear; the others follow by variable projection. Nothing
    here is random, so the same points lead to the same answer.
    """
    posed = replace(problem, points=thinned(problem.points, N_POINTS))
    linear = linear_constants(problem.law, posed.points.columns, problem.fixed)
    searched = np.array([name not in problem.fixed and name not in linear for name in problem.names])
    low, high = problem.start_box
    candidates = np.tile(np.where(np.isneginf(low), low, (low + high) / 2), (N_CANDIDATES if searched.any() else 1, 1))
    from_low, wide = low[searched], (high[searched] - low[searched])
    candidates[:, searched] = from_low + wide * evenly(len(candidates), len(wide))
    candidates, cost = _projected(posed, candidates, linear) if linear else (candidates, posed.cost(candidates))
    ranked = candidates[np.argsort(np.where(np.isfinite(cost), cost, np.inf), kind="stable")]
    n_best = (n_starts + 1) // 2
    spread = np.linspace(n_best, len(ranked) - 1, n_starts - n_best).astype(int) if len(ranked) > n_starts else range(len(ranked))
    return ranked[np.unique([*range(min(n_best, len(ranked))), *spread])]


def evenly(n: int, n_dimensions: int) -> np.ndarray:
    """n positions spread over the unit cube more evenly than random ones: Roberts' additive recurrence; (n, n_dimensions)."""
    base = 2.0
    for _ in range(50):
        base = (1 + base) ** (1 / (n_dimensions + 1))
    return (0.5 + np.outer(np.arange(1, n + 1), base ** -np.arange(1.0, n_dimensions + 1))) % 1


def thinned(points: Points, n_most: int) -> Points:
    """At most so many points, spread over all the runs and tokens, which are sorted."""
    n = len(points.loss)
    if n <= n_most:
        return points
    some = np.linspace(0, n - 1, n_most).astype(int)
    return replace(points, columns={name: column[some] for name, column in points.columns.items()}, weight=points.weight[some])


def _projected(problem: Problem, candidates: np.ndarray, linear: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The candidates with the best values of the linear constants, and their cost.

    Where the objective is of the log loss, squared errors relative to the loss stand in for it: near enough to rank by.
    """
    weight = problem.points.weight * problem.terms.slope(problem.points.loss) ** 2
    index = [problem.names.index(name) for name in linear]
    at_zero = np.where(problem.logarithmic, -np.inf, 0.0)
    low, high = (end[index] for end in problem.box)
    found, costs = candidates.copy(), np.empty(len(candidates))
    height = max(1, 4 * CHUNK // len(weight))
    for top in range(0, len(candidates), height):
        some = candidates[top : top + height].copy()
        some[:, index] = at_zero[index]
        bottom = problem.law_at(some).predict(problem.points.columns)
        basis = np.empty((len(some), len(index), len(weight)))
        for row, column in enumerate(index):
            one = some.copy()
            one[:, column] = 0.0 if problem.logarithmic[column] else 1.0
            basis[:, row] = problem.law_at(one).predict(problem.points.columns) - bottom
        basis = np.where(np.isfinite(basis), basis, 0.0)
        factors, costs[top : top + height] = non_negative(basis, problem.points.loss - bottom, weight)
        values = np.zeros((len(some), len(problem.names)))
        values[:, index] = factors
        some[:, index] = np.clip(problem.coordinates(values)[:, index], low, high)
        found[top : top + height] = some
    return found, costs
