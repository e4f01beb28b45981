"""Where to begin: many candidates spread evenly, evaluated all at once, the best of them followed."""

import numpy as np

from prunescale.fitting.problem import Problem

CHUNK = 1_000_000  # residuals held in memory at a time


def latin_hypercube(n: int, n_dimensions: int, rng: np.random.Generator) -> np.ndarray:
    """n positions in the unit cube of which each of n equal slices of each side holds exactly one; (n, n_dimensions)."""
    slices = np.stack([rng.permutation(n) for _ in range(n_dimensions)], axis=1)
    return (slices + rng.random((n, n_dimensions))) / n


def promising_starts(problem: Problem, *, n_candidates: int, n_starts: int, seed: int) -> np.ndarray:
    """The candidates of least cost, best first; (n_starts, free constants)."""
    if problem.space.size == 0:  # every constant is fixed
        return np.empty((1, 0))
    low, high = problem.space.start_box()
    candidates = low + (high - low) * latin_hypercube(n_candidates, problem.space.size, np.random.default_rng(seed))
    n_chunks = 1 + n_candidates * len(problem.points.loss) // CHUNK
    costs = [np.sum(problem.residual(chunk) ** 2, axis=1) for chunk in np.array_split(candidates, n_chunks)]
    return candidates[np.argsort(np.concatenate(costs), kind="stable")[:n_starts]]
