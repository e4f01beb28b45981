"""Sweeps that might have been run: designs, true constants and noise drawn at random, wide enough to be unkind to a fit."""

from dataclasses import dataclass, field

import numpy as np

from prunescale.laws import AverageParameterLaw, FrantarLaw, HoffmannLaw, Law, P2Law

NOISE = (0.0, 0.001, 0.003, 0.01, 0.02)  # standard deviation, relative to the loss


@dataclass(frozen=True)
class Sweep:
    """A table as `fit` wants it, the law that it was drawn from, and in words how."""

    truth: Law
    columns: dict[str, np.ndarray]
    design: str
    fixed: dict[str, float] = field(default_factory=dict)


def draw(seed: int) -> Sweep:
    """The sweep of this number; 20 in turn hold 7 of the Hoffmann law, 7 of P2, 4 of the Frantar and 2 of the average-parameter law."""
    rng = np.random.default_rng([2026, seed])
    return ([_hoffmann] * 7 + [_p2] * 7 + [_frantar] * 4 + [_average] * 2)[seed % 20](rng)


def _hoffmann(rng: np.random.Generator) -> Sweep:
    N, D, words = _sizes_and_tokens(rng)
    return _measured(rng, HoffmannLaw(**_additive(rng, N, D)), {"n_params_total": N, "n_tokens": D}, np.arange(len(N)), words)


def _average(rng: np.random.Generator) -> Sweep:
    N, D, words = _sizes_and_tokens(rng)
    N = N * rng.uniform(0.3, 1.0, len(N))  # pruned on the way
    law = AverageParameterLaw(**_additive(rng, N, D))
    return _measured(rng, law, {"n_params_average": N, "n_tokens": D}, np.arange(len(N)), words)


def _sizes_and_tokens(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, str]:
    """One of three designs: a grid, curves of equal compute, or sizes and tokens at random."""
    low, high = 10 ** rng.uniform(6, 8), 10 ** rng.uniform(9, 10.5)
    kind = rng.choice(["grid", "isoflop", "random"])
    if kind == "grid":
        N, ratio = _grid(np.geomspace(low, high, rng.integers(3, 9)), np.geomspace(2, 200, rng.integers(4, 9)))
        D = N * ratio if rng.random() < 0.5 else ratio * np.sqrt(low * high)
    elif kind == "isoflop":
        C, ratio = _grid(np.geomspace(120 * low**2, 120 * high**2, rng.integers(4, 9)), np.geomspace(0.2, 5, rng.integers(5, 12)))
        N = np.sqrt(C / 120) * ratio
        D = C / (6 * N)
    else:
        n = int(rng.integers(30, 250))
        N, D = np.exp(rng.uniform(np.log(low), np.log(high), n)), 10 ** rng.uniform(8.5, 11.5, n)
    return N, D, f"{kind}, {len(N)} points, sizes {low:.1g} to {high:.1g}"


def _grid(*axes: np.ndarray) -> list[np.ndarray]:
    return [each.ravel() for each in np.meshgrid(*axes, indexing="ij")]


def _additive(rng: np.random.Generator, N: np.ndarray, D: np.ndarray) -> dict[str, float]:
    """Constants whose terms are 0.03 to 2 nats in the middle of the sweep."""
    alpha, beta = rng.uniform(0.1, 0.8, 2)
    size, data = np.exp(rng.uniform(np.log(0.03), np.log(2.0), 2))
    A, B = size * np.exp(alpha * np.mean(np.log(N))), data * np.exp(beta * np.mean(np.log(D)))
    return {"E": rng.uniform(0.5, 2.5), "A": A, "alpha": alpha, "B": B, "beta": beta}


def _p2(rng: np.random.Generator) -> Sweep:
    n_sizes, n_rates, n_tokens = int(rng.integers(2, 7)), int(rng.integers(2, 6)), int(rng.integers(5, 40))
    low = 10 ** rng.uniform(5.5, 9)
    sizes, rates = np.geomspace(low, low * rng.uniform(8, 200), n_sizes), np.linspace(0.1, rng.uniform(0.3, 0.8), n_rates)
    tokens = np.geomspace(low, low * 10 ** rng.uniform(1, 2.5), n_tokens)
    N, rate, D = _grid(sizes, rates, tokens)
    middle_N, middle_D, middle_rate = (np.mean(np.log(column)) for column in (N / 1e6, D / 1e6, rate))
    few = n_sizes < 4
    gamma, delta, alpha, beta = rng.uniform((-3, -0.3, 0.1, 0.15), (0, 0.4, 1.5, 1.0))
    parts = np.exp(rng.uniform(np.log(0.02), np.log(1.0), 3))  # nats in the middle: floor by size, recoverable, common floor
    common = np.exp(gamma * middle_rate + delta * middle_N)
    law = P2Law(
        gamma=gamma,
        delta=delta,
        N_C=parts[0] * common * np.exp(alpha * middle_N),
        alpha=alpha,
        D_C=parts[1] * common * np.exp(beta * middle_D),
        beta=beta,
        E=0.0 if few else parts[2] * common,
    )
    columns = {"n_params_before": N, "n_tokens": D, "pruning_rate": rate, "loss_before": 1.5 + 2 * (N / low) ** -0.1}
    words = f"{n_sizes} sizes from {low:.1g}, {n_rates} rates, {n_tokens} token counts" + (", E fixed at 0" if few else "")
    runs = np.repeat(np.arange(n_sizes * n_rates), n_tokens)
    return _measured(rng, law, columns, runs, words, {"E": 0.0} if few else {})


def _frantar(rng: np.random.Generator) -> Sweep:
    sparsities = np.array([0.0, 0.5, 0.75, 0.875, 0.9375])[: rng.integers(3, 6)]
    low = 10 ** rng.uniform(6, 8)
    sizes = np.geomspace(low, low * rng.uniform(10, 300), rng.integers(3, 7))
    S, N, D = _grid(sparsities, sizes, np.geomspace(1e9, 10 ** rng.uniform(10, 11), rng.integers(3, 6)))
    b_S, b_N, b_D = rng.uniform((0.3, 0.1, 0.1), (2.0, 0.8, 0.8))
    sparse, dense, data = np.exp(rng.uniform(np.log(0.05), np.log(1.5), 3))
    scale = np.exp(b_N * np.mean(np.log(N / 1e6)))
    a_D = data * np.exp(b_D * np.mean(np.log(D / 1e6)))
    law = FrantarLaw(a_S=sparse * scale, b_S=b_S, c_S=dense * scale, b_N=b_N, a_D=a_D, b_D=b_D, c=rng.uniform(0.5, 2))
    columns = {"n_params_nonzero": N, "n_tokens": D, "sparsity": S}
    words = f"{len(sparsities)} sparsities, {len(sizes)} sizes, {len(N)} points"
    return _measured(rng, law, columns, np.arange(len(N)), words)


def _measured(
    rng: np.random.Generator, law: Law, columns: dict[str, np.ndarray], run: np.ndarray, words: str, fixed: dict | None = None
) -> Sweep:
    """With the loss of each row: half of the noise common to a run, and in every third sweep one point in twenty ten times as far off."""
    noise, n = float(rng.choice(NOISE)), len(run)
    n_runs = int(run.max()) + 1
    error = np.sqrt(0.5) * (rng.standard_normal(n) + rng.standard_normal(n_runs)[run])
    wild = rng.random() < 1 / 3
    if wild:
        error = error * np.where(rng.random(n) < 0.05, 10.0, 1.0)
    kept = rng.random(n) < (0.8 if n > 60 else 1.0)  # runs of unequal length
    table = columns | {"run": run.astype(str), "loss": law.predict(columns) * np.exp(noise * error)}
    table |= {"phase": np.full(n, "constant")}
    table = {name: column[kept] for name, column in table.items()}
    return Sweep(law, table, f"{words}, noise {100 * noise:g} %" + (", outliers" if wild else ""), fixed or {})


LARGE = P2Law(gamma=-1.6, delta=0.1, N_C=0.5, alpha=0.3, D_C=2.5, beta=0.45, E=0.12)


def large_p2() -> Sweep:
    """10,000 points: 200 runs of 50, runs apart by 0.002 nats and points by as much."""
    rng = np.random.default_rng(0)
    N, rate, D = _grid(np.geomspace(1e8, 8e9, 20), np.linspace(0.1, 0.55, 10), np.geomspace(1e8, 5e9, 50))
    run = np.repeat(np.arange(200), 50)
    columns = {"n_params_before": N, "n_tokens": D, "pruning_rate": rate, "loss_before": 3.5 - 0.1 * np.log(N / 1e6)}
    loss = LARGE.predict(columns) + 0.002 * (rng.standard_normal(200)[run] + rng.standard_normal(len(run)))
    table = columns | {"run": run.astype(str), "loss": loss, "phase": np.full(len(run), "constant")}
    return Sweep(LARGE, table, "20 sizes, 10 rates, 50 token counts")
