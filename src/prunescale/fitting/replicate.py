"""The spread of a fit's constants: the law refitted to many studies that might have been, of whole runs each."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from prunescale.fitting.minimise import minimise
from prunescale.fitting.precision import Neighbourhood, held_out_residuals
from prunescale.fitting.problem import Problem

MANY_RUNS = 100  # from which on runs are drawn anew; with fewer, the design stays and the runs' errors change sign
BLOCK = 3  # points that err together where runs are too few to tell
ELEMENTS = 2_000_000  # studies times points held at a time
TOLERANCE = 1e-8  # of the cost: a thousandth of what would move a percentile


@dataclass(frozen=True, eq=False)
class Replicates:
    """Constants of the law in each study that might have been, (studies, constants), and how the studies were made."""

    constants: np.ndarray
    method: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Replicates) and self.method == other.method and np.array_equal(self.constants, other.constants)

    __hash__ = None  # type: ignore[assignment]


PAIRS = "pairs: runs drawn anew with replacement"
WILD = "wild: the design kept, each run's errors multiplied by a random sign and size"
WITH = ", with all runs of a base together, which share a control"
PAIRS_OF_BASES = "pairs: base models drawn anew with replacement" + WITH
WILD_BASES = "wild: the design kept, each base's errors multiplied by a random sign and size" + WITH
BLOCKS = "wild by blocks: too few runs to tell how runs differ, so points are taken to err together by threes"


def replicate(problem: Problem, coordinates: np.ndarray, near: Neighbourhood, *, n: int, seed: int) -> Replicates:
    """n refits, from the optimum. Errors of a run stay together throughout, so correlated points are not counted as many."""
    rng = np.random.default_rng(seed)
    start = revived(problem, coordinates)
    if near.n_groups >= MANY_RUNS and near.n_groups > 3 * near.n_moving:
        method, studies = PAIRS_OF_BASES if near.by_base else PAIRS, _drawn(problem, near, n, rng)
    elif near.n_groups > near.n_moving + 1:
        method = WILD_BASES if near.by_base else WILD
        studies = _signed(problem, coordinates, near, near.group_index, n, rng)
    else:
        method, studies = BLOCKS, _signed(problem, coordinates, near, blocks(problem.points.run_index), n, rng)
    found = [
        minimise(
            problem, np.repeat(start[None], len(given[0]), axis=0), loss=given[1], weight=given[2], tolerance=TOLERANCE
        ).coordinates
        for given in studies
    ]
    z = np.concatenate(found) if found else np.empty((0, len(start)))
    vanished = problem.logarithmic & problem.free & (z <= problem.box[0])
    return Replicates(np.where(vanished, 0.0, problem.constants(z)), method)


Study = tuple[range, np.ndarray | None, np.ndarray | None]  # numbers, losses, weights


def _drawn(problem: Problem, near: Neighbourhood, n: int, rng: np.random.Generator) -> Iterator[Study]:
    points = problem.points
    for some in _batches(n, len(points.loss)):
        times = rng.multinomial(near.n_groups, np.full(near.n_groups, 1 / near.n_groups), size=len(some))
        yield some, None, times[:, near.group_index] * points.weight


def _signed(
    problem: Problem, coordinates: np.ndarray, near: Neighbourhood, groups: np.ndarray, n: int, rng: np.random.Generator
) -> Iterator[Study]:
    """Errors by group times Webb's six values, of mean 0 and variance 1, which are many enough for few groups (Webb 2014).

    Under Huber's rho it counts how many errors lie around 0, which other sizes than 1 would change: signs alone (Feng, He and Hu 2011).
    """
    six = np.ones(1) if problem.robust else np.sqrt([0.5, 1.0, 1.5])
    values = np.concatenate([-six, six])
    freed = held_out_residuals(near, groups)
    fitted = problem.terms.transform(problem.law_at(coordinates).predict(problem.points.columns))
    for some in _batches(n, len(fitted)):
        factor = rng.choice(values, size=(len(some), int(groups.max()) + 1))
        yield some, problem.terms.inverse(fitted - factor[:, groups] * freed), None


def _batches(n: int, n_points: int) -> Iterator[range]:
    size = max(1, min(n, ELEMENTS // n_points))
    yield from (range(first, min(first + size, n)) for first in range(0, n, size))


def blocks(run_index: np.ndarray) -> np.ndarray:
    """Consecutive points of a run by threes, numbered from 0."""
    position = np.arange(len(run_index)) - np.searchsorted(run_index, run_index)
    pairs = np.stack([run_index, position // BLOCK])
    return np.unique(pairs, axis=1, return_inverse=True)[1].ravel()


def revived(problem: Problem, coordinates: np.ndarray) -> np.ndarray:
    """The optimum with factors that vanished made small instead of zero, so that a study that wants them can have them."""
    revived = coordinates.copy()
    residual = problem.law_at(coordinates).predict(problem.points.columns) - problem.points.loss
    for index in np.flatnonzero(np.isneginf(coordinates) & problem.free):
        one = np.where(np.arange(len(coordinates)) == index, 0.0, coordinates)
        effect = problem.law_at(one).predict(problem.points.columns) - problem.points.loss - residual
        small = np.log(0.1 * np.sqrt(np.mean(residual**2)) / np.max(np.abs(effect)))
        revived[index] = np.clip(small, problem.box[0][index], problem.box[1][index])
    return revived
