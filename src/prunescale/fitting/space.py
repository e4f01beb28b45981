"""The coordinates in which constants are searched: a cube of fractions, and beyond it a line without bounds.

A constant lies at a fraction between 0 and 1 of its range, or of its range's logarithm. A solver that knows no bounds moves
along u with fraction = (1 + sin u) / 2, the change of variables by which Minuit keeps parameters within limits.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from prunescale.laws import Bound


@dataclass(frozen=True)
class Space:
    """The free constants of a law by name, with their bounds."""

    bounds: Mapping[str, Bound]

    @property
    def size(self) -> int:
        return len(self.bounds)

    def constants(self, fractions: np.ndarray) -> np.ndarray:
        """Values of the constants, along the last axis."""
        low, high = self._ends()
        values = low + (high - low) * fractions
        return np.where(self._is_log(), np.exp(np.where(self._is_log(), values, 0.0)), values)

    def fractions(self, constants: np.ndarray) -> np.ndarray:
        low, high = self._ends()
        values = np.where(self._is_log(), np.log(np.where(self._is_log(), constants, 1.0)), constants)
        return (values - low) / (high - low)

    def slope(self, fractions: np.ndarray) -> np.ndarray:
        """Derivative of each constant by its fraction."""
        low, high = self._ends()
        return (high - low) * np.where(self._is_log(), self.constants(fractions), 1.0)

    def start_box(self) -> tuple[np.ndarray, np.ndarray]:
        """Fractions between which a search starts."""
        ends = np.array([bound.start for bound in self.bounds.values()]).reshape(-1, 2).T
        return self.fractions(ends[0]), self.fractions(ends[1])

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        ends = [(np.log(b.low), np.log(b.high)) if b.log else (b.low, b.high) for b in self.bounds.values()]
        low, high = np.array(ends, dtype=float).reshape(-1, 2).T
        return low, high

    def _is_log(self) -> np.ndarray:
        return np.array([bound.log for bound in self.bounds.values()], dtype=bool)


def fractions_of_line(u: np.ndarray) -> np.ndarray:
    return (1 + np.sin(u)) / 2


def line_of_fractions(fractions: np.ndarray) -> np.ndarray:
    return np.arcsin(2 * fractions - 1)


def slope_of_line(u: np.ndarray) -> np.ndarray:
    """Derivative of each fraction by u."""
    return np.cos(u) / 2
