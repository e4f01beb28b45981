"""What the laws of the form E + A / N^alpha + B / D^beta share, whatever N counts."""

from typing import Any, Protocol

import numpy as np

from prunescale.laws.law import Gap


class AdditiveConstants(Protocol):
    @property
    def A(self) -> float: ...
    @property
    def alpha(self) -> float: ...
    @property
    def B(self) -> float: ...
    @property
    def beta(self) -> float: ...


def additive_gradient(law: AdditiveConstants, N: Any, D: Any) -> np.ndarray:
    """Derivatives by E, A, alpha, B, beta; (points, 5)."""
    size, data = N**-law.alpha, D**-law.beta
    columns = (np.ones(np.shape(size)), size, -np.log(N) * law.A * size, data, -np.log(D) * law.B * data)
    return np.stack(np.broadcast_arrays(*columns), axis=-1)


def additive_gaps(n_params: np.ndarray, n_tokens: np.ndarray, free: set[str]) -> tuple[Gap, ...]:
    """Each size gives one equation for (E, A, alpha), each token count one for (E, B, beta)."""
    gaps = (
        _gap(len(np.unique(n_params)), "model size", ("A", "alpha", "E"), free, "runs of other sizes"),
        _gap(len(np.unique(n_tokens)), "token count", ("B", "beta", "E"), free, "points at other token counts"),
    )
    return tuple(gap for gap in gaps if gap)


def _gap(n_values: int, noun: str, names: tuple[str, ...], free: set[str], add: str) -> Gap | None:
    unknown = [name for name in names if name in free]
    n_open = len(unknown) - n_values
    if n_open <= 0:
        return None
    words = ", ".join(unknown) if n_open == len(unknown) else f"{('one', 'two')[n_open - 1]} of {', '.join(unknown)}"
    return Gap(f"{n_values} {noun}{'' if n_values == 1 else 's'}", words, n_open, add, {})
