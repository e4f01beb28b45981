"""How far a law is from measured losses, in the measures that the papers use."""

from dataclasses import dataclass

import numpy as np

from prunescale.fitting.objective import huber
from prunescale.laws import Columns, Law

MILLION = 1e6


@dataclass(frozen=True)
class Metrics:
    """Measures of fit; None where the points do not allow one.

    r2: of the loss. r2_excess: of the loss above that before pruning, or above the control's; r2 is flattered where that is an input.
    rmse: nats per token. huber: sum over points of the Huber loss (delta 1e-3) of the difference of log losses.
    asd: average slope difference, nats per million tokens.
    """

    r2: float | None
    r2_excess: float | None
    rmse: float
    huber: float
    asd: float | None


def excess_over(law: type[Law]) -> str | None:
    """The column that a law adds the rest to: the loss before pruning, or that of the control; None where it has neither."""
    return next((name for name in ("loss_before", "loss_control") if name in law.columns), None)


def measure(law: Law, columns: Columns) -> Metrics:
    """The law's predictions against the measured losses of these points; sorted by run and tokens they must be."""
    measured, predicted = columns["loss"], law.predict(columns)
    floor = excess_over(type(law))
    before = columns[floor] if floor else None
    return Metrics(
        r2=r_squared(measured, predicted),
        r2_excess=None if before is None else r_squared(measured - before, predicted - before),
        rmse=float(np.sqrt(np.mean((predicted - measured) ** 2))),
        huber=float(np.sum(huber(np.log(predicted) - np.log(measured)))),
        asd=average_slope_difference(columns["run"], columns["n_tokens"], measured, predicted),
    )


def r_squared(measured: np.ndarray, predicted: np.ndarray) -> float | None:
    """1 - residual / total sum of squares; None where all measured values are equal."""
    total = np.sum((measured - np.mean(measured)) ** 2)
    return float(1 - np.sum((predicted - measured) ** 2) / total) if total > 0 else None


def average_slope_difference(run: np.ndarray, n_tokens: np.ndarray, measured: np.ndarray, predicted: np.ndarray) -> float | None:
    """Mean of |measured slope - predicted slope| over all pairs of consecutive points of a run, nats per million tokens.

    The slope from point i to the next is (L[i+1] - L[i]) / (D[i+1] - D[i]). This is our reading of the ASD of Chen et al. 2025,
    whose exact published formula is not available to us. Rows must be sorted by run and tokens; None without any pair.
    """
    step = np.diff(n_tokens) / MILLION
    pair = (run[1:] == run[:-1]) & (step > 0)
    if not pair.any():
        return None
    return float(np.mean(np.abs(np.diff(measured - predicted)[pair] / step[pair])))
