"""Ways to hold points out: what a law has not seen tells how far it can be trusted.

Each takes points and returns masks, (refits, points), True where a point is held out of that refit; or a FitError that says why
the runs do not allow it. `checkpoints`, `size` and `rate` are the tests of Chen et al. 2025, arXiv:2411.10272.
"""

from collections.abc import Callable

import numpy as np

from prunescale.errors import FitError
from prunescale.fitting.points import Points

SAME = (
    1.05  # sizes and rates within this factor of the highest count as the highest: whole blocks and heads do not allow every rate
)
SIZES = (
    "n_params_before",
    "n_params_linear",
    "n_params_total",
    "n_params_non_embedding",
    "n_params_nonzero",
    "n_params_average",
    "n_params_final",
)
"""Columns that can tell sizes apart, the best first: what a model was before anything was removed from it."""
RATES = ("pruning_rate", "sparsity")

Holdout = Callable[[Points], np.ndarray]


def checkpoints(points: Points) -> np.ndarray:
    """The last fifth of each run's points, at least one and never the first."""
    position, length = points.position_in_run
    return _one(position >= np.maximum(4 * length // 5, 1), "no run has more than one point")


def tokens(points: Points) -> np.ndarray:
    """The points beyond 80 % of their run's last token count, in runs that have some before."""
    return _one(beyond(points, 0.8), "no run has points on both sides of 80 % of its tokens")


def tenfold(points: Points) -> np.ndarray:
    """The points beyond a tenth of their run's last token count, in runs that have some before: ten times the tokens of a pilot."""
    return _one(beyond(points, 0.1), "no run has points on both sides of a tenth of its tokens")


def beyond(points: Points, share: float) -> np.ndarray:
    """Where points lie beyond a share of their run's last token count, in runs that have some before."""
    n_tokens = points.columns["n_tokens"]
    first, last = np.full(points.n_runs, np.inf), np.zeros(points.n_runs)
    np.minimum.at(first, points.run_index, n_tokens)
    np.maximum.at(last, points.run_index, n_tokens)
    limit = (share * last)[points.run_index]
    return (n_tokens > limit) & (first[points.run_index] <= limit)


def size(points: Points) -> np.ndarray:
    """The runs of the largest model."""
    return _one(at_highest(points, SIZES), "all runs have one model size")


def rate(points: Points) -> np.ndarray:
    """The runs of the highest pruning rate, or sparsity."""
    return _one(at_highest(points, RATES), "all runs have one pruning rate or none")


def size_and_rate(points: Points) -> np.ndarray:
    """The runs of the largest model and those of the highest rate, together."""
    both = size(points) | rate(points)
    return _one(both[0], "every run has the largest size or the highest rate")


def run(points: Points) -> np.ndarray:
    """Each run in turn: a refit for each, in the order of `run_index`."""
    if points.n_runs < 2:
        raise FitError("there is one run only")
    return points.run_index == np.arange(points.n_runs)[:, None]


HOLDOUTS: dict[str, Holdout] = {
    "checkpoints": checkpoints,
    "tokens": tokens,
    "size": size,
    "rate": rate,
    "size-and-rate": size_and_rate,
    "run": run,
    "tenfold": tenfold,
}

USUAL = tuple(name for name in HOLDOUTS if name != "tenfold")
"""Those that are asked unless others are named: `tenfold` is for studies that were made for it."""


def at_highest(points: Points, names: tuple[str, ...]) -> np.ndarray:
    """Where the first of these columns that is there has its highest value, nearly."""
    name = next((name for name in names if name in points.columns), None)
    if name is None:
        return np.zeros(len(points.loss), dtype=bool)
    values = points.columns[name]
    return values * SAME >= values.max()


def _one(held: np.ndarray, otherwise: str) -> np.ndarray:
    if held.all() or not held.any():
        raise FitError(otherwise)
    return held[None]
