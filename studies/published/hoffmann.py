"""Chinchilla's runs, read off the published figure: how the objective moves the constants, and the best size with them.

Points: Hoffmann et al. 2022, arXiv:2203.15556, figure 4, digitised by Besiroglu et al. 2024, arXiv:2404.10102.
"""

from functools import cache

import numpy as np

from prunescale.fitting import OBJECTIVES, Fit, Metrics, bootstrap, fit, measure
from prunescale.laws import PRESETS, Columns, HoffmannLaw
from prunescale.planner import Choice, choose_size
from prunescale.planner.optimum import best_size
from studies.published.errors import held_out
from studies.published.markdown import amounts, codes, constant, percent, signed, status, table
from studies.published.read import numbers, rows

N_DROPPED = 5  # of highest loss, as in the replication
COMPUTE = 5.76e23  # operations: Chinchilla's own training
N_REPLICATES = 1000
PRESET = "hoffmann-2022-exact"


@cache
def columns() -> Columns:
    """The 240 runs, each one point, by rising loss."""
    table = rows("hoffmann.csv")
    size, flops, loss = (numbers(table, name) for name in ("Model Size", "Training FLOP", "loss"))
    some = np.argsort(loss, kind="stable")[:-N_DROPPED]
    run = np.array([f"{index:03d}" for index in range(len(some))])
    return {"run": run, "n_params_total": size[some], "n_tokens": (flops / (6 * size))[some], "loss": loss[some]}


@cache
def fits() -> dict[str, Fit]:
    """By objective, with their spread."""
    found = {name: fit(HoffmannLaw, columns(), objective=name, phases=None) for name in OBJECTIVES}
    return {name: bootstrap(each, n=N_REPLICATES) for name, each in found.items()}


def choices() -> dict[str, Choice]:
    """The best size for Chinchilla's compute, by objective."""
    return {name: choose_size(each, COMPUTE, {}, profiled=True) for name, each in fits().items()}


def published() -> tuple[float, Metrics]:
    """The best size by the constants as Hoffmann et al. have them, and how these fit the points."""
    law = PRESETS[PRESET].law
    size = float(np.ravel(best_size(law, COMPUTE, "n_params_total", {}))[0])
    return size, measure(law, columns())


def section() -> str:
    size, metrics = published()
    chosen, law = choices(), PRESETS[PRESET].law
    head = ["objective", "E", "A", "alpha", "B", "beta", "log-Huber sum", "RMSE, nats", "status"]
    lines = [
        [
            name,
            *(constant(each, key) for key in each.law.bounds),
            f"{each.metrics.huber:.6e}",
            f"{each.metrics.rmse:.4f}",
            status(each),
        ]
        for name, each in fits().items()
    ]
    lines.append(
        [
            "as published",
            *(f"{value:.4g}" for value in law.constants().values()),
            f"{metrics.huber:.6e}",
            f"{metrics.rmse:.4f}",
            "",
        ]
    )
    best = [
        [
            name,
            amounts(each.value, each.interval),
            amounts(each.value, each.profile),
            f"{each.tokens / each.value:.1f}",
            codes(each.checks),
        ]
        for name, each in chosen.items()
    ]
    best.append(["as published", amounts(size, None), "", f"{COMPUTE / (6 * size**2):.1f}", ""])
    compute = 6 * columns()["n_params_total"] * columns()["n_tokens"]
    out = {
        "largest compute, a tenth of the runs": compute > np.quantile(compute, 0.9),
        "largest size, a tenth of the runs": columns()["n_params_total"] > np.quantile(columns()["n_params_total"], 0.9),
    }
    held = [
        [name, objective, str(error.n_points), percent(error.mean), signed(error.bias)]
        for name, mask in out.items()
        for objective in OBJECTIVES
        for _, error in [held_out(HoffmannLaw, columns(), mask, objective=objective, phases=None)]
    ]
    return f"""## Chinchilla: {len(columns()["loss"])} runs read off a figure

Hoffmann law; in brackets 90 % intervals from {N_REPLICATES} refits ({fits()["huber-log"].replicates.method}).

{table(head, lines)}

The best size for {COMPUTE:.3g} operations, and the tokens per parameter that go with it:

{table(["objective", "N*, by refits", "N*, by profile likelihood", "tokens per parameter", "checks"], best)}

Held out, errors of the loss:

{table(["held out", "objective", "points", "mean absolute error", "bias"], held, n_words=2)}
"""
