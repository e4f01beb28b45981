"""The loss of a dense model at the end of pre-training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from prunescale.laws.additive import additive_gaps, additive_gradient
from prunescale.laws.law import Bound, Columns, Gap, Law


@dataclass(frozen=True)
class HoffmannLaw(Law):
    """L(N, D) = E + A / N^alpha + B / D^beta, in nats per token.

    Hoffmann et al. 2022, arXiv:2203.15556, eq. 2. N counts all parameters, D the tokens seen; both are raw counts.
    """

    E: float
    A: float
    alpha: float
    B: float
    beta: float

    name: ClassVar[str] = "hoffmann"
    title: ClassVar[str] = "Hoffmann law"
    formula: ClassVar[str] = "E + A/N^alpha + B/D^beta"
    source: ClassVar[str] = "Hoffmann et al. 2022, arXiv:2203.15556, eq. 2"
    columns: ClassVar[tuple[str, ...]] = ("n_params_total", "n_tokens")
    bounds: ClassVar[Mapping[str, Bound]] = {
        "E": Bound(0.0, 20.0, start=(0.5, 3.0)),
        "A": Bound(1e-4, 1e14, start=(1e0, 1e6), log=True),
        "alpha": Bound(0.0, 2.0, start=(0.05, 1.0)),
        "B": Bound(1e-4, 1e14, start=(1e0, 1e6), log=True),
        "beta": Bound(0.0, 2.0, start=(0.05, 1.0)),
    }

    def loss(self, n_params_total: Any, n_tokens: Any) -> Any:
        return self.E + self.A * n_params_total**-self.alpha + self.B * n_tokens**-self.beta

    def gradient(self, n_params_total: Any, n_tokens: Any) -> np.ndarray:
        return additive_gradient(self, n_params_total, n_tokens)

    @classmethod
    def unidentified(cls, columns: Columns, fixed: Mapping[str, float]) -> tuple[Gap, ...]:
        """Each size gives one equation for (E, A, alpha), each token count one for (E, B, beta)."""
        return additive_gaps(columns["n_params_total"], columns["n_tokens"], set(cls.bounds) - set(fixed))
