"""What the laws of the form E + A / N^alpha + B / D^beta share, whatever N counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from prunescale.laws.law import Bound, Law
from prunescale.laws.power import power


@dataclass(frozen=True)
class AdditiveLaw(Law):
    """E + A / N^alpha + B / D^beta: a law of this form says which column is N."""

    E: float
    A: float
    alpha: float
    B: float
    beta: float

    bounds: ClassVar[Mapping[str, Bound]] = {
        "E": Bound(0.0, 20.0, start=(0.5, 3.0), role="loss of an unlimited model on unlimited data"),
        "A": Bound(1e-4, 1e14, start=(1e0, 1e6), log=True, role="what more parameters can win"),
        "alpha": Bound(0.0, 2.0, start=(0.05, 1.0), role="its exponent"),
        "B": Bound(1e-4, 1e14, start=(1e0, 1e6), log=True, role="what more tokens can win"),
        "beta": Bound(0.0, 2.0, start=(0.05, 1.0), role="its exponent"),
    }

    def additive_loss(self, N: Any, D: Any) -> Any:
        return self.E + self.A * power(N, -self.alpha) + self.B * power(D, -self.beta)

    def additive_gradient(self, N: Any, D: Any) -> tuple[Any, ...]:
        """Derivatives by E, A, alpha, B, beta."""
        size, data = power(N, -self.alpha), power(D, -self.beta)
        return 1.0, size, -np.log(N) * self.A * size, data, -np.log(D) * self.B * data
