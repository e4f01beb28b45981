"""The loss of a dense model whose size and data limit each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from prunescale.laws.law import Bound, Law
from prunescale.laws.power import log_factor, per_factor


@dataclass(frozen=True)
class KaplanLaw(Law):
    """L(N, D) = ((N_c/N)^(a_N/a_D) + D_c/D)^a_D, in nats per token.

    Kaplan et al. 2020, arXiv:2001.08361, eq. 1.5. N counts the parameters outside embeddings and head, D the tokens; both are raw
    counts, and so are N_c and D_c. With N_c = 0 it is L(D) = (D_c/D)^a_D, with D_c = 0 L(N) = (N_c/N)^a_N.

    It has no floor: it falls to 0 as the model and its data grow together.
    """

    N_c: float
    a_N: float
    D_c: float
    a_D: float

    name: ClassVar[str] = "kaplan"
    title: ClassVar[str] = "Kaplan law"
    formula: ClassVar[str] = "((N_c/N)^(a_N/a_D) + D_c/D)^a_D"
    source: ClassVar[str] = "Kaplan et al. 2020, arXiv:2001.08361, eq. 1.5"
    columns: ClassVar[tuple[str, ...]] = ("n_params_non_embedding", "n_tokens")
    bounds: ClassVar[Mapping[str, Bound]] = {
        "N_c": Bound(1e0, 1e30, start=(1e8, 1e18), log=True, role="the size that would reach one nat on unlimited data"),
        "a_N": Bound(0.01, 2.0, start=(0.04, 0.5), role="its exponent"),
        "D_c": Bound(1e0, 1e30, start=(1e8, 1e18), log=True, role="the tokens that would bring an unlimited model to one nat"),
        "a_D": Bound(0.01, 2.0, start=(0.04, 0.5), role="its exponent"),
    }

    def loss(self, n_params_non_embedding: Any, n_tokens: Any) -> Any:
        return np.exp(self.a_D * np.logaddexp(*self._log_terms(n_params_non_embedding, n_tokens)))

    def gradient(self, n_params_non_embedding: Any, n_tokens: Any) -> tuple[Any, ...]:
        size, data = self._log_terms(n_params_non_embedding, n_tokens)
        both = np.logaddexp(size, data)
        loss = np.exp(self.a_D * both)
        by_size, by_data = loss * np.exp(size - both), loss * np.exp(data - both)
        return (
            per_factor(self.a_N * by_size, self.N_c),
            by_size * size * (self.a_D / self.a_N),
            per_factor(self.a_D * by_data, self.D_c),
            loss * both - by_size * size,
        )

    def _log_terms(self, N: Any, D: Any) -> tuple[Any, Any]:
        """Logarithms of the two terms: the first alone would overflow where a_D is small."""
        return self.a_N / self.a_D * (log_factor(self.N_c) - np.log(N)), log_factor(self.D_c) - np.log(D)
