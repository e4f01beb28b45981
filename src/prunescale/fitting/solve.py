"""The optimum of a problem: the best end that many starts lead to, with what vanishes there put to rest."""

from dataclasses import dataclass, replace

import numpy as np

from prunescale.fitting.minimise import SAME_LOSS, minimise
from prunescale.fitting.problem import Problem
from prunescale.fitting.search import starts, thinned

N_STARTS = 24
N_POINTS = 2048  # on which starts are followed; the best ends go on with all
N_ENDS = 4
PATIENCE = 5000  # steps of the last descent: along a curved valley with Huber's kinks in it 200 do not reach the end
SAME_COST = 1e-6  # relative: the same optimum, reached with less or more patience


@dataclass(frozen=True)
class Optimum:
    """The best constants found, as coordinates. at_bound: those on a bound. void: those without effect, as their term vanished."""

    coordinates: np.ndarray
    cost: float
    at_bound: tuple[str, ...]
    void: tuple[str, ...]
    share_of_starts: float  # of the starts followed to their end, those that ended here


def solve(problem: Problem) -> Optimum:
    """The optimum of all the points, from starts that depend on nothing but them."""
    if not problem.free.any():
        here = problem.start_box[0]
        return Optimum(here, float(problem.cost(here[None])[0]), (), (), 1.0)
    small = replace(problem, points=thinned(problem.points, N_POINTS))
    ends = minimise(small, starts(problem, N_STARTS), tolerance=1e-9, max_iterations=1000)
    order = np.argsort(np.where(np.isfinite(ends.cost), ends.cost, np.inf), kind="stable")
    share = float(np.mean(ends.cost <= _ceiling(small, ends.cost[order[0]])))
    best = minimise(problem, ends.coordinates[order[: N_ENDS if small.points is not problem.points else 1]], tolerance=1e-9)
    coordinates, at_bound = settle(problem, best.coordinates[int(np.argmin(best.cost))])
    coordinates, void = _without_effect(problem, coordinates)
    return Optimum(coordinates, float(problem.cost(coordinates[None])[0]), at_bound, void, share)


def settle(problem: Problem, coordinates: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The optimum to the last digit, factors that lose nothing at zero put there; and the names of what lies on a bound.

    A factor is searched by its logarithm, so where the points want its term to vanish there is no optimum: zero is the honest place.
    """
    end = minimise(problem, coordinates[None], tolerance=1e-14, max_iterations=PATIENCE)
    z, cost = end.coordinates[0], float(end.cost[0])
    free = problem.free.copy()
    for index in np.flatnonzero(problem.logarithmic & problem.free):
        without = np.where(np.arange(len(z)) == index, -np.inf, z)[None]
        if problem.cost(without)[0] > _ceiling(problem, cost) and z[index] > problem.box[0][index]:
            continue
        rest = free & (np.arange(len(z)) != index)
        moved = minimise(problem, without, free=rest, tolerance=1e-14, max_iterations=PATIENCE)
        if moved.cost[0] <= _ceiling(problem, cost):
            z, cost, free = moved.coordinates[0], min(cost, float(moved.cost[0])), rest
    low, high = problem.box
    on_bound = problem.free & ((z <= low) | (z >= high))
    return z, tuple(name for name, on in zip(problem.names, on_bound, strict=True) if on)


def _without_effect(problem: Problem, coordinates: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Constants on which no residual depends, such as the exponent of a term that vanished, put to one value, and their names."""
    _, J = problem.scores(coordinates, problem.free & ~np.isneginf(coordinates))
    moving = np.flatnonzero(problem.free & ~np.isneginf(coordinates))
    void = moving[np.all(J == 0, axis=0)]
    low, high = problem.box
    resting = coordinates.copy()
    resting[void] = np.clip(0.0, low[void], high[void])
    return resting, tuple(problem.names[index] for index in void)


def _ceiling(problem: Problem, cost: float) -> float:
    """The largest cost that counts as this one."""
    return cost * (1 + SAME_COST) + len(problem.points.loss) * SAME_LOSS**2
