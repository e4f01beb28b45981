"""What prunescale's own fits take, measured in a process of its own: see fit_speed.py.

    python benchmarks/ours.py hoffmann|p2 OBJECTIVE REPEATS

Prints one line of JSON.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import hoffmann
import numpy as np
from simulated import large_p2

from prunescale.fitting import bootstrap, fit, measure
from prunescale.fitting.problem import Problem
from prunescale.laws import HoffmannLaw, P2Law

N_REFITS = 1000


def hoffmann_table() -> dict[str, np.ndarray]:
    """Each point a run of its own."""
    N, D, loss = (np.array(column) for column in hoffmann.read())
    names = {"run": np.arange(len(N)).astype(str), "phase": np.full(len(N), "constant")}
    return {"n_params_total": N, "n_tokens": D, "loss": loss, **names}


def p2_table() -> dict[str, np.ndarray]:
    return large_p2().columns


TABLES = {"hoffmann": (HoffmannLaw, hoffmann_table), "p2": (P2Law, p2_table)}


def timed(once: Callable[[], Any], n: int) -> list[float]:
    seconds = []
    for _ in range(n):
        begin = time.perf_counter()
        once()
        seconds.append(time.perf_counter() - begin)
    return seconds


def evaluations(once: Callable[[], Any]) -> int:
    """Points times candidates at which the law and its derivatives are evaluated."""
    counted, local = [0], Problem.local

    def counting(self: Problem, coordinates: np.ndarray, *rest: Any, **named: Any) -> Any:
        counted[0] += len(coordinates) * len(self.points.loss)
        return local(self, coordinates, *rest, **named)

    Problem.local = counting  # type: ignore[method-assign]
    try:
        once()
    finally:
        Problem.local = local  # type: ignore[method-assign]
    return counted[0]


def rates() -> dict[str, float]:
    """Seconds of one exponential, in a core's cache, and of one multiplication with addition, in a large product; of all cores together."""
    x, out = np.linspace(-20, 1, 1 << 14), np.empty(1 << 14)
    exponential = min(timed(lambda: np.exp(x, out=out), 300)) / len(x)
    a = np.random.default_rng(0).standard_normal((1024, 1024))
    return {"exp": exponential, "fma": min(timed(lambda: a @ a, 10)) / 1024**3}


def main() -> None:
    case, objective, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    law, read = TABLES[case]
    table = read()
    at_start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    first = timed(lambda: fit(law, table, objective=objective), 1)[0]
    seconds = timed(lambda: fit(law, table, objective=objective), n if case == "p2" else 4 * n)
    found = fit(law, table, objective=objective)
    refits = timed(lambda: bootstrap(found, n=N_REFITS), n)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {
        "first": first,
        "seconds": seconds,
        "refits": refits,
        "share": found.share_of_starts,
        "status": found.status.name,
        "constants": found.law.constants(),
        "objective": measure(found.law, table).huber,
        "start_MB": at_start,
        "peak_MB": peak,
        "n_constants": len(law.bounds),
        "evaluations": evaluations(lambda: fit(law, table, objective=objective)),
        "refit_evaluations": evaluations(lambda: bootstrap(found, n=N_REFITS)),
        "rates": rates(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
