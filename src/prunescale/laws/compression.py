"""The loss of a compressed model, as a multiple of what it was."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from prunescale.laws.law import Bound, Law

MILLION = 1e6


@dataclass(frozen=True)
class CompressionLaw(Law):
    """L(L0, rho, D) = L0^alpha (1+rho)^beta (1 + 1/(D+1))^gamma, in nats per token.

    Sengupta et al. 2025, arXiv:2504.04342, known to us from its abstract and a summary. L0 is the loss before pruning, rho the
    pruning rate (the paper's compression ratio r), D the tokens trained on since. The unit of D is not known to us: our reading is
    millions of tokens, a raw count comes in.

    It is defined without tokens and without pruning. What tokens can win is at most a factor of 2^gamma, most of it in the first
    few millions; a large D leaves L0^alpha (1+rho)^beta.
    """

    alpha: float
    beta: float
    gamma: float

    name: ClassVar[str] = "compression"
    title: ClassVar[str] = "compression law"
    formula: ClassVar[str] = "L0^alpha (1+rho)^beta (1 + 1/(D+1))^gamma"
    source: ClassVar[str] = "Sengupta et al. 2025, arXiv:2504.04342; D in millions of tokens is our reading"
    columns: ClassVar[tuple[str, ...]] = ("loss_before", "pruning_rate", "n_tokens")
    may_be_zero: ClassVar[tuple[str, ...]] = ("pruning_rate", "n_tokens")
    bounds: ClassVar[Mapping[str, Bound]] = {
        "alpha": Bound(0.0, 3.0, start=(0.7, 1.3), off=1.0, role="exponent of the loss before pruning"),
        "beta": Bound(0.0, 10.0, start=(0.1, 3.0), off=0.0, role="what pruning costs"),
        "gamma": Bound(0.0, 10.0, start=(0.1, 2.0), off=0.0, role="what more tokens can win"),
    }

    def loss(self, loss_before: Any, pruning_rate: Any, n_tokens: Any) -> Any:
        L0, pruned, untrained = self._logarithms(loss_before, pruning_rate, n_tokens)
        return np.exp(self.alpha * L0 + self.beta * pruned + self.gamma * untrained)

    def gradient(self, loss_before: Any, pruning_rate: Any, n_tokens: Any) -> tuple[Any, ...]:
        loss = self.loss(loss_before, pruning_rate, n_tokens)
        L0, pruned, untrained = self._logarithms(loss_before, pruning_rate, n_tokens)
        return L0 * loss, pruned * loss, untrained * loss

    def _logarithms(self, L0: Any, rho: Any, n_tokens: Any) -> tuple[Any, Any, Any]:
        """Of the three bases."""
        return np.log(L0), np.log1p(rho), np.log1p(1 / (n_tokens / MILLION + 1))
