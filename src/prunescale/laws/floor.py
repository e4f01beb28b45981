"""The loss of a pruned model over a dense control, with a part that no training wins back: our law, found on the runs of studies/p2."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from prunescale.laws.law import Bound, Law
from prunescale.laws.power import power
from prunescale.laws.recovery import MILLION


@dataclass(frozen=True)
class ControlFloorLaw(Law):
    """L = L_dense + (rho/(1-rho))^gamma N0^alpha (A/D^beta + E), in nats per token.

    What pruning costs over a dense control falls to a floor, since a smaller model stays a smaller model. L_dense is the loss of the
    control, the same model not pruned and trained on as many tokens in the same phase of the learning rate; rho is the pruning rate, N0
    the parameters outside embeddings and head before pruning, in millions, D the tokens trained on since, in millions. Against the
    tokens-per-parameter law it follows the bend of measured curves, and so tells the gain of more tokens better between sizes that were
    run, and sizes beyond them worse.
    """

    gamma: float
    alpha: float
    A: float
    beta: float
    E: float

    name: ClassVar[str] = "control-floor"
    title: ClassVar[str] = "law with a floor above a dense control"
    formula: ClassVar[str] = "L_dense + (rho/(1-rho))^gamma N0^alpha (A/D^beta + E)"
    source: ClassVar[str] = "ours, a rival to Chen et al. 2025, arXiv:2411.10272, found on the runs of studies/p2"
    columns: ClassVar[tuple[str, ...]] = ("n_params_before", "n_tokens", "pruning_rate", "loss_control")
    amplitudes: ClassVar[tuple[str, ...]] = ("A", "E")
    bounds: ClassVar[Mapping[str, Bound]] = {
        "gamma": Bound(-6.0, 6.0, start=(0.5, 2.0), off=0.0, role="exponent of what is removed against what is kept"),
        "alpha": Bound(
            -3.0, 3.0, start=(-0.2, 0.8), off=0.0, role="exponent of N0; positive where pruning costs larger models more"
        ),
        "A": Bound(1e-8, 1e8, start=(1e-2, 1e2), log=True, role="what more tokens can win back"),
        "beta": Bound(0.0, 3.0, start=(0.1, 1.0), role="its exponent"),
        "E": Bound(0.0, 100.0, start=(0.0, 2.0), off=0.0, role="the floor, which they cannot"),
    }

    def loss(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_control: Any) -> Any:
        scale = self._scale(n_params_before, pruning_rate)
        return loss_control + scale * (self.A * power(n_tokens / MILLION, -self.beta) + self.E)

    def gradient(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_control: Any) -> tuple[Any, ...]:
        odds, N0, D = pruning_rate / (1 - pruning_rate), n_params_before / MILLION, n_tokens / MILLION
        scale = self._scale(n_params_before, pruning_rate)
        decay = scale * power(D, -self.beta)
        excess = self.A * decay + self.E * scale
        return np.log(odds) * excess, np.log(N0) * excess, decay, -np.log(D) * self.A * decay, scale

    def _scale(self, n_params_before: Any, pruning_rate: Any) -> Any:
        return power(pruning_rate / (1 - pruning_rate), self.gamma) * power(n_params_before / MILLION, self.alpha)
