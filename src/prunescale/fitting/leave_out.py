"""A fit again without each of its runs, all at once: from the optimum of all runs it is not far to any of the others."""

import numpy as np

from prunescale.fitting.conclude import coordinates_of, problem_of
from prunescale.fitting.identify import gaps
from prunescale.fitting.minimise import minimise
from prunescale.fitting.problem import Problem
from prunescale.fitting.replicate import ELEMENTS, revived
from prunescale.fitting.result import Fit

SUSPECT = 1e-5  # of the largest singular value, of the Jacobian without a run: below it the run may be what holds a constant


def leave_each_run_out(found: Fit) -> tuple[np.ndarray, dict[int, str]]:
    """Constants without each run, (runs, constants), in the order of `run_index`; and, by a run's number, what the others leave open.

    Where they leave something open, the constants mean nothing.
    """
    problem = problem_of(found)
    start = revived(problem, coordinates_of(found))
    n_runs, n_points = found.n_runs, found.n_points
    if not problem.free.any():
        return np.repeat(problem.constants(start)[None], n_runs, axis=0), {}
    height = max(1, ELEMENTS // n_points)
    ends = np.empty((n_runs, len(start)))
    for top in range(0, n_runs, height):
        some = np.arange(top, min(top + height, n_runs))
        weight = found.points.weight * (found.points.run_index != some[:, None])
        ends[some] = minimise(problem, np.repeat(start[None], len(some), axis=0), weight=weight).coordinates
    vanished = problem.logarithmic & problem.free & (ends <= problem.box[0])
    return np.where(vanished, 0.0, problem.constants(ends)), _lost(problem, start)


def _lost(problem: Problem, coordinates: np.ndarray) -> dict[int, str]:
    """Runs without which the points no longer determine the constants, with what they leave open. A look at the derivatives finds
    those that may be, and `gaps` says whether they are: it takes longer."""
    points = problem.points
    lost = {}
    for number in np.flatnonzero(_ratios(problem, coordinates) < SUSPECT):
        others = points.run_index != number
        if np.sum(others) <= np.sum(problem.free):
            lost[int(number)] = "too few points are left"
            continue
        left = {name: points.columns[name][others] for name in problem.law.columns}
        found = gaps(problem.law, left, problem.fixed)
        if found:
            lost[int(number)] = f"{', and '.join(gap.constants for gap in found)} would be open"
    return lost


def _ratios(problem: Problem, coordinates: np.ndarray) -> np.ndarray:
    """Smallest over largest singular value of the Jacobian without each run, its columns scaled to length one; (runs,)."""
    _, jacobian = problem.scores(coordinates)
    jacobian = jacobian * np.sqrt(problem.points.weight)[:, None]
    jacobian /= np.maximum(np.linalg.norm(jacobian, axis=0), np.finfo(float).tiny)
    parts = np.zeros((problem.points.n_runs, jacobian.shape[1], jacobian.shape[1]))
    for number in range(len(parts)):
        rows = jacobian[problem.points.run_index == number]
        parts[number] = rows.T @ rows
    gram = parts.sum(axis=0) - parts
    diagonal = np.maximum(np.einsum("rii->ri", gram), 0.0)
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    values = np.linalg.eigvalsh(gram / (scale[:, :, None] * scale[:, None, :]))
    return np.sqrt(np.maximum(values[:, 0], 0.0) / values[:, -1])
