"""The loss of a model pre-trained on data that repeat."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from prunescale.laws.additive import AdditiveLaw
from prunescale.laws.law import Bound
from prunescale.laws.power import log_factor, per_factor

HOFFMANN = AdditiveLaw.bounds
LEAST = 1e-200  # a worth of 0 divided by
LOG_SIZES = (0.0, 100.0)  # of a best size: from one parameter to more than any model has


@dataclass(frozen=True)
class DataConstrainedLaw(AdditiveLaw):
    """L(N, D, U_D) = E + A/N'^alpha + B/D'^beta, D' = U_D + U_D R_D* (1 - exp(-R_D/R_D*)), N' likewise; in nats per token.

    Muennighoff et al. 2023, arXiv:2305.16264. D counts the tokens seen, U_D the different ones among them, at most D, and
    R_D = D/U_D - 1 the repetitions. N counts all parameters, U_N is the size that is compute-optimal for U_D different tokens, at
    most N, and R_N = N/U_N - 1 the excess. All are raw counts. U_N follows from the law's own Hoffmann constants: under a budget of
    6 N D operations the best N and D have alpha A/N^alpha = beta B/D^beta, so U_N = (alpha A U_D^beta / (beta B))^(1/alpha).
    `R_D_star` and `R_N_star` are the paper's R_D* and R_N*.

    A run that repeats nothing and is no larger than its tokens deserve obeys Hoffmann's law with the same constants. N' and D' and
    their first derivatives are continuous where repetition begins, the second ones are not.
    """

    R_D_star: float
    R_N_star: float

    name: ClassVar[str] = "data-constrained"
    title: ClassVar[str] = "data-constrained law"
    formula: ClassVar[str] = "E + A/N'^alpha + B/D'^beta"
    source: ClassVar[str] = "Muennighoff et al. 2023, arXiv:2305.16264"
    columns: ClassVar[tuple[str, ...]] = ("n_params_total", "n_tokens", "unique_tokens")
    bounds: ClassVar[Mapping[str, Bound]] = {
        **HOFFMANN,
        "alpha": Bound(0.01, 2.0, start=(0.05, 1.0), role="its exponent"),  # divided by
        "beta": Bound(0.01, 2.0, start=(0.05, 1.0), role="its exponent"),
        "R_D_star": Bound(1e-2, 1e4, start=(1.0, 50.0), log=True, role="how many repetitions of its data are worth it"),
        "R_N_star": Bound(1e-2, 1e4, start=(1.0, 50.0), log=True, role="how much excess of parameters is worth it"),
    }

    def loss(self, n_params_total: Any, n_tokens: Any, unique_tokens: Any) -> Any:
        U_D = np.minimum(unique_tokens, n_tokens)
        N = worth(n_params_total, np.exp(self._log_best_size(U_D)), self.R_N_star)
        return self.additive_loss(N, worth(n_tokens, U_D, self.R_D_star))

    def gradient(self, n_params_total: Any, n_tokens: Any, unique_tokens: Any) -> tuple[Any, ...]:
        U_D = np.minimum(unique_tokens, n_tokens)
        log_best = self._log_best_size(U_D)
        N, N_by_U, N_by_star = worth_and_slopes(n_params_total, np.exp(log_best), self.R_N_star)
        D, _, D_by_star = worth_and_slopes(n_tokens, U_D, self.R_D_star)
        by_E, by_A, by_alpha, by_B, by_beta = self.additive_gradient(N, D)
        size = self.A * by_A
        # The best size depends on A, alpha, B and beta too, unless it is held at its least.
        through = size * N_by_U * (log_best > LOG_SIZES[0])
        return (
            by_E,
            by_A - per_factor(through, self.A),
            by_alpha - through * (1 / self.alpha - log_best),
            by_B + per_factor(through, self.B),
            by_beta - through * (np.log(U_D) - 1 / self.beta),
            -self.beta * self.B * by_B * D_by_star,
            -self.alpha * size * N_by_star,
        )

    def _log_best_size(self, U_D: Any) -> Any:
        """log of (alpha A U_D^beta / (beta B))^(1/alpha)."""
        ratio = log_factor(self.A) - log_factor(self.B) + np.log(self.alpha / self.beta) + self.beta * np.log(U_D)
        return np.clip(ratio / self.alpha, *LOG_SIZES)


def worth(n: Any, unique: Any, R_star: Any) -> Any:
    """U + U R* (1 - exp(-R/R*)): what n are worth of which only so many are unique, R = n/U - 1; n where all are."""
    U = np.minimum(n, unique)
    return U - U * R_star * np.expm1((1 - n / U) / np.maximum(R_star, LEAST))


def worth_and_slopes(n: Any, unique: Any, R_star: Any) -> tuple[Any, Any, Any]:
    """The same, and the derivatives of its logarithm by log U and by R*."""
    U = np.minimum(n, unique)
    R = n / U - 1
    repeated = R / np.maximum(R_star, LEAST)
    gone = np.exp(-repeated)
    times = 1 + R_star * (1 - gone)
    return U * times, 1 - gone * (1 + R) / times, (1 - gone - repeated * gone) / times
