"""The loss at the end of a pre-training during which the model is pruned: which N counts?"""

from dataclasses import dataclass
from typing import Any, ClassVar

from prunescale.laws.additive import AdditiveLaw


@dataclass(frozen=True)
class AverageParameterLaw(AdditiveLaw):
    """L(N_avg, D) = E + A/N_avg^alpha + B/D^beta, N_avg = (1/D) integral_0^D N(t) dt; in nats per token.

    Jin et al. 2025, arXiv:2501.12486; no published constants are available to us. N(t) counts the unpruned weights of the
    linear layers after t tokens, LM head included, embedding table not; D the tokens seen. Both are raw counts.
    """

    name: ClassVar[str] = "average-parameter"
    title: ClassVar[str] = "average-parameter law"
    formula: ClassVar[str] = "E + A/N_avg^alpha + B/D^beta"
    source: ClassVar[str] = "Jin et al. 2025, arXiv:2501.12486"
    columns: ClassVar[tuple[str, ...]] = ("n_params_average", "n_tokens")

    def loss(self, n_params_average: Any, n_tokens: Any) -> Any:
        return self.additive_loss(n_params_average, n_tokens)

    def gradient(self, n_params_average: Any, n_tokens: Any) -> tuple[Any, ...]:
        return self.additive_gradient(n_params_average, n_tokens)


@dataclass(frozen=True)
class FinalParameterLaw(AdditiveLaw):
    """L(N_final, D) = E + A/N_final^alpha + B/D^beta, in nats per token.

    A rival of the average-parameter law (arXiv:2501.12486): only what is left at the end counts, not how long the rest was there.
    N_final counts the unpruned weights of the linear layers at the end, D the tokens seen; both are raw counts.
    """

    name: ClassVar[str] = "final-parameter"
    title: ClassVar[str] = "final-parameter law"
    formula: ClassVar[str] = "E + A/N_final^alpha + B/D^beta"
    source: ClassVar[str] = "ours, a rival to Jin et al. 2025, arXiv:2501.12486"
    columns: ClassVar[tuple[str, ...]] = ("n_params_final", "n_tokens")

    def loss(self, n_params_final: Any, n_tokens: Any) -> Any:
        return self.additive_loss(n_params_final, n_tokens)

    def gradient(self, n_params_final: Any, n_tokens: Any) -> tuple[Any, ...]:
        return self.additive_gradient(n_params_final, n_tokens)


@dataclass(frozen=True)
class DenseParameterLaw(AdditiveLaw):
    """L(N_dense, D) = E + A/N_dense^alpha + B/D^beta, in nats per token.

    A rival of the average-parameter law (arXiv:2501.12486): as if nothing had been pruned. N_dense counts all weights of the linear
    layers, pruned or not, D the tokens seen; both are raw counts.
    """

    name: ClassVar[str] = "dense-parameter"
    title: ClassVar[str] = "dense-parameter law"
    formula: ClassVar[str] = "E + A/N_dense^alpha + B/D^beta"
    source: ClassVar[str] = "ours, a rival to Jin et al. 2025, arXiv:2501.12486"
    columns: ClassVar[tuple[str, ...]] = ("n_params_linear", "n_tokens")

    def loss(self, n_params_linear: Any, n_tokens: Any) -> Any:
        return self.additive_loss(n_params_linear, n_tokens)

    def gradient(self, n_params_linear: Any, n_tokens: Any) -> tuple[Any, ...]:
        return self.additive_gradient(n_params_linear, n_tokens)
