"""How well the points determine the constants, judged at the optimum alone."""

from dataclasses import dataclass

import numpy as np

from prunescale.fitting.problem import Problem
from prunescale.laws import Law

FLAT = 1e-6  # of the largest singular value: along this direction the points say nothing
WEAK = 3e-3  # of the largest singular value: along this direction they say little
NAMED = 0.3  # of a unit direction: constants with a smaller part in it are not named


@dataclass(frozen=True)
class Precision:
    """Standard errors from the Jacobian (None: not to be had), and the directions in which the points say little.

    The errors take the points as independent. Points of one curve are not, so these errors are too small: read them as a
    lower limit, and the spread of the jackknife beside them.
    """

    standard_errors: dict[str, float | None]
    weak: tuple[tuple[tuple[str, ...], float], ...]  # constants determined only together, with the singular value's ratio

    @property
    def flat(self) -> bool:
        return any(ratio < FLAT for _, ratio in self.weak)


def precision(problem: Problem, law: Law, cost: float, at_bound: tuple[str, ...]) -> Precision:
    """Of the free constants that are not on a bound; columns of the Jacobian are scaled to length one first."""
    free = [name for name in problem.space.bounds if name not in at_bound]
    errors: dict[str, float | None] = dict.fromkeys(problem.space.bounds)
    if not free:
        return Precision(errors, ())
    jacobian = problem.jacobian_by_constant(law)[:, [name in free for name in problem.space.bounds]]
    lengths = np.linalg.norm(jacobian, axis=0)
    _, values, directions = np.linalg.svd(jacobian / np.where(lengths > 0, lengths, 1.0), full_matrices=False)
    ratios = values / values[0]
    weak = tuple((_named(free, v), float(r)) for v, r in zip(directions, ratios, strict=True) if r < WEAK)
    if ratios[-1] > FLAT:
        variance = cost / max(len(jacobian) - len(free), 1)
        spread = np.sqrt(variance * np.sum((directions / values[:, None]) ** 2, axis=0)) / lengths
        errors |= dict(zip(free, spread.tolist(), strict=True))
    return Precision(errors, weak)


def _named(names: list[str], direction: np.ndarray) -> tuple[str, ...]:
    return tuple(name for name, part in zip(names, direction, strict=True) if abs(part) >= NAMED)
