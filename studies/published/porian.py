"""Runs at equal compute, in 15 sweeps that differ in how they were trained: is the best size in the law, or in the runs?

Porian et al. 2024, arXiv:2406.19146, who resolve with them why Kaplan's and Hoffmann's exponents of the best size differ.
"""

from functools import cache

import numpy as np

from prunescale.fitting import Fit, bootstrap, fit
from prunescale.laws import Columns, HoffmannLaw, Law
from studies.published.errors import Errors, errors, held_out
from studies.published.markdown import answer, codes, percent, signed, status, table
from studies.published.read import keep, numbers, rows

OBJECTIVE = "squared-log"
N_REPLICATES = 300
NEAR = 1.1  # times the least loss at the same compute: runs within are "near"
SWEEP = ("dataset", "hparams", "warmup", "decay", "param_count", "val")
SETS = {"rw": "RefinedWeb", "owt2": "OpenWebText2"}

Sweep = tuple[str, ...]


@cache
def sweeps() -> tuple[Sweep, ...]:
    return tuple(dict.fromkeys(tuple(row[name] for name in SWEEP) for row in rows("porian-runs.csv.gz")))


def in_words(sweep: Sweep) -> str:
    data, hparams, warmup, decay, count, val = sweep
    return f"{SETS[data]}, {hparams}, {warmup} warm-up, {decay} decay, {count} count, {val} loss"


@cache
def columns(sweep: Sweep) -> Columns:
    """A sweep's runs, each one point, N as that sweep counts it."""
    some = [row for row in rows("porian-runs.csv.gz") if tuple(row[name] for name in SWEEP) == sweep]
    size, compute = numbers(some, "n"), numbers(some, "flops")
    return {
        "run": np.array([f"{n:.0f} at {c:.3g}" for n, c in zip(size, compute, strict=True)]),
        "n_params_total": size,
        "n_tokens": numbers(some, "tokens"),
        "compute": compute,
        "loss": numbers(some, "loss"),
    }


def near(table: Columns) -> np.ndarray:
    """Runs whose loss is within a tenth of the least at their compute."""
    least = {c: np.min(table["loss"][table["compute"] == c]) for c in np.unique(table["compute"])}
    return table["loss"] <= NEAR * np.array([least[c] for c in table["compute"]])


def exponent(law: Law) -> np.ndarray:
    """a in N* ~ C^a: beta / (alpha + beta), Hoffmann et al. 2022, eq. 4."""
    return np.asarray(law.beta / (law.alpha + law.beta))  # type: ignore[attr-defined]


def exponent_of_pairs(sweep: Sweep) -> float:
    """The slope of the authors' own best sizes, each found among the runs of one compute, by log compute."""
    some = [row for row in rows("porian-optima.csv") if tuple(row[name] for name in SWEEP) == sweep]
    size, compute = numbers(some, "n"), numbers(some, "flops")
    known = np.isfinite(size)
    return float(np.polyfit(np.log(compute[known]), np.log(size[known]), 1)[0])


@cache
def fits(sweep: Sweep) -> dict[str, Fit]:
    """To all runs, and to the near ones."""
    table = columns(sweep)
    some = {"all": np.ones(len(table["loss"]), dtype=bool), "near": near(table)}
    found = {name: fit(HoffmannLaw, keep(table, mask), objective=OBJECTIVE, phases=None) for name, mask in some.items()}
    return {name: bootstrap(each, n=N_REPLICATES) for name, each in found.items()}


def beyond(sweep: Sweep) -> dict[str, Errors]:
    """Errors on the near runs of the fifth of highest compute, after a fit to all the others, or to the near ones among them."""
    table = columns(sweep)
    top = table["compute"] > np.quantile(np.unique(table["compute"]), 0.8)
    close = near(table)
    asked = {"objective": OBJECTIVE, "phases": None}
    some = {"all": ~top | close, "near": close}
    return {name: held_out(HoffmannLaw, keep(table, mask), top[mask], **asked)[1] for name, mask in some.items()}


def section() -> str:
    lines = []
    for sweep in sweeps():
        found, far = fits(sweep), beyond(sweep)
        lines.append(
            [
                in_words(sweep),
                f"{exponent_of_pairs(sweep):.3f}",
                *(answer(each, exponent) for each in found.values()),
                *(percent(errors(each.law, each.points.columns).rms) for each in found.values()),
                *(f"{percent(each.mean)} ({signed(each.bias, 1)})" for each in far.values()),
                "; ".join(f"{name}: {status(each)}, {codes(each.checks)}" for name, each in found.items() if each.checks)
                or "none",
            ]
        )
    head = ["sweep", "a of the pairs", "a, all", "a, near", "RMSE, all", "RMSE, near", "beyond, all", "beyond, near", "checks"]
    return f"""## Equal compute: {len(rows("porian-runs.csv.gz"))} runs in {len(sweeps())} sweeps

a is the exponent of the best size, N* ~ C^a: of the authors' own best sizes ("pairs"), and by Hoffmann's law fitted to all runs of
a sweep or to those whose loss is within {100 * (NEAR - 1):.0f} % of the least at their compute ("near"), 90 % intervals in brackets.
"Beyond": the fifth of highest compute held out, mean absolute error of the loss of the near runs there, in brackets the bias.

{table(head, lines)}
"""


def named(**wanted: str) -> Sweep:
    """The one sweep with these values."""
    found = [sweep for sweep in sweeps() if all(sweep[SWEEP.index(name)] == value for name, value in wanted.items())]
    assert len(found) == 1, found
    return found[0]
