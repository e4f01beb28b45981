"""Sweeps drawn from a law: the truths that a fit must find again."""

import numpy as np

from prunescale.laws import HoffmannLaw, P2Law

P2 = P2Law(gamma=-1.6, delta=0.1, N_C=0.3, alpha=0.6, D_C=2.5, beta=0.45, E=0.15)
HOFFMANN = HoffmannLaw(E=1.8, A=480.0, alpha=0.35, B=2100.0, beta=0.37)
SIZES = (4e5, 1e6, 2.5e6, 1e7)
RATES = (0.125, 0.25, 0.375, 0.5)
TOKENS = np.geomspace(1e6, 6e7, 10)


def p2_sweep(law=P2, sizes=SIZES, rates=RATES, tokens=TOKENS, noise=0.0, seed=0):
    """A run for each size and rate; noise is the standard deviation in nats."""
    size, rate, token = (a.ravel() for a in np.meshgrid(sizes, rates, tokens, indexing="ij"))
    columns = {"n_params_before": size, "pruning_rate": rate, "n_tokens": token, "loss_before": 3.5 - 0.1 * np.log(size / 1e6)}
    return finished(law, columns, [f"{n:.0f}-{r}" for n, r in zip(size, rate, strict=True)], noise, seed)


def hoffmann_sweep(law=HOFFMANN, noise=0.0, seed=0):
    size, token = (a.ravel() for a in np.meshgrid([1e7, 3e7, 1e8, 3e8], np.geomspace(1e9, 1e11, 6), indexing="ij"))
    return finished(law, {"n_params_total": size, "n_tokens": token}, [f"{n:.0f}" for n in size], noise, seed)


def finished(law, columns, runs, noise, seed):
    loss = law.predict(columns) + noise * np.random.default_rng(seed).standard_normal(len(runs))
    return columns | {"run": np.array(runs), "loss": loss, "phase": np.full(len(runs), "constant")}


def rows(columns, keep):
    return {name: column[keep] for name, column in columns.items()}
