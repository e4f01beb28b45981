"""What pruning costs at each point: the loss over the dense control's, or over the loss before pruning; and what an error is a share of."""

import numpy as np

from prunescale.errors import FitError
from prunescale.laws import Columns

SMALL = 0.01
"""Nats: seeds and restarts move a loss as much, so that a share of an excess below it means nothing."""

ENOUGH_TO_BEND = 8
"""Points of a curve from which on it may bend."""

N_STEPS = 30
LARGEST_STEP = 2.0  # of the logarithm, at any point
RIDGE = 1e-9


def reference(columns: Columns) -> str | None:
    """The column that an excess is over: the dense control's loss, or else that before pruning, if every point has one.

    Further training lowers the loss of the unpruned model too, so the loss before pruning is not what a pruned one returns to.
    """
    return next((name for name in ("loss_control", "loss_before") if name in columns), None)


def scale(columns: Columns, loss: np.ndarray) -> np.ndarray:
    """The excess of losses, (..., points), at least SMALL: what an error there is a share of. Raises FitError where there is none."""
    over = reference(columns)
    if over is None:
        raise FitError("Points can be weighted by their excess only where they have a loss before pruning or one of a control.")
    return np.maximum(loss - columns[over], SMALL)


def scale_of_curves(columns: Columns) -> np.ndarray:
    """The same of the points themselves, (points,), read off a smooth curve through each run's.

    A point that came out low by chance would have a small excess, and so a large weight: a fit would follow what is low by chance.
    """
    measured = scale(columns, np.asarray(columns["loss"]))
    if "n_tokens" not in columns or not len(measured):
        return measured
    curve = [np.asarray(columns[name]) for name in ("run", "phase") if name in columns]
    index = np.unique(np.stack([column.astype(str) for column in curve]), axis=1, return_inverse=True)[1].ravel()
    over = columns[reference(columns) or ""]
    smooth = smoothed(index, np.asarray(columns["n_tokens"], dtype=float), np.asarray(columns["loss"]) - over)
    return np.maximum(np.where(np.isfinite(smooth), smooth, measured), SMALL)


def smoothed(index: np.ndarray, n_tokens: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """exp(a + b x + c x^2) in x, the logarithm of the tokens, through the excesses of each curve, (points,); c = 0 for short ones.

    By Poisson's equations, which are linear in the excesses: errors that are 0 on average move it by nothing on average, and an excess
    may be negative. nan where a curve has none on the whole.
    """
    n_curves = int(index.max()) + 1
    count = np.bincount(index, minlength=n_curves)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(index, weights=values, minlength=n_curves)

    x = np.log1p(n_tokens)
    x = x - (total(x) / count)[index]
    spread = np.sqrt(total(x**2) / count)[index]
    x = np.divide(x, spread, out=np.zeros_like(x), where=spread > 0)
    terms = np.stack([np.ones_like(x), x, np.where(count[index] >= ENOUGH_TO_BEND, x**2, 0.0)])
    mean = total(excess) / count
    with np.errstate(divide="ignore", invalid="ignore"):
        constants = np.stack([np.log(mean), np.zeros(n_curves), np.zeros(n_curves)])
        for _ in range(N_STEPS):
            curve = np.exp(np.sum(constants[:, index] * terms, axis=0))
            pull = np.stack([total((excess - curve) * term) for term in terms], axis=1)
            stiffness = np.stack([[total(curve * a * b) for b in terms] for a in terms]).transpose(2, 0, 1)
            stiffness += RIDGE * np.maximum(np.abs(mean), SMALL)[:, None, None] * count[:, None, None] * np.eye(3)
            known = np.all(np.isfinite(stiffness), axis=(1, 2)) & (mean > 0)
            step = np.zeros((n_curves, 3))
            step[known] = np.linalg.solve(stiffness[known], pull[known, :, None])[:, :, 0]
            largest = np.zeros(n_curves)
            np.maximum.at(largest, index, np.abs(np.sum(step.T[:, index] * terms, axis=0)))
            constants += (step / np.maximum(1.0, largest / LARGEST_STEP)[:, None]).T
        return np.exp(np.sum(constants[:, index] * terms, axis=0))
