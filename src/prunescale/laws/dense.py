"""The loss of a dense model at the end of pre-training."""

from dataclasses import dataclass
from typing import Any, ClassVar

from prunescale.laws.additive import AdditiveLaw


@dataclass(frozen=True)
class HoffmannLaw(AdditiveLaw):
    """L(N, D) = E + A/N^alpha + B/D^beta, in nats per token.

    Hoffmann et al. 2022, arXiv:2203.15556, eq. 2. N counts all parameters, embeddings included, D the tokens seen; both are raw
    counts.
    """

    name: ClassVar[str] = "hoffmann"
    title: ClassVar[str] = "Hoffmann law"
    formula: ClassVar[str] = "E + A/N^alpha + B/D^beta"
    source: ClassVar[str] = "Hoffmann et al. 2022, arXiv:2203.15556, eq. 2"
    columns: ClassVar[tuple[str, ...]] = ("n_params_total", "n_tokens")

    def loss(self, n_params_total: Any, n_tokens: Any) -> Any:
        return self.additive_loss(n_params_total, n_tokens)

    def gradient(self, n_params_total: Any, n_tokens: Any) -> tuple[Any, ...]:
        return self.additive_gradient(n_params_total, n_tokens)
