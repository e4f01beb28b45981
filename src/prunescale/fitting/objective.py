"""What a fit makes small. The choice moves the constants, so every result names it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Objective:
    """The sum over points of the squared difference between transformed predicted and transformed measured loss."""

    transform: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]  # derivative of the transform

    def residual(self, predicted: np.ndarray, measured: np.ndarray) -> np.ndarray:
        return self.transform(predicted) - self.transform(measured)


OBJECTIVES: dict[str, Objective] = {
    "squared": Objective(transform=lambda loss: loss, slope=np.ones_like),
    "squared-log": Objective(transform=np.log, slope=np.reciprocal),
}
