"""Other ways to fit the Hoffmann law to its 240 points, each measured in a process of its own, by a Python that has the peers.

    python benchmarks/peers.py METHOD

Prints one line of JSON. Without prunescale, so that it runs in a virtual environment of its own: see fit_speed.py.
"""

import contextlib
import itertools
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hoffmann
import numpy as np

DELTA = 1e-3  # Huber's, of log loss
N_REPEATS = 5
N_REFITS = 1000

N, D, LOSS = (np.array(column) for column in hoffmann.read())
LOG_N, LOG_D, LOG_LOSS = np.log(N), np.log(D), np.log(LOSS)


def objective(E: float, A: float, alpha: float, B: float, beta: float) -> float:
    """The sum over points of Huber's loss of the log loss, by which all methods are compared."""
    r = np.abs(np.log(E + A * N**-alpha + B * D**-beta) - LOG_LOSS)
    return float(np.sum(np.where(r <= DELTA, r**2 / 2, DELTA * (r - DELTA / 2))))


# x is log A, log B, log E, alpha, beta, and the predicted log loss the log of a sum of exponentials, as Hoffmann et al. have it.


def constants(x: np.ndarray) -> dict[str, float]:
    log_A, log_B, log_E, alpha, beta = (float(each) for each in x)
    return {"E": np.exp(log_E), "A": np.exp(log_A), "alpha": alpha, "B": np.exp(log_B), "beta": beta}


def terms(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The predicted log loss, and the share of each of the three terms in the loss."""
    exponent = np.stack([x[0] - x[3] * LOG_N, x[1] - x[4] * LOG_D, np.full_like(LOG_N, x[2])])
    top = exponent.max(axis=0)
    part = np.exp(exponent - top)
    total = part.sum(axis=0)
    return top + np.log(total), part / total


def value(x: np.ndarray) -> float:
    r = np.abs(terms(x)[0] - LOG_LOSS)
    return float(np.sum(np.where(r <= DELTA, r**2 / 2, DELTA * (r - DELTA / 2))))


def value_and_slope(x: np.ndarray, weight: np.ndarray | float = 1.0) -> tuple[float, np.ndarray]:
    predicted, share = terms(x)
    r = predicted - LOG_LOSS
    size, pull = np.abs(r), weight * np.clip(r, -DELTA, DELTA)
    a, b = pull * share[0], pull * share[1]
    slope = np.array([a.sum(), b.sum(), (pull * share[2]).sum(), -(a @ LOG_N), -(b @ LOG_D)])
    return float(np.sum(weight * np.where(size <= DELTA, r**2 / 2, DELTA * (size - DELTA / 2)))), slope


def hoffmanns_grid() -> np.ndarray:
    """4500 starts: Hoffmann et al. 2022, appendix D."""
    log_A = log_B = np.arange(0, 30, 5)
    exponents = np.arange(0, 2.5, 0.5)
    log_E = np.arange(-1, 1.5, 0.5)
    return np.array(list(itertools.product(log_A, log_B, log_E, exponents, exponents)), dtype=float)


def lbfgs(function: Callable, jac: bool | None, **options: Any) -> dict[str, Any]:
    """SciPy's L-BFGS-B from each start of the grid."""
    from scipy.optimize import minimize

    grid = hoffmanns_grid()[:: int(sys.argv[2]) if len(sys.argv) > 2 else 1]
    begin = time.perf_counter()
    with np.errstate(all="ignore"):
        ends = [minimize(function, x, jac=jac, method="L-BFGS-B", options=options).x for x in grid]
        seconds = time.perf_counter() - begin
        values = np.array([value(x) for x in ends])
    best = np.nanargmin(values)
    return {"seconds": [seconds], "starts": len(grid), "constants": constants(ends[best]), "ends": values.tolist()}


def variable_projection() -> dict[str, Any]:
    """A grid of exponents, each with its best E, A, B >= 0 by squared error; Nelder and Mead from the best; then Huber's objective once."""
    from scipy.optimize import minimize, nnls

    centred_N, centred_D = LOG_N - LOG_N.mean(), LOG_D - LOG_D.mean()

    def projected(exponents: Any) -> tuple[float, np.ndarray]:
        basis = np.stack([np.ones_like(LOSS), np.exp(-exponents[0] * centred_N), np.exp(-exponents[1] * centred_D)], axis=1)
        factors, left = nnls(basis, LOSS)
        return left**2, factors

    def polished(x: np.ndarray, weight: np.ndarray | float, **options: float) -> np.ndarray:
        return minimize(value_and_slope, x, args=(weight,), jac=True, method="L-BFGS-B", options=options).x

    def once() -> np.ndarray:
        ticks = np.linspace(0.05, 0.95, 32)
        start = min(((projected(pair)[0], pair) for pair in itertools.product(ticks, ticks)), key=lambda found: found[0])[1]
        options = {"xatol": 1e-8, "fatol": 1e-14}
        exponents = minimize(lambda pair: projected(pair)[0], start, method="Nelder-Mead", options=options).x
        E, A, B = projected(exponents)[1]
        x = np.array([np.log(A) + exponents[0] * LOG_N.mean(), np.log(B) + exponents[1] * LOG_D.mean(), np.log(E), *exponents])
        return polished(x, 1.0, maxiter=5000, ftol=1e-16, gtol=1e-13)

    seconds, x = repeated(once)
    begin = time.perf_counter()
    rng = np.random.default_rng(0)
    for _ in range(N_REFITS):
        times = rng.multinomial(len(LOSS), np.full(len(LOSS), 1 / len(LOSS))).astype(float)
        polished(x, times, maxiter=500, ftol=1e-12, gtol=1e-10)
    refits = time.perf_counter() - begin
    return {"seconds": seconds, "starts": 1, "constants": constants(x), "refits": [refits]}


def chinchilla(loss_fn: Callable | None) -> dict[str, Any]:
    """The package of that name, from the grid of 5^5 starts of its README, in as many processes as there are cores."""
    import pandas as pd
    from chinchilla import Chinchilla

    n = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    exponents, logs = np.linspace(0.1, 0.7, n), np.linspace(1, 10, n)
    grid = {"E": np.linspace(1, 2, n), "a": logs, "b": logs, "alpha": exponents, "beta": exponents}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        pd.DataFrame({"C": 6 * N * D, "N": N, "D": D, "loss": LOSS}).to_csv(Path(folder) / "df.csv", index=False)
        model = Chinchilla(folder, param_grid=grid, log_level=40, **({"loss_fn": loss_fn} if loss_fn else {}))
        begin = time.perf_counter()
        model.fit()
        seconds = time.perf_counter() - begin
    return {"seconds": [seconds], "starts": n**5, "constants": model.params}


def chinchilla_huber() -> dict[str, Any]:
    from chinchilla._metrics import log_huber

    return chinchilla(partial(log_huber, delta=DELTA))


def simple_scaling_laws() -> dict[str, Any]:
    """The package of that name, with the one bootstrap draw that it needs at least, and with 1000."""
    import polars as pl
    from simple_scaling_laws import fit

    runs = {"training_run_id": [str(i) for i in range(len(N))], "model_size__n_params": N, "dataset_size__n_tokens": D}
    table = pl.DataFrame({**runs, "test_loss__ce": LOSS})
    seconds, model = repeated(lambda: fit(table, law="separable-power", n_draws=1, seed=0))
    few, _ = repeated(lambda: fit(table, law="separable-power", n_draws=200, seed=0), 3)
    many, _ = repeated(lambda: fit(table, law="separable-power", n_draws=N_REFITS, seed=0), 3)
    found = model.params(model.targets[0])
    scale = {name: domain["reference"] for name, domain in model.observed_domain.items()}  # its A is that of N / reference
    found["A"] *= scale["model_size__n_params"] ** found["alpha"]
    found["B"] *= scale["dataset_size__n_tokens"] ** found["beta"]
    return {"seconds": seconds, "starts": 1, "constants": found, "refits": many, "refits_200": few}


def repeated(once: Callable[[], Any], n: int = N_REPEATS) -> tuple[list[float], Any]:
    """Seconds of each of n calls after a first one, and what it gives."""
    result, seconds = once(), []
    for _ in range(n):
        begin = time.perf_counter()
        once()
        seconds.append(time.perf_counter() - begin)
    return seconds, result


METHODS: dict[str, Callable[[], dict[str, Any]]] = {
    "scipy-numeric": lambda: lbfgs(value, None),
    "scipy-analytic": lambda: lbfgs(value_and_slope, True),
    "scipy-tight": lambda: lbfgs(value_and_slope, True, ftol=1e-15, gtol=1e-12, maxiter=2000),
    "variable-projection": variable_projection,
    "chinchilla": lambda: chinchilla(None),
    "chinchilla-huber": chinchilla_huber,
    "simple-scaling-laws": simple_scaling_laws,
}


def main() -> None:
    found = METHODS[sys.argv[1]]()
    found["objective"] = objective(**found["constants"])
    found["peak_MB"] = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    print(json.dumps(found))


if __name__ == "__main__":
    main()
