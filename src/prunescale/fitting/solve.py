"""From starts to the optimum, by Levenberg and Marquardt's method as in the P2 law's paper."""

from dataclasses import dataclass, replace

import numpy as np

from prunescale.fitting.problem import Problem
from prunescale.fitting.space import fractions_of_line, line_of_fractions, slope_of_line

SAME_COST = 1e-6  # relative: the same optimum, reached with less or more patience
SAME_LOSS = 1e-9  # nats: two fits of data without noise are equal below this
NEAR_BOUND = 1e-3  # of a constant's range: try whether it belongs on the bound
INSIDE = 1e-5  # of a constant's range: on a bound the change of variables has no slope, so nobody starts there


@dataclass(frozen=True)
class Optimum:
    """The best constants found, as fractions of their ranges; `at_bound` names those on a bound."""

    fractions: np.ndarray
    cost: float
    at_bound: tuple[str, ...]
    share_of_starts: float  # of the starts followed to their end, those that ended here


def solve(problem: Problem, starts: np.ndarray) -> Optimum:
    """The least of the ends that these starts lead to, each polished, the best to the last digit."""
    if problem.space.size == 0:  # every constant is fixed
        return Optimum(np.empty(0), problem.cost(np.empty(0)), (), 1.0)
    ends = [polish(problem, start, tolerance=1e-10, max_evaluations=200) for start in starts]
    costs = np.array([problem.cost(end) for end in ends])
    best = polish(problem, ends[int(np.argmin(costs))], tolerance=1e-15)
    fractions, at_bound = settle(problem, best)
    cost = problem.cost(fractions)
    return Optimum(fractions, cost, at_bound, float(np.mean(costs <= _ceiling(problem, min(costs.min(), cost)))))


def polish(problem: Problem, start: np.ndarray, *, tolerance: float, max_evaluations: int = 2000) -> np.ndarray:
    """The local optimum below a start, by MINPACK's lmder."""
    from scipy.optimize import least_squares

    solution = least_squares(
        lambda u: problem.residual(fractions_of_line(u)),
        line_of_fractions(np.clip(start, INSIDE, 1 - INSIDE)),
        jac=lambda u: problem.jacobian(fractions_of_line(u)) * slope_of_line(u),
        method="lm",
        x_scale="jac",
        ftol=tolerance,
        xtol=tolerance,
        gtol=tolerance,
        max_nfev=max_evaluations,
    )
    return fractions_of_line(solution.x)


def settle(problem: Problem, fractions: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The optimum with those constants put on their bounds that lose nothing there; and their names.

    Near a bound the change of variables is flat and a solver creeps. And a factor searched by its logarithm has no optimum at
    all where the data want its term to vanish: its lower bound is then the honest place for it.
    """
    ceiling = _ceiling(problem, problem.cost(fractions))
    pinned: dict[str, float] = {}
    for name in problem.space.bounds:
        bound = _bound_worth_trying(problem, fractions, name, ceiling)
        if bound is not None:
            moved = _polish_rest(problem, fractions, {**pinned, name: bound})
            if problem.cost(moved) <= ceiling:
                fractions, pinned = moved, {**pinned, name: bound}
    return fractions, tuple(pinned)


def _bound_worth_trying(problem: Problem, fractions: np.ndarray, name: str, ceiling: float) -> float | None:
    """The fraction, 0 or 1, on which a constant may belong; None where it plainly lies between."""
    names = list(problem.space.bounds)
    fraction = fractions[names.index(name)]
    if min(fraction, 1 - fraction) < NEAR_BOUND:
        return float(round(fraction))
    vanished = np.where(np.array(names) == name, 0.0, fractions)
    return 0.0 if problem.space.bounds[name].log and problem.cost(vanished) <= ceiling else None


def _polish_rest(problem: Problem, fractions: np.ndarray, pinned: dict[str, float]) -> np.ndarray:
    """The optimum of the other constants when these lie at these fractions."""
    moved = np.array([pinned.get(name, f) for name, f in zip(problem.space.bounds, fractions, strict=True)])
    on_bound = dict(zip(problem.space.bounds, problem.space.constants(moved).tolist(), strict=True))
    rest = replace(problem, fixed={**problem.fixed, **{name: on_bound[name] for name in pinned}})
    free = np.array([name not in pinned for name in problem.space.bounds])
    if free.any():
        moved[free] = polish(rest, moved[free], tolerance=1e-15)
    return moved


def _ceiling(problem: Problem, cost: float) -> float:
    """The largest cost that counts as this one."""
    return cost * (1 + SAME_COST) + len(problem.points.loss) * SAME_LOSS**2
