"""What a fit makes small: the sum over points of rho(r), r a difference of losses or of their logarithms.

The choice moves the constants (on Hoffmann's points beta is 0.37 under one and 0.43 under another), so every result names it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

HUBER_DELTA = 1e-3  # of log loss: Hoffmann et al. 2022, section 3.3

Function = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Objective:
    """r = transform(predicted) - transform(measured), and rho(r) with its first two derivatives.

    weight is influence(r) / r: a squared loss with these weights touches rho at r and lies above it elsewhere.
    """

    transform: Function
    inverse: Function  # of the transform
    slope: Function  # derivative of the transform
    rho: Function
    influence: Function
    curvature: Function
    weight: Function

    def residual(self, predicted: np.ndarray, measured: np.ndarray) -> np.ndarray:
        return self.transform(predicted) - self.transform(measured)


def huber(residual: np.ndarray, delta: float = HUBER_DELTA) -> np.ndarray:
    """r^2 / 2 up to |r| = delta and delta (|r| - delta / 2) beyond."""
    size = np.abs(residual)
    return np.where(size <= delta, size**2 / 2, delta * (size - delta / 2))


def _identity(x: np.ndarray) -> np.ndarray:
    return x


def _half_square(r: np.ndarray) -> np.ndarray:
    return r**2 / 2


OBJECTIVES: dict[str, Objective] = {
    "squared": Objective(_identity, _identity, np.ones_like, _half_square, _identity, np.ones_like, np.ones_like),
    "squared-log": Objective(np.log, np.exp, np.reciprocal, _half_square, _identity, np.ones_like, np.ones_like),
    "huber-log": Objective(
        np.log,
        np.exp,
        np.reciprocal,
        huber,
        influence=lambda r: np.clip(r, -HUBER_DELTA, HUBER_DELTA),
        curvature=lambda r: (np.abs(r) <= HUBER_DELTA).astype(float),
        weight=lambda r: HUBER_DELTA / np.maximum(np.abs(r), HUBER_DELTA),
    ),
}
