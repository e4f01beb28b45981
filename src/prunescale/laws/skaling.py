"""A law between Hoffmann's, whose two terms add up, and Kaplan's, whose terms limit each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from prunescale.laws.law import Bound, Law
from prunescale.laws.power import power

MILLION = 1e6


@dataclass(frozen=True)
class SkalingLaw(Law):
    """L(N, D) = E + A (N^-a + R D^-b)^k, in nats per token.

    Skaling, arXiv:2608.07222, known to us from a secondary source. N counts all parameters, D the tokens seen. Raw counts come in;
    inside the formula both are in millions, so that the constants are of ordinary size. k = 1 is Hoffmann's form, b = 1 with E = 0
    Kaplan's.
    """

    E: float
    A: float
    a: float
    R: float
    b: float
    k: float

    name: ClassVar[str] = "skaling"
    title: ClassVar[str] = "Skaling"
    formula: ClassVar[str] = "E + A (N^-a + R D^-b)^k"
    source: ClassVar[str] = "Skaling, arXiv:2608.07222"
    columns: ClassVar[tuple[str, ...]] = ("n_params_total", "n_tokens")
    bounds: ClassVar[Mapping[str, Bound]] = {
        "E": Bound(0.0, 20.0, start=(0.5, 3.0), off=0.0, role="loss of an unlimited model on unlimited data"),
        "A": Bound(1e-6, 1e6, start=(1e-1, 1e2), log=True, role="what more parameters and tokens can win"),
        "a": Bound(0.0, 3.0, start=(0.1, 1.0), role="exponent of the size"),
        "R": Bound(1e-8, 1e8, start=(1e-2, 1e2), log=True, role="what tokens count against parameters"),
        "b": Bound(0.0, 3.0, start=(0.1, 1.0), role="exponent of the tokens"),
        "k": Bound(0.05, 3.0, start=(0.3, 1.0), off=1.0, role="how far the two limit each other: 1 not at all"),
    }

    def loss(self, n_params_total: Any, n_tokens: Any) -> Any:
        N, D = n_params_total / MILLION, n_tokens / MILLION
        return self.E + self.A * power(power(N, -self.a) + self.R * power(D, -self.b), self.k)

    def gradient(self, n_params_total: Any, n_tokens: Any) -> tuple[Any, ...]:
        N, D = n_params_total / MILLION, n_tokens / MILLION
        size, data = power(N, -self.a), power(D, -self.b)
        log_both = np.log(size + self.R * data)
        joint = np.exp(self.k * log_both)
        slope = self.A * self.k * np.exp((self.k - 1) * log_both)
        return (
            1.0,
            joint,
            -np.log(N) * slope * size,
            slope * data,
            -np.log(D) * self.R * slope * data,
            self.A * joint * log_both,
        )
