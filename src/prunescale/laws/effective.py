"""The loss of a model compressed while it is pre-trained, from the number of parameters that it is worth."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from prunescale.laws.additive import AdditiveLaw
from prunescale.laws.law import Bound, Law
from prunescale.laws.power import power

HOFFMANN = AdditiveLaw.bounds


@dataclass(frozen=True)
class EffectiveParameterLaw(Law):
    """L(N_dense, D, S) = a/(N_dense (1-S)^kappa)^b + c/D^d + e, in nats per token.

    Frantar et al. 2025, arXiv:2502.16440, known to us from its abstract and a summary: a compressed model is worth a dense one of
    N eff parameters, in a/(N eff)^b + c/D^d + e. The paper has a number eff for each kind of compression, such as one for half the
    weights pruned. Our reading makes it a function of the sparsity S, eff = (1-S)^kappa, so that one constant serves all
    sparsities: with kappa = 0 what was pruned still counts in full, with kappa = 1 only what is left does.

    N_dense counts the weights of the linear layers, pruned or not, D the tokens seen; both are raw counts.
    """

    a: float
    b: float
    kappa: float
    c: float
    d: float
    e: float

    name: ClassVar[str] = "effective-parameter"
    title: ClassVar[str] = "effective-parameter law"
    formula: ClassVar[str] = "a/(N_dense (1-S)^kappa)^b + c/D^d + e"
    source: ClassVar[str] = "Frantar et al. 2025, arXiv:2502.16440; eff = (1-S)^kappa is our reading"
    columns: ClassVar[tuple[str, ...]] = ("n_params_linear", "n_tokens", "sparsity")
    may_be_zero: ClassVar[tuple[str, ...]] = ("sparsity",)
    bounds: ClassVar[Mapping[str, Bound]] = {
        "a": HOFFMANN["A"],
        "b": HOFFMANN["alpha"],
        "kappa": Bound(0.0, 5.0, start=(0.1, 1.5), off=0.0, role="how much of its worth pruning takes away"),
        "c": HOFFMANN["B"],
        "d": HOFFMANN["beta"],
        "e": HOFFMANN["E"],
    }

    def loss(self, n_params_linear: Any, n_tokens: Any, sparsity: Any) -> Any:
        log_worth = np.log(n_params_linear) + self.kappa * np.log(1 - sparsity)
        return self.a * np.exp(-self.b * log_worth) + self.c * power(n_tokens, -self.d) + self.e

    def gradient(self, n_params_linear: Any, n_tokens: Any, sparsity: Any) -> tuple[Any, ...]:
        log_worth = np.log(n_params_linear) + self.kappa * np.log(1 - sparsity)
        size, data = np.exp(-self.b * log_worth), power(n_tokens, -self.d)
        return (
            size,
            -log_worth * self.a * size,
            -np.log(1 - sparsity) * self.b * self.a * size,
            data,
            -np.log(n_tokens) * self.c * data,
            1.0,
        )
