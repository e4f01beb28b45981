"""The loss of a pruned model while it is trained further."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from prunescale.laws.law import Bound, Columns, Gap, Law

MILLION = 1e6


@dataclass(frozen=True)
class P2Law(Law):
    """L = L0 + (1/rho)^gamma (1/N0)^delta (N_C / N0^alpha + D_C / D^beta + E), in nats per token.

    Chen et al. 2025, arXiv:2411.10272 v3, known to us from secondary sources; no published constants are available to us.
    L0 is the loss before pruning, rho the pruning rate, N0 the parameters outside embeddings and head before pruning, D the
    tokens trained on since. Raw counts come in; inside the formula N0 is in millions of parameters and D in millions of tokens.
    A loss that rises with the rate needs gamma < 0. The form diverges as D goes to 0, where the real loss does not.
    """

    gamma: float
    delta: float
    N_C: float
    alpha: float
    D_C: float
    beta: float
    E: float

    name: ClassVar[str] = "p2"
    title: ClassVar[str] = "P2 law"
    formula: ClassVar[str] = "L0 + (1/rho)^gamma (1/N0)^delta (N_C/N0^alpha + D_C/D^beta + E)"
    source: ClassVar[str] = "Chen et al. 2025, arXiv:2411.10272 v3"
    columns: ClassVar[tuple[str, ...]] = ("n_params_before", "n_tokens", "pruning_rate", "loss_before")
    bounds: ClassVar[Mapping[str, Bound]] = {
        "gamma": Bound(-6.0, 6.0, start=(-3.0, 0.5)),
        "delta": Bound(-3.0, 3.0, start=(-0.5, 1.0)),
        "N_C": Bound(1e-8, 1e8, start=(1e-3, 1e2), log=True),
        "alpha": Bound(0.0, 6.0, start=(0.05, 2.0)),
        "D_C": Bound(1e-8, 1e8, start=(1e-2, 1e2), log=True),
        "beta": Bound(0.0, 3.0, start=(0.1, 1.0)),
        "E": Bound(0.0, 100.0, start=(0.0, 2.0)),
    }

    def loss(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_before: Any) -> Any:
        N0, D = n_params_before / MILLION, n_tokens / MILLION
        bracket = self.N_C * N0**-self.alpha + self.D_C * D**-self.beta + self.E
        return loss_before + pruning_rate**-self.gamma * N0**-self.delta * bracket

    def gradient(self, n_params_before: Any, n_tokens: Any, pruning_rate: Any, loss_before: Any) -> np.ndarray:
        N0, D = n_params_before / MILLION, n_tokens / MILLION
        scale = pruning_rate**-self.gamma * N0**-self.delta
        floor, decay = N0**-self.alpha, D**-self.beta
        excess = scale * (self.N_C * floor + self.D_C * decay + self.E)
        columns = (
            -np.log(pruning_rate) * excess,
            -np.log(N0) * excess,
            scale * floor,
            -np.log(N0) * scale * self.N_C * floor,
            scale * decay,
            -np.log(D) * scale * self.D_C * decay,
            scale,
        )
        return np.stack(np.broadcast_arrays(*columns), axis=-1)

    @classmethod
    def unidentified(cls, columns: Columns, fixed: Mapping[str, float]) -> tuple[Gap, ...]:
        """Each size gives one equation for (D_C, delta) and one for the floor (N_C, alpha, E); each rate one for gamma."""
        free = set(cls.bounds) - set(fixed)
        gaps = (_size_gap(columns, free), _rate_gap(columns, free), _token_gap(columns, free))
        found = tuple(gap for gap in gaps if gap)
        confounded = None if found else _confounding_gap(columns, free)
        return (confounded,) if confounded else found


def _size_gap(columns: Columns, free: set[str]) -> Gap | None:
    n_sizes = len(np.unique(columns["n_params_before"]))
    amplitude = {"D_C", "delta"} & free
    floor = [name for name in ("N_C", "alpha", "E") if name in free]
    n_open = max(0, len(floor) - n_sizes)
    words = ["delta"] if len(amplitude) > n_sizes else []
    fix = dict.fromkeys(words, 0.0) | {name: 0.0 for name in ("alpha", "E", "N_C") if name in floor[len(floor) - n_open :]}
    if n_open:
        words.append(f"{('one', 'two')[n_open - 1]} of {', '.join(floor)}")
    return Gap(_count(n_sizes, "model size"), " and ".join(words), len(fix), "runs of another size", fix) if words else None


def _rate_gap(columns: Columns, free: set[str]) -> Gap | None:
    n_rates = len(np.unique(columns["pruning_rate"]))
    if n_rates > 1 or "gamma" not in free:
        return None
    return Gap(_count(n_rates, "pruning rate"), "gamma", 1, "runs at another rate", {"gamma": 0.0})


def _token_gap(columns: Columns, free: set[str]) -> Gap | None:
    cells = np.stack([columns["n_params_before"], columns["pruning_rate"], columns["n_tokens"]])
    _, n_counts = np.unique(np.unique(cells, axis=1)[:2], axis=1, return_counts=True)
    needed = len({"beta", "D_C"} & free) + bool({"N_C", "alpha", "E"} & free)
    if n_counts.max(initial=0) >= needed:
        return None
    got = f"{_count(n_counts.max(initial=0), 'token count')} at each size and rate"
    return Gap(got, "beta, D_C and the floor", 3, f"points until one curve has {needed} token counts", {})


def _confounding_gap(columns: Columns, free: set[str]) -> Gap | None:
    """The curves' heights are D_C rho^-gamma N0^-delta: linear in the constants once the logarithm is taken."""
    cells = np.unique(np.stack([columns["n_params_before"], columns["pruning_rate"]]), axis=1)
    terms = {"delta": np.log(cells[0] / MILLION), "gamma": np.log(cells[1]), "D_C": np.ones(cells.shape[1])}
    design = np.stack([terms[name] for name in terms if name in free] or [np.ones(1)], axis=1)
    if {"gamma", "delta"} - free or np.linalg.matrix_rank(design) == design.shape[1]:
        return None
    return Gap("pruning rates that go with the size", "gamma and delta", 2, "a second rate at one of the sizes", {"delta": 0.0})


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")
