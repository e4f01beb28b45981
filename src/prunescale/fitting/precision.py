"""How well the points determine the constants, judged at the optimum alone."""

from dataclasses import dataclass

import numpy as np

from prunescale.fitting.objective import HUBER_DELTA
from prunescale.fitting.problem import Problem

FLAT = 1e-6  # of the largest singular value: along this direction the points say nothing
WEAK = 3e-3  # of the largest singular value: along this direction they say little
NAMED = 0.3  # of a unit direction: constants with a smaller part in it are not named
MOST_LEVERAGE = 0.95  # of a run: beyond it, what the other runs say of this one is all noise


@dataclass(frozen=True)
class Neighbourhood:
    """The optimum's surroundings, in the coordinates that move there: free, not on a bound, not without effect.

    Linear in the coordinates: residual = residual at the optimum + jacobian @ step. Rows are points, with their weights.
    """

    moving: np.ndarray  # which coordinates; (constants,)
    residual: np.ndarray
    jacobian: np.ndarray  # (points, moving)
    weight: np.ndarray
    influence: np.ndarray
    curvature: float  # of rho, on average
    group_index: np.ndarray  # of what errs together: runs, or all runs of a base
    by_base: bool
    bread: np.ndarray  # second derivative of the objective; (moving, moving)

    @property
    def n_moving(self) -> int:
        return self.jacobian.shape[1]

    @property
    def n_groups(self) -> int:
        return int(self.group_index.max(initial=-1)) + 1


def neighbourhood(problem: Problem, coordinates: np.ndarray, resting: tuple[str, ...]) -> Neighbourhood:
    """`resting` names the constants that stay where they are: on a bound, or without effect."""
    moving = problem.free & ~np.isneginf(coordinates) & ~np.isin(problem.names, resting)
    residual, jacobian = problem.scores(coordinates, moving)
    weight = problem.points.weight
    curvature = _expected_curvature(residual) if problem.robust else 1.0
    bread = (jacobian.T * (curvature * weight)) @ jacobian
    influence, mean = problem.terms.influence(residual), float(np.mean(curvature))
    index, by_base = groups(problem, int(moving.sum()))
    return Neighbourhood(moving, residual, jacobian, weight, influence, mean, index, by_base, bread)


def groups(problem: Problem, n_moving: int) -> tuple[np.ndarray, bool]:
    """The number of each point's group, and whether groups are bases. Points of a run err together. Over a control so do all runs of a
    base, which share its control and that control's error; where there are hardly more bases than constants, runs have to do."""
    bases = problem.points.base_index
    if "loss_control" in problem.law.columns and bases is not None and int(bases.max(initial=-1)) + 1 > n_moving + 1:
        return bases, True
    return problem.points.run_index, False


def _expected_curvature(residual: np.ndarray) -> np.ndarray:
    """Huber's second derivative as it is on average, for each point. Few residuals may lie within delta, so the density of residuals
    around zero is taken from the half of them that is nearest, where they are (Powell 1991)."""
    half = max(float(np.median(np.abs(residual))), HUBER_DELTA)
    return (np.abs(residual) <= half) * HUBER_DELTA / half


@dataclass(frozen=True)
class Precision:
    """Standard errors of constants (None: not to be had), and the directions in which the points say little.

    The errors allow for points of a run that err together: they are those of a jackknife over runs, in its linear approximation (the
    sandwich of Liang and Zeger 1986 with each run's errors as the other runs predict it), over bases where their runs share a control, or,
    with hardly more runs than constants, over points.
    """

    standard_errors: dict[str, float | None]
    weak: tuple[tuple[tuple[str, ...], float], ...]  # constants determined only together, with the singular value's ratio
    plateau: tuple[tuple[str, ...], ...]  # constants that move together on a plateau of Huber's objective
    covariance: np.ndarray | None  # of the moving coordinates
    by_run: bool  # or by what runs share; else by points
    by_base: bool = False

    @property
    def flat(self) -> bool:
        return bool(self.plateau) or any(ratio < FLAT for _, ratio in self.weak)


def precision(problem: Problem, coordinates: np.ndarray, near: Neighbourhood) -> Precision:
    """From the optimum's surroundings; columns of the Jacobian are scaled to length one before anything is judged small."""
    names = [name for name, moves in zip(problem.names, near.moving, strict=True) if moves]
    errors: dict[str, float | None] = {name: None for name in problem.names if name not in problem.fixed}
    if not names:
        return Precision(errors, (), (), None, False, near.by_base)
    weighted = near.jacobian * np.sqrt(near.weight)[:, None]
    lengths = np.linalg.norm(weighted, axis=0)
    scaled = weighted / np.where(lengths > 0, lengths, 1.0)
    _, values, directions = np.linalg.svd(scaled, full_matrices=False)
    ratios = values / values[0]
    plateau = _plateau(names, scaled[np.abs(near.residual) <= HUBER_DELTA]) if problem.robust else ()
    weak = tuple((_named(names, v), float(r)) for v, r in zip(directions, ratios, strict=True) if r < WEAK)
    if ratios[-1] <= FLAT or len(values) < len(names):
        return Precision(errors, weak, plateau, None, False, near.by_base)
    covariance, by_run = _sandwich(problem, near)
    spread = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    stretch = np.where(problem.logarithmic, problem.constants(coordinates), 1.0)[near.moving]
    errors |= dict(zip(names, (spread * stretch).tolist(), strict=True))
    return Precision(errors, weak, plateau, covariance, by_run, near.by_base)


def _sandwich(problem: Problem, near: Neighbourhood) -> tuple[np.ndarray, bool]:
    """Covariance of the moving coordinates, and whether runs were taken as what is independent, or points."""
    by_run = near.n_groups > near.n_moving + 1
    index = near.group_index if by_run else np.arange(len(near.residual))
    n_groups = int(index.max()) + 1
    influence = problem.terms.influence(held_out_residuals(near, index))
    sums = np.zeros((n_groups, near.n_moving))
    np.add.at(sums, index, near.jacobian * (near.weight * influence)[:, None])
    inverse = np.linalg.inv(near.bread)
    return (n_groups - 1) / n_groups * inverse @ (sums.T @ sums) @ inverse, by_run


def _plateau(names: list[str], within: np.ndarray) -> tuple[tuple[str, ...], ...]:
    """Directions that no point feels whose residual is within delta; the others pull with the same force wherever they are, so if
    their pulls cancel, as they do at an optimum, nothing changes along these."""
    _, values, directions = np.linalg.svd(within, full_matrices=len(within) < len(names))  # all directions, not all rows
    rank = int(np.sum(values > FLAT * values[0])) if values.size and values[0] > 0 else 0
    return tuple(_named(names, direction) for direction in directions[rank:])


def _named(names: list[str], direction: np.ndarray) -> tuple[str, ...]:
    return tuple(name for name, part in zip(names, direction, strict=True) if abs(part) >= NAMED)


def held_out_residuals(near: Neighbourhood, groups: np.ndarray) -> np.ndarray:
    """What the fit without a point's own group would leave of it, in the linear approximation: residuals freed from the fit's own pull.

    Each group's residuals are multiplied by (1 - leverage)^-1 (the jackknife; CR3 of Bell and McCaffrey 2002). Where rho is Huber's, a
    point pulls at the fit by its influence, not its residual: the points that the fit passes through are not without error. Leverage
    is taken as at most 0.95: a run that alone determines a constant says nothing of how far off it may be.
    """
    root = np.sqrt(near.weight)
    q, _ = np.linalg.qr(near.jacobian * root[:, None])
    shape = (int(groups.max(initial=-1)) + 1, q.shape[1])
    hat, pull = np.zeros((*shape, q.shape[1])), np.zeros(shape)
    np.add.at(hat, groups, q[:, :, None] * q[:, None, :])
    np.add.at(pull, groups, q * (root * near.influence / near.curvature)[:, None])
    leverage, vectors = np.linalg.eigh(hat)
    stretch = 1 / (1 - np.clip(leverage, 0.0, MOST_LEVERAGE))
    pulled = np.einsum("gij,gj,gkj,gk->gi", vectors, stretch, vectors, pull)
    return near.residual + np.sum(q * pulled[groups], axis=1) / root
