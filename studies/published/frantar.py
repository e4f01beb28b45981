"""48 T5 models pruned while they were pre-trained on C4: which N counts?

Frantar et al. 2023, arXiv:2309.08520. D is counted in optimiser steps, N in the weights of the blocks that are not zero.
"""

from functools import cache

import numpy as np

from prunescale.fitting import OBJECTIVES, Audit, Comparison, Fit, audit, bootstrap, compare, fit
from prunescale.fitting.objective import huber
from prunescale.laws import PRESETS, AverageParameterLaw, Columns, DenseParameterLaw, FinalParameterLaw, FrantarLaw, Law
from prunescale.planner import choose_sparsity
from prunescale.planner.optimum import cubic_average
from studies.published.errors import errors, relative
from studies.published.markdown import between, codes, constant, percent, sentences, signed, status, table
from studies.published.read import numbers, rows

OBJECTIVE = "huber-log"  # the authors' own
LAWS: tuple[type[Law], ...] = (AverageParameterLaw, FinalParameterLaw, DenseParameterLaw, FrantarLaw)
N_REPLICATES = 1000

PUBLISHED = PRESETS["frantar-2023-t5"].law
# The point that the notebook keeps apart: 48 blocks of width 1024 are left of four times as many weights.
HELD_OUT = {"sparsity": 0.75, "n_params_nonzero": 48 * 12 * 1024**2, "n_tokens": 500_000}
HELD_OUT_LOSS = 1.4827780204906797

DENSE = 84_934_656.0  # non-zero weights for which the best sparsity is asked: the most that were trained
FLATS = {"alpha": (0.15, 0.17, 0.19, 0.21, 0.22, 0.23, 0.25), "beta": (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)}


@cache
def columns() -> Columns:
    """Each model one point, at its end."""
    table = rows("frantar-t5.csv")
    nonzero, sparsity = numbers(table, "nonzero_params"), numbers(table, "sparsity")
    dense = nonzero / (1 - sparsity)
    return {
        "run": np.array([f"{index:02d}" for index in range(len(table))]),
        "sparsity": sparsity,
        "n_params_nonzero": nonzero,
        "n_params_final": nonzero,
        "n_params_linear": dense,
        "n_params_average": dense * cubic_average(sparsity),
        "n_tokens": numbers(table, "steps"),
        "loss": numbers(table, "val-loss"),
    }


@cache
def fits(objective: str = OBJECTIVE) -> dict[str, Fit]:
    return {law.name: fit(law, columns(), objective=objective, phases=None) for law in LAWS}


@cache
def spread() -> Fit:
    """Frantar's law, with what other studies might have given."""
    return bootstrap(fits()["frantar"], n=N_REPLICATES)


def mean_objective(law: Law) -> float:
    """The authors' objective: the mean over points, where ours is a sum."""
    return float(np.mean(huber(np.log(law.predict(columns())) - np.log(columns()["loss"]))))


def by_sparsity(law: Law) -> dict[float, float]:
    """Mean of predicted / measured - 1 at each sparsity."""
    sparsity, error = columns()["sparsity"], relative(law, columns())
    return {float(value): float(np.mean(error[sparsity == value])) for value in np.unique(sparsity)}


def held_out_errors() -> dict[str, float]:
    """Relative error at the point that neither the authors nor we fitted."""
    laws = {"published": PUBLISHED, "refit": fits()["frantar"].law}
    return {name: float(law.loss(**HELD_OUT)) / HELD_OUT_LOSS - 1 for name, law in laws.items()}


@cache
def plateau() -> tuple[int, int, tuple[float, float]]:
    """How many of some pairs of exponents, held, reach the optimum of the final-parameter law to the last digit, of how many; and
    between which relative RMSEs these lie."""
    least, reached, n_tried = fits()["final-parameter"].cost, [], 0
    for alpha in FLATS["alpha"]:
        for beta in FLATS["beta"]:
            found = fit(FinalParameterLaw, columns(), fixed={"alpha": alpha, "beta": beta}, objective=OBJECTIVE, phases=None)
            n_tried += 1
            if found.cost <= least * (1 + 1e-12):
                reached.append(errors(found.law, columns()).rms)
    return len(reached), n_tried, (min(reached), max(reached))


@cache
def audited() -> Audit:
    return audit(LAWS, columns(), objective=OBJECTIVE, phases=None, holdouts=("size", "rate", "run"))


def compared() -> Comparison:
    return compare(audited())


def section() -> str:
    return "\n".join([_laws(), _flat(), _published(), _audited(), _sparsity()])


def _laws() -> str:
    sparsities = list(by_sparsity(PUBLISHED))
    lines = []
    for name, found in fits().items():
        others = [percent(errors(fits(each)[name].law, columns()).rms) for each in OBJECTIVES]
        lean = [signed(each, 1) for each in by_sparsity(found.law).values()]
        lines.append([name, f"{mean_objective(found.law):.4e}", *others, *lean, status(found), codes(found.checks)])
    head = ["law", "mean log-Huber", *(f"RMSE, {name}" for name in OBJECTIVES), *(f"S = {each:g}" for each in sparsities)]
    checks = "\n".join(
        sentences(found.checks, ("leans",)).replace("`leans`:", f"`leans`, {name}:") for name, found in fits().items()
    )
    return f"""## Sparse pre-training: {len(columns()["loss"])} T5 models

Relative RMSE under each objective; then, fitted under `{OBJECTIVE}`, the mean of predicted / measured - 1 at each sparsity S.

{table([*head, "status", "checks"], lines)}

{checks}
"""


def _flat() -> str:
    n_reached, n_tried, (low, high) = plateau()
    return f"""**The final-parameter law has no one optimum under `{OBJECTIVE}`.** It says the same of the four models that end with the
same weights after the same steps, and they lie further from it than the 1e-3 at which Huber's objective turns into absolute errors: any
prediction between the second and the third of the four is as good. Of {n_tried} pairs of exponents held, {n_reached} reach the same
objective to twelve digits, at relative RMSEs from {percent(low)} to {percent(high)}; which of these a fit reports is chance.
"""


def _published() -> str:
    found, held = spread(), held_out_errors()
    loss = found.interval(lambda law: law.loss(**HELD_OUT))
    lines = [
        ["published", *(f"{value:.4g}" for value in PUBLISHED.constants().values())],
        ["refit", *(constant(found, name) for name in found.law.bounds)],
    ]
    errs = [
        ["published", f"{mean_objective(PUBLISHED):.4e}", percent(errors(PUBLISHED, columns()).rms), signed(held["published"])],
        ["refit", f"{mean_objective(found.law):.4e}", percent(errors(found.law, columns()).rms), signed(held["refit"])],
    ]
    low, high = (end / HELD_OUT_LOSS - 1 for end in loss)
    where = f"{HELD_OUT['n_params_nonzero'] / 1e6:.0f}M non-zero weights, {HELD_OUT['n_tokens']:,} steps"
    nearer = min(held, key=lambda name: abs(held[name]))
    return f"""Frantar's law with the constants of the authors' notebook and refitted (N in millions, D in millions of steps):

{table(["constants", *found.law.bounds], lines)}

{table(["constants", "mean log-Huber", "relative RMSE, fitted points", "error at the held-out point"], errs)}

Held out by the authors: sparsity {HELD_OUT["sparsity"]:g}, {where}, measured {HELD_OUT_LOSS:.4f}.
There the **{nearer}** constants are nearer. The 90 % interval of the refit's own error there is {signed(low)} to {signed(high)}.
"""


def _audited() -> str:
    names = list(dict.fromkeys(row.holdout for row in audited().rows))
    lines = [
        [
            rank.law,
            *(f"{percent(row.score.error)} ({row.score.bias:+.3f})" for row in (audited().row(name, rank.law) for name in names)),
            percent(rank.behind),
            rank.verdict,
        ]
        for rank in compared().ranks
    ]
    return f"""Held out (mean absolute error of the loss; in brackets the mean error in nats), the best law first:

{table(["law", *names, "behind the best", "verdict"], lines)}
"""


def _sparsity() -> str:
    lines = []
    for compute in (1e14, 3e14, 1e15, 1e16):
        found = choose_sparsity(spread(), compute, {"n_params_nonzero": DENSE}, profiled=True)
        lines.append(
            [
                f"{compute:.0e}",
                between(f"{found.value:.3f}", found.interval, ".3f"),
                between(f"{found.value:.3f}", found.profile, ".3f"),
                f"{found.tokens / 1e3:,.0f}k",
                codes(found.checks),
            ]
        )
    return f"""The best sparsity of a model that ends with {DENSE / 1e6:.0f}M non-zero weights, for a budget of 6 x average weights x steps:

{table(["weights x steps x 6", "S*, by refits", "S*, by profile likelihood", "steps", "checks"], lines)}
"""
