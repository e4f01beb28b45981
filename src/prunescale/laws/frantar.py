"""The loss of a model made sparse while it is pre-trained, from its non-zero parameters and its sparsity."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from prunescale.laws.law import Bound, Law
from prunescale.laws.power import power

MILLION = 1e6


@dataclass(frozen=True)
class FrantarLaw(Law):
    """L(S, N, D) = (a_S (1-S)^b_S + c_S) N^-b_N + a_D D^-b_D + c, in nats per token.

    Frantar et al. 2023, arXiv:2309.08520. S is the sparsity, N counts the parameters that are not zero, D the tokens seen. Raw
    counts come in; inside the formula both are in millions. The data term is that of the authors' code; the paper writes it
    (a_D/D)^b_D, which is the same with another a_D. At S = 0 this is Hoffmann's form with A = a_S + c_S.

    The authors count the non-zero weights of the blocks. Whatever N counts, it must count the same in every run.
    """

    a_S: float
    b_S: float
    c_S: float
    b_N: float
    a_D: float
    b_D: float
    c: float

    name: ClassVar[str] = "frantar"
    title: ClassVar[str] = "Frantar law"
    formula: ClassVar[str] = "(a_S (1-S)^b_S + c_S) N^-b_N + a_D D^-b_D + c"
    source: ClassVar[str] = "Frantar et al. 2023, arXiv:2309.08520"
    columns: ClassVar[tuple[str, ...]] = ("n_params_nonzero", "n_tokens", "sparsity")
    may_be_zero: ClassVar[tuple[str, ...]] = ("sparsity",)
    bounds: ClassVar[Mapping[str, Bound]] = {
        "a_S": Bound(1e-6, 1e6, start=(1e-1, 1e2), log=True, role="the size term's part that sparsity wins back"),
        "b_S": Bound(0.0, 5.0, start=(0.3, 2.0), role="its exponent"),
        "c_S": Bound(1e-6, 1e6, start=(1e-1, 1e2), log=True, role="the size term's part that does not depend on sparsity"),
        "b_N": Bound(0.0, 3.0, start=(0.1, 1.0), role="exponent of the non-zero parameters"),
        "a_D": Bound(1e-6, 1e6, start=(1e-1, 1e2), log=True, role="what more tokens can win"),
        "b_D": Bound(0.0, 3.0, start=(0.1, 1.0), role="its exponent"),
        "c": Bound(0.0, 20.0, start=(0.5, 3.0), role="loss of an unlimited model on unlimited data"),
    }

    def loss(self, n_params_nonzero: Any, n_tokens: Any, sparsity: Any) -> Any:
        S, N, D = sparsity, n_params_nonzero / MILLION, n_tokens / MILLION
        size = (self.a_S * power(1 - S, self.b_S) + self.c_S) * power(N, -self.b_N)
        return size + self.a_D * power(D, -self.b_D) + self.c

    def gradient(self, n_params_nonzero: Any, n_tokens: Any, sparsity: Any) -> tuple[Any, ...]:
        S, N, D = sparsity, n_params_nonzero / MILLION, n_tokens / MILLION
        size, data = power(N, -self.b_N), power(D, -self.b_D)
        sparse = power(1 - S, self.b_S) * size
        return (
            sparse,
            np.log(1 - S) * self.a_S * sparse,
            size,
            -np.log(N) * (self.a_S * sparse + self.c_S * size),
            data,
            -np.log(D) * self.a_D * data,
            1.0,
        )
