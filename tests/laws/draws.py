"""Constants and points for tests that hold of every law."""

import numpy as np


def points(law, n=20, seed=3):
    """Columns as runs have them, among them some zeros where the law allows them."""
    rng = np.random.default_rng(seed)
    drawn = {}
    for name in law.columns:
        if name.startswith("loss"):
            drawn[name] = rng.uniform(2, 4, n)
        elif name in ("pruning_rate", "sparsity"):
            drawn[name] = rng.uniform(0.05, 0.9, n)
        else:
            drawn[name] = 10 ** rng.uniform(6, 10, n)
        if name in law.may_be_zero:
            drawn[name][: n // 4] = 0.0
    return drawn


def constants(law, n, seed=5):
    """n times the constants, each (n, 1), from where searches start."""
    rng = np.random.default_rng(seed)
    drawn = {}
    for name, bound in law.bounds.items():
        low, high = np.log(bound.start) if bound.log else bound.start
        values = rng.uniform(low, high, (n, 1))
        drawn[name] = np.exp(values) if bound.log else values
    return drawn


def one(candidates, i):
    """The i-th of them, as numbers."""
    return {name: float(values[i, 0]) for name, values in candidates.items()}
