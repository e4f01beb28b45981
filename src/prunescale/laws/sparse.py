"""The loss at the end of a pre-training during which the model is pruned."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from prunescale.laws.additive import additive_gaps, additive_gradient
from prunescale.laws.dense import HoffmannLaw
from prunescale.laws.law import Bound, Columns, Gap, Law


@dataclass(frozen=True)
class AverageParameterLaw(Law):
    """L(N_avg, D) = E + A / N_avg^alpha + B / D^beta, N_avg = (1/D) * integral_0^D N(t) dt; in nats per token.

    Jin et al. 2025, arXiv:2501.12486; no published constants are available to us. N(t) counts the unpruned weights of the
    linear layers after t tokens, LM head included, embedding table not; D the tokens seen. Both are raw counts.
    """

    E: float
    A: float
    alpha: float
    B: float
    beta: float

    name: ClassVar[str] = "average-parameter"
    title: ClassVar[str] = "average-parameter law"
    formula: ClassVar[str] = "E + A/N_avg^alpha + B/D^beta"
    source: ClassVar[str] = "Jin et al. 2025, arXiv:2501.12486"
    columns: ClassVar[tuple[str, ...]] = ("n_params_average", "n_tokens")
    bounds: ClassVar[Mapping[str, Bound]] = HoffmannLaw.bounds

    def loss(self, n_params_average: Any, n_tokens: Any) -> Any:
        return self.E + self.A * n_params_average**-self.alpha + self.B * n_tokens**-self.beta

    def gradient(self, n_params_average: Any, n_tokens: Any) -> np.ndarray:
        return additive_gradient(self, n_params_average, n_tokens)

    @classmethod
    def unidentified(cls, columns: Columns, fixed: Mapping[str, float]) -> tuple[Gap, ...]:
        """Each size gives one equation for (E, A, alpha), each token count one for (E, B, beta)."""
        return additive_gaps(columns["n_params_average"], columns["n_tokens"], set(cls.bounds) - set(fixed))
