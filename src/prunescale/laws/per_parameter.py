"""The loss of a pruned model by the tokens per parameter that it is trained on further: our law, found on the runs of studies/p2."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from prunescale.laws.law import Bound, Law
from prunescale.laws.power import power


@dataclass(frozen=True)
class TokensPerParameterLaw(Law):
    """L = L_dense + A (rho/(1-rho))^gamma (N0/D)^beta, in nats per token.

    What pruning costs, over a dense control, depends on what is removed against what is kept, and on the tokens trained on since per
    parameter: twice the model takes twice the tokens. L_dense is the loss of the control, the same model not pruned and trained on as
    many tokens in the same phase of the learning rate; rho is the pruning rate, N0 the parameters outside embeddings and head before
    pruning, D the tokens. In the runs that it was found on all models had seen 20 tokens a parameter before pruning, so N0 may as well
    stand for those. The form diverges as D goes to 0, as the P2 law's does, and goes to the control as D grows.
    """

    A: float
    gamma: float
    beta: float

    name: ClassVar[str] = "tokens-per-parameter"
    title: ClassVar[str] = "tokens-per-parameter law"
    formula: ClassVar[str] = "L_dense + A (rho/(1-rho))^gamma (N0/D)^beta"
    source: ClassVar[str] = "ours, a rival to Chen et al. 2025, arXiv:2411.10272, found on the runs of studies/p2"
    columns: ClassVar[tuple[str, ...]] = ("n_params_before", "n_tokens", "pruning_rate", "loss_control")
    amplitudes: ClassVar[tuple[str, ...]] = ("A",)
    bounds: ClassVar[Mapping[str, Bound]] = {
        "A": Bound(1e-6, 1e4, start=(1e-2, 10.0), log=True, role="the excess at even odds and a token a parameter"),
        "gamma": Bound(-6.0, 6.0, start=(0.5, 2.0), off=0.0, role="exponent of what is removed against what is kept"),
        "beta": Bound(0.0, 3.0, start=(0.1, 1.0), role="exponent of the parameters per token"),
    }

    def loss(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_control: Any) -> Any:
        odds = pruning_rate / (1 - pruning_rate)
        return loss_control + self.A * power(odds, self.gamma) * power(n_params_before / n_tokens, self.beta)

    def gradient(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_control: Any) -> tuple[Any, ...]:
        odds, per_token = pruning_rate / (1 - pruning_rate), n_params_before / n_tokens
        factor = power(odds, self.gamma) * power(per_token, self.beta)
        return factor, np.log(odds) * self.A * factor, np.log(per_token) * self.A * factor
