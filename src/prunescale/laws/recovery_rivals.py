"""Rivals of the P2 law that change its form: without delta, with tokens outside the bracket, with an exponent that knows the rate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from prunescale.laws.law import Bound, Law
from prunescale.laws.power import power
from prunescale.laws.recovery import MILLION, RecoveryLaw

P2 = RecoveryLaw.bounds


@dataclass(frozen=True)
class P2NoDeltaLaw(Law):
    """L = L0 + (1/rho)^gamma (N_C/N0^alpha + D_C/D^beta + E), in nats per token.

    A rival of the P2 law (arXiv:2411.10272), with delta = 0: models of all sizes recover alike. Symbols and units are those of
    the P2 law.
    """

    gamma: float
    N_C: float
    alpha: float
    D_C: float
    beta: float
    E: float

    name: ClassVar[str] = "p2-no-delta"
    title: ClassVar[str] = "P2 law without delta"
    formula: ClassVar[str] = "L0 + (1/rho)^gamma (N_C/N0^alpha + D_C/D^beta + E)"
    source: ClassVar[str] = "ours, a rival to Chen et al. 2025, arXiv:2411.10272"
    columns: ClassVar[tuple[str, ...]] = ("n_params_before", "n_tokens", "pruning_rate", "loss_before")
    amplitudes: ClassVar[tuple[str, ...]] = ("N_C", "D_C", "E")
    bounds: ClassVar[Mapping[str, Bound]] = {name: bound for name, bound in P2.items() if name != "delta"}

    def loss(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_before: Any) -> Any:
        N0, D, rho = n_params_before / MILLION, n_tokens / MILLION, pruning_rate
        bracket = self.N_C * power(N0, -self.alpha) + self.D_C * power(D, -self.beta) + self.E
        return loss_before + power(rho, -self.gamma) * bracket

    def gradient(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_before: Any) -> tuple[Any, ...]:
        N0, D, rho = n_params_before / MILLION, n_tokens / MILLION, pruning_rate
        scale = power(rho, -self.gamma)
        floor, decay = scale * power(N0, -self.alpha), scale * power(D, -self.beta)
        return (
            -np.log(rho) * (self.N_C * floor + self.D_C * decay + self.E * scale),
            floor,
            -np.log(N0) * self.N_C * floor,
            decay,
            -np.log(D) * self.D_C * decay,
            scale,
        )


@dataclass(frozen=True)
class P2AdditiveLaw(Law):
    """L = L0 + (1/rho)^gamma (1/N0)^delta (N_C/N0^alpha + E) + D_C/D^beta, in nats per token.

    A rival of the P2 law (arXiv:2411.10272): the tokens stand apart, so that all curves have one shape, whatever the rate and the
    size, and differ in their floors. Symbols and units are those of the P2 law.
    """

    gamma: float
    delta: float
    N_C: float
    alpha: float
    D_C: float
    beta: float
    E: float

    name: ClassVar[str] = "p2-additive"
    title: ClassVar[str] = "P2 law with an additive data term"
    formula: ClassVar[str] = "L0 + (1/rho)^gamma (1/N0)^delta (N_C/N0^alpha + E) + D_C/D^beta"
    source: ClassVar[str] = "ours, a rival to Chen et al. 2025, arXiv:2411.10272"
    columns: ClassVar[tuple[str, ...]] = ("n_params_before", "n_tokens", "pruning_rate", "loss_before")
    amplitudes: ClassVar[tuple[str, ...]] = ("N_C", "D_C", "E")
    bounds: ClassVar[Mapping[str, Bound]] = P2

    def loss(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_before: Any) -> Any:
        N0, D, rho = n_params_before / MILLION, n_tokens / MILLION, pruning_rate
        floor = power(rho, -self.gamma) * power(N0, -self.delta) * (self.N_C * power(N0, -self.alpha) + self.E)
        return loss_before + floor + self.D_C * power(D, -self.beta)

    def gradient(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_before: Any) -> tuple[Any, ...]:
        N0, D, rho = n_params_before / MILLION, n_tokens / MILLION, pruning_rate
        scale = power(rho, -self.gamma) * power(N0, -self.delta)
        sized, decay = scale * power(N0, -self.alpha), power(D, -self.beta)
        floor = self.N_C * sized + self.E * scale
        return (
            -np.log(rho) * floor,
            -np.log(N0) * floor,
            sized,
            -np.log(N0) * self.N_C * sized,
            decay,
            -np.log(D) * self.D_C * decay,
            scale,
        )


@dataclass(frozen=True)
class P2BetaRateLaw(Law):
    """L = L0 + (1/rho)^gamma (1/N0)^delta (N_C/N0^alpha + D_C/D^(beta_0 (1-rho) + beta_1 rho) + E), in nats per token.

    A rival of the P2 law (arXiv:2411.10272): the exponent of D changes with the rate, from beta_0 where little is pruned to beta_1
    where nearly all is, and is positive between. Symbols and units are those of the P2 law, and beta_0 = beta_1 gives it back.
    """

    gamma: float
    delta: float
    N_C: float
    alpha: float
    D_C: float
    beta_0: float
    beta_1: float
    E: float

    name: ClassVar[str] = "p2-beta-rate"
    title: ClassVar[str] = "P2 law with a data exponent that depends on the rate"
    formula: ClassVar[str] = "L0 + (1/rho)^gamma (1/N0)^delta (N_C/N0^alpha + D_C/D^(beta_0 (1-rho) + beta_1 rho) + E)"
    source: ClassVar[str] = "ours, a rival to Chen et al. 2025, arXiv:2411.10272"
    columns: ClassVar[tuple[str, ...]] = ("n_params_before", "n_tokens", "pruning_rate", "loss_before")
    amplitudes: ClassVar[tuple[str, ...]] = ("N_C", "D_C", "E")
    bounds: ClassVar[Mapping[str, Bound]] = {
        **{name: P2[name] for name in ("gamma", "delta", "N_C", "alpha", "D_C")},
        "beta_0": Bound(0.0, 3.0, start=(0.1, 1.0), role="its exponent as the rate goes to 0"),
        "beta_1": Bound(0.0, 3.0, start=(0.1, 1.0), role="its exponent as the rate goes to 1"),
        "E": P2["E"],
    }

    def loss(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_before: Any) -> Any:
        N0, rho = n_params_before / MILLION, pruning_rate
        bracket = self.N_C * power(N0, -self.alpha) + self.D_C * self._decay(n_tokens, rho) + self.E
        return loss_before + power(rho, -self.gamma) * power(N0, -self.delta) * bracket

    def gradient(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_before: Any) -> tuple[Any, ...]:
        N0, D, rho = n_params_before / MILLION, n_tokens / MILLION, pruning_rate
        scale = power(rho, -self.gamma) * power(N0, -self.delta)
        floor, decay = scale * power(N0, -self.alpha), scale * self._decay(n_tokens, rho)
        excess = self.N_C * floor + self.D_C * decay + self.E * scale
        by_beta = -np.log(D) * self.D_C * decay
        return (
            -np.log(rho) * excess,
            -np.log(N0) * excess,
            floor,
            -np.log(N0) * self.N_C * floor,
            decay,
            (1 - rho) * by_beta,
            rho * by_beta,
            scale,
        )

    def _decay(self, n_tokens: Any, rho: Any) -> Any:
        log_D = np.log(n_tokens / MILLION)
        return np.exp(-self.beta_0 * ((1 - rho) * log_D) - self.beta_1 * (rho * log_D))
