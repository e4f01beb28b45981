"""Profile likelihood: how far a constant, or an answer, can be moved before the fit gets worse by more than noise explains."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf

import numpy as np

from prunescale.fitting.conclude import coordinates_of, problem_of
from prunescale.fitting.minimise import minimise
from prunescale.fitting.precision import neighbourhood, precision
from prunescale.fitting.problem import LOST, Local, Problem
from prunescale.fitting.replicate import revived
from prunescale.fitting.result import Answer, Fit

STIFF = 1e4  # times the fit's own hold on the answer: how hard the answer is drawn to where it should go
STRIDES = (
    0.5,
    1.0,
    1.5,
    2.0,
    2.5,
    3.0,
    4.0,
    6.0,
    9.0,
    14.0,
    20.0,
    30.0,
    50.0,
    80.0,
    130.0,
    200.0,
)  # standard errors from the optimum
DIFFERENCE = 1e-5  # of a coordinate's range, for the derivative of an answer


@dataclass(frozen=True)
class Profile:
    """The best fit at each of some values of a constant or an answer, and the interval that follows.

    rise is the objective above its optimum, over the rise at which the interval ends: the interval is where it is below 1. An end
    that no value tried reached is open: -inf or inf.
    """

    values: np.ndarray  # rising; (values,)
    rise: np.ndarray
    low: float
    high: float


def profile(found: Fit, answer: str | Answer, *, level: float = 0.9, log: bool = False) -> Profile:
    """The profile of a constant, by name, or of an answer that follows from the law; `log` moves the answer's logarithm instead.

    The interval ends where the objective has risen by t^2 V / (2 W): t is Student's quantile, V the variance of the answer with
    points of a run taken together, W what a squared loss of this curvature would have (so with independent errors the rise is the
    likelihood ratio's; Pace, Salvan and Sartori 2011 call the adjusted one vertical scaling). Unlike a standard error it follows
    the fit's real shape, and an answer that the runs do not determine has an open end.
    """
    problem, here = problem_of(found), coordinates_of(found)
    posed = _Drawn(problem.law, problem.points, problem.objective, problem.fixed, _of_coordinates(problem, answer, log))
    start = np.where(np.isneginf(here) & problem.free, revived(problem, here), here)
    centre = float(posed.answer_at(here[None])[0])
    shape = _shape(posed, here, start, (found.void + found.at_bound, found.void), level)
    if not np.isfinite(centre) or shape is None:
        return _finish(np.array([centre]), np.zeros(1), -inf, inf, log)
    deviation, hold, threshold = shape
    if deviation == 0:
        return _finish(np.array([centre]), np.zeros(1), centre, centre, log)
    drawn = replace(posed, stiffness=STIFF / hold)
    sides = [_walk(drawn, start, centre, side * deviation, found.cost, threshold) for side in (-1, 1)]
    values = np.concatenate([sides[0][0][::-1], [centre], sides[1][0]])
    rise = np.concatenate([sides[0][1][::-1], [0.0], sides[1][1]])
    return _finish(values, rise, _crossing(centre, *sides[0], -inf), _crossing(centre, *sides[1], inf), log)


def _shape(
    posed: "_Drawn", here: np.ndarray, start: np.ndarray, resting: tuple[tuple[str, ...], ...], level: float
) -> tuple[float, float, float] | None:
    """The answer's standard error, W of `profile`, and the rise at which the interval ends; None where constants are not to be had.

    Constants on a bound rest, unless the answer depends on nothing else.
    """
    for names in resting:
        near = neighbourhood(posed, here, names)
        known = precision(posed, here, near)
        if known.covariance is None:
            return None
        slope = posed.derivative(start[None])[0][near.moving[posed.free]]
        hold = float(slope @ np.linalg.inv(near.bread) @ slope)
        variance = float(slope @ known.covariance @ slope)
        n_independent = near.n_groups if known.by_run else len(near.residual)
        freedom = n_independent - 1
        if variance > 0:
            return float(np.sqrt(variance)), hold, student(level, freedom) ** 2 * variance / (2 * hold)
    # A factor that vanished has no slope. All points of a run count as one, which at most widens the interval.
    effect = abs(float(posed.answer_at(start[None])[0] - posed.answer_at(here[None])[0]))
    threshold = student(level, freedom) ** 2 * float(Problem.cost(posed, here[None])[0]) / max(freedom, 1)
    return effect, max(effect, 1e-300) ** 2 / max(threshold, 1e-300), threshold


def _walk(
    posed: "_Drawn", start: np.ndarray, centre: float, stride: float, cost: float, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Values of the answer on one side of the optimum, outwards, and the rise there, until the rise is past 1."""
    values, rises, z = [], [], start
    for factor in STRIDES:
        drawn = replace(posed, target=centre + factor * stride)
        z = minimise(drawn, z[None], tolerance=1e-10).coordinates[0]
        value, rise = float(posed.answer_at(z[None])[0]), float(Problem.cost(posed, z[None])[0] - cost) / threshold
        if not np.isfinite(value):
            break
        values.append(value)
        rises.append(rise)
        if rise > 1:
            break
    return np.array(values), np.array(rises)


def _crossing(centre: float, values: np.ndarray, rises: np.ndarray, open_end: float) -> float:
    """Where the root of the rise, nearly linear in the answer, passes 1."""
    if not len(rises) or rises[-1] <= 1:
        return open_end
    roots = np.sqrt(np.maximum(np.concatenate([[0.0], rises[-2:]]) if len(rises) < 2 else rises[-2:], 0.0))
    ends = np.concatenate([[centre], values])[-2:]
    return float(ends[0] + (1 - roots[-2]) / (roots[-1] - roots[-2]) * (ends[1] - ends[0]))


def _finish(values: np.ndarray, rise: np.ndarray, low: float, high: float, log: bool) -> Profile:
    if not log:
        return Profile(values, rise, low, high)
    with np.errstate(over="ignore"):
        return Profile(np.exp(values), rise, float(np.exp(low)), float(np.exp(high)))


def student(level: float, freedom: int) -> float:
    """Student's t above which half of what the level leaves out lies."""
    from scipy.special import stdtrit

    return float(stdtrit(max(freedom, 1), (1 + level) / 2))


Coordinates = Callable[[np.ndarray], np.ndarray]


def _of_coordinates(problem: Problem, answer: str | Answer, log: bool) -> Coordinates:
    """The answer as a function of coordinates, (candidates, constants) to (candidates,)."""

    def value(coordinates: np.ndarray) -> np.ndarray:
        law = problem.law_at(coordinates)
        found = np.ravel(getattr(law, answer) if isinstance(answer, str) else answer(law)).astype(float)
        with np.errstate(divide="ignore"):
            return np.log(found) if log else found

    return value


@dataclass(frozen=True)
class _Drawn(Problem):
    """A problem whose optimum is drawn to where an answer has a given value, by a term stiffness / 2 (answer - target)^2."""

    answer_at: Coordinates
    target: float = 0.0
    stiffness: float = 0.0

    @cached_property
    def small(self) -> np.ndarray:
        low, high = self.box
        return DIFFERENCE * np.minimum(high - low, 1.0)

    def derivative(self, coordinates: np.ndarray) -> np.ndarray:
        """Of the answer by each free coordinate; (candidates, free)."""
        steps = np.diag(self.small)[self.free]
        both = np.concatenate([coordinates[:, None] + steps, coordinates[:, None] - steps], axis=1)
        values = self.answer_at(both.reshape(-1, coordinates.shape[1])).reshape(len(coordinates), 2, len(steps))
        found = (values[:, 0] - values[:, 1]) / (2 * self.small[self.free])
        return np.nan_to_num(found, posinf=0.0, neginf=0.0)

    def cost(self, coordinates: np.ndarray, loss: np.ndarray | None = None, weight: np.ndarray | None = None) -> np.ndarray:
        return super().cost(coordinates, loss, weight) + self.stiffness / 2 * (self.answer_at(coordinates) - self.target) ** 2

    def local(
        self,
        coordinates: np.ndarray,
        loss: np.ndarray | None = None,
        weight: np.ndarray | None = None,
        free: np.ndarray | None = None,
    ) -> Local:
        here = super().local(coordinates, loss, weight, free)
        off, slope = self.answer_at(coordinates) - self.target, self.derivative(coordinates)
        outer = self.stiffness * slope[:, :, None] * slope[:, None, :]
        cost = np.where(np.isfinite(off), here.cost + self.stiffness / 2 * off**2, LOST)
        return Local(
            cost,
            here.slope + self.stiffness * np.nan_to_num(off, posinf=0.0, neginf=0.0)[:, None] * slope,
            here.newton + outer,
            here.majorant + outer,
        )
