"""The loss of a pruned model while it is trained further: the P2 law, and the same with another rate or another start."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from prunescale.laws.law import Bound, Law
from prunescale.laws.power import power

MILLION = 1e6


@dataclass(frozen=True)
class RecoveryLaw(Law):
    """What a law of the form base + (1/r)^gamma (1/N0)^delta (N_C/N0^alpha + D_C/D^beta + E) adds to its base.

    Such a law says what the base is and how the rate enters as r. N0 is in millions of parameters, D in millions of tokens.
    """

    gamma: float
    delta: float
    N_C: float
    alpha: float
    D_C: float
    beta: float
    E: float

    amplitudes: ClassVar[tuple[str, ...]] = ("N_C", "D_C", "E")
    bounds: ClassVar[Mapping[str, Bound]] = {
        "gamma": Bound(
            -6.0, 6.0, start=(-3.0, 0.5), off=0.0, role="exponent of 1/rate; negative where the loss rises with the rate"
        ),
        "delta": Bound(
            -3.0, 3.0, start=(-0.5, 1.0), off=0.0, role="exponent of 1/N0; positive where smaller models recover faster"
        ),
        "N_C": Bound(1e-8, 1e8, start=(1e-3, 1e2), log=True, role="the floor's part that depends on the size"),
        "alpha": Bound(0.0, 6.0, start=(0.05, 2.0), off=0.0, role="its exponent"),
        "D_C": Bound(1e-8, 1e8, start=(1e-2, 1e2), log=True, role="what more tokens can win back"),
        "beta": Bound(0.0, 3.0, start=(0.1, 1.0), role="its exponent"),
        "E": Bound(0.0, 100.0, start=(0.0, 2.0), off=0.0, role="the floor's part common to all sizes"),
    }

    def excess(self, n_params_before: Any, n_tokens: Any, r: Any) -> Any:
        N0, D = n_params_before / MILLION, n_tokens / MILLION
        bracket = self.N_C * power(N0, -self.alpha) + self.D_C * power(D, -self.beta) + self.E
        return power(r, -self.gamma) * power(N0, -self.delta) * bracket

    def excess_gradient(self, n_params_before: Any, n_tokens: Any, r: Any) -> tuple[Any, ...]:
        """Derivatives by gamma, delta, N_C, alpha, D_C, beta, E."""
        N0, D = n_params_before / MILLION, n_tokens / MILLION
        scale = power(r, -self.gamma) * power(N0, -self.delta)
        floor, decay = scale * power(N0, -self.alpha), scale * power(D, -self.beta)
        excess = self.N_C * floor + self.D_C * decay + self.E * scale
        return (
            -np.log(r) * excess,
            -np.log(N0) * excess,
            floor,
            -np.log(N0) * self.N_C * floor,
            decay,
            -np.log(D) * self.D_C * decay,
            scale,
        )


@dataclass(frozen=True)
class P2Law(RecoveryLaw):
    """L = L0 + (1/rho)^gamma (1/N0)^delta (N_C/N0^alpha + D_C/D^beta + E), in nats per token.

    Chen et al. 2025, arXiv:2411.10272 v3, known to us from secondary sources; no published constants are available to us, nor the
    units that the authors used. L0 is the loss before pruning, rho the pruning rate, N0 the parameters outside embeddings and head
    before pruning, D the tokens trained on since. Raw counts come in; inside the formula N0 is in millions of parameters and D in
    millions of tokens.

    A loss that rises with the rate needs gamma < 0. The form diverges as D goes to 0, where the real loss does not, so points
    without tokens are never used and those of the warm-up should not be. Its bracket is positive, so it cannot go below L0, which
    an annealed model may. To find all constants takes three sizes, two rates that do not go with the sizes, and three token counts
    on a curve; with fewer, some must be fixed.
    """

    name: ClassVar[str] = "p2"
    title: ClassVar[str] = "P2 law"
    formula: ClassVar[str] = "L0 + (1/rho)^gamma (1/N0)^delta (N_C/N0^alpha + D_C/D^beta + E)"
    source: ClassVar[str] = "Chen et al. 2025, arXiv:2411.10272 v3"
    columns: ClassVar[tuple[str, ...]] = ("n_params_before", "n_tokens", "pruning_rate", "loss_before")

    def loss(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_before: Any) -> Any:
        return loss_before + self.excess(n_params_before, n_tokens, pruning_rate)

    def gradient(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_before: Any) -> tuple[Any, ...]:
        return self.excess_gradient(n_params_before, n_tokens, pruning_rate)


@dataclass(frozen=True)
class P2OddsLaw(RecoveryLaw):
    """L = L0 + ((1-rho)/rho)^gamma (1/N0)^delta (N_C/N0^alpha + D_C/D^beta + E), in nats per token.

    A rival of the P2 law (arXiv:2411.10272): the rate enters as rho/(1-rho), what is removed against what is kept, which knows no
    bound as rho goes to 1. Symbols and units are those of the P2 law.
    """

    name: ClassVar[str] = "p2-odds"
    title: ClassVar[str] = "P2 law in the odds of the rate"
    formula: ClassVar[str] = "L0 + ((1-rho)/rho)^gamma (1/N0)^delta (N_C/N0^alpha + D_C/D^beta + E)"
    source: ClassVar[str] = "ours, a rival to Chen et al. 2025, arXiv:2411.10272"
    columns: ClassVar[tuple[str, ...]] = ("n_params_before", "n_tokens", "pruning_rate", "loss_before")

    def loss(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_before: Any) -> Any:
        return loss_before + self.excess(n_params_before, n_tokens, pruning_rate / (1 - pruning_rate))

    def gradient(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_before: Any) -> tuple[Any, ...]:
        return self.excess_gradient(n_params_before, n_tokens, pruning_rate / (1 - pruning_rate))


@dataclass(frozen=True)
class P2LogKeptLaw(RecoveryLaw):
    """L = L0 + (1/-log(1-rho))^gamma (1/N0)^delta (N_C/N0^alpha + D_C/D^beta + E), in nats per token.

    A rival of the P2 law (arXiv:2411.10272): the rate enters as -log(1-rho), in which a share removed of what is left counts the
    same however often it is removed. Symbols and units are those of the P2 law.
    """

    name: ClassVar[str] = "p2-log-kept"
    title: ClassVar[str] = "P2 law in the logarithm of what is kept"
    formula: ClassVar[str] = "L0 + (1/-log(1-rho))^gamma (1/N0)^delta (N_C/N0^alpha + D_C/D^beta + E)"
    source: ClassVar[str] = "ours, a rival to Chen et al. 2025, arXiv:2411.10272"
    columns: ClassVar[tuple[str, ...]] = ("n_params_before", "n_tokens", "pruning_rate", "loss_before")

    def loss(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_before: Any) -> Any:
        return loss_before + self.excess(n_params_before, n_tokens, -np.log1p(-pruning_rate))

    def gradient(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_before: Any) -> tuple[Any, ...]:
        return self.excess_gradient(n_params_before, n_tokens, -np.log1p(-pruning_rate))


@dataclass(frozen=True)
class P2ControlLaw(RecoveryLaw):
    """L = L_dense + (1/rho)^gamma (1/N0)^delta (N_C/N0^alpha + D_C/D^beta + E), in nats per token.

    A rival of the P2 law (arXiv:2411.10272): L_dense is the loss of a dense control, the same model not pruned and trained further
    on as many tokens in the same phase of the learning rate. It stands in the place of L0, since that training lowers the dense
    model's loss too. The other symbols and units are those of the P2 law.
    """

    name: ClassVar[str] = "p2-control"
    title: ClassVar[str] = "P2 law above a dense control"
    formula: ClassVar[str] = "L_dense + (1/rho)^gamma (1/N0)^delta (N_C/N0^alpha + D_C/D^beta + E)"
    source: ClassVar[str] = "ours, a rival to Chen et al. 2025, arXiv:2411.10272"
    columns: ClassVar[tuple[str, ...]] = ("n_params_before", "n_tokens", "pruning_rate", "loss_control")

    def loss(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_control: Any) -> Any:
        return loss_control + self.excess(n_params_before, n_tokens, pruning_rate)

    def gradient(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_control: Any) -> tuple[Any, ...]:
        return self.excess_gradient(n_params_before, n_tokens, pruning_rate)
