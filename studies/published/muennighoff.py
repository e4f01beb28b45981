"""Training on data that repeat: does the data-constrained law say what an epoch is worth?

Muennighoff et al. 2023, arXiv:2305.16264: ends of 229 runs of 7M to 8.7B parameters on C4, and curves of 2.8B, 4.2B and 8.7B
parameters on C4 and OSCAR that spend the same tokens in 1 to 44 epochs.
"""

from functools import cache

import numpy as np

from prunescale.fitting import Fit, bootstrap, fit
from prunescale.laws import PRESETS, Columns, DataConstrainedLaw, HoffmannLaw
from studies.published.errors import Errors, errors, held_out
from studies.published.markdown import codes, constant, percent, signed, status, table
from studies.published.read import keep, numbers, rows, words

OBJECTIVE = "squared-log"
LAWS = (HoffmannLaw, DataConstrainedLaw)
N_REPLICATES = 300
FEW_EPOCHS = 60  # in the ends: beyond, small models on 0.1B tokens are trained hundreds of times over
SIZES = {"2.8B": 2.81e9, "4.2B": 4.2465e9, "8.7B": 8.67e9}  # as the ends count them
SAME = (("oscar", "2.8B", "3"), ("oscar", "2.8B", "4"))  # one curve under two names: neither is used
CURVES = {"c4": "C4", "oscar": "OSCAR"}
TRAINED = 20  # epochs, in the curves: at 44 the loss has long been rising


@cache
def ends() -> Columns:
    """Ends of 229 runs, each one point; the different tokens are those seen over the epochs."""
    table = rows("muennighoff-ends.csv")
    tokens, epochs = numbers(table, "token_num"), numbers(table, "epochs")
    return {
        "run": words(table, "model_args"),
        "n_params_total": numbers(table, "num_params"),
        "n_tokens": tokens,
        "unique_tokens": np.minimum(tokens / epochs, tokens),
        "epochs": epochs,
        "loss": numbers(table, "openLM_loss"),
    }


def past_its_best(table: Columns) -> np.ndarray:
    """Runs with a higher loss than some other of the same size on the same data that saw fewer tokens: no law here can say so."""
    same = (table["n_params_total"][:, None] == table["n_params_total"]) & (
        np.abs(table["unique_tokens"][:, None] / table["unique_tokens"] - 1) < 0.01
    )
    better = (table["n_tokens"][:, None] > table["n_tokens"]) & (table["loss"][:, None] > table["loss"])
    return np.any(same & better, axis=1)


def chosen() -> dict[str, np.ndarray]:
    """Which of the ends a fit is given."""
    table = ends()
    usual = ~past_its_best(table) & (table["epochs"] <= FEW_EPOCHS)
    return {"all": np.ones(len(table["loss"]), dtype=bool), "not past their best, few epochs": usual}


@cache
def curve_ends(data: str) -> Columns:
    """The last point of each curve on a data set."""
    some = [
        row
        for row in rows("muennighoff-curves.csv.gz")
        if row["data"] == data and (row["data"], row["num_params"], row["epochs"]) not in SAME
    ]
    tokens, epochs = numbers(some, "token_num"), numbers(some, "epochs")
    run = np.array([f"{row['num_params']}, {row['epochs']} epochs" for row in some])
    last = np.array([np.flatnonzero(run == name)[np.argmax(tokens[run == name])] for name in np.unique(run)])
    columns = {
        "run": run,
        "n_params_total": np.array([SIZES[row["num_params"]] for row in some]),
        "n_tokens": tokens,
        "unique_tokens": np.minimum(numbers(some, "tokens_per_epoch"), tokens),
        "epochs": epochs,
        "loss": numbers(some, "loss"),
    }
    return keep(columns, last)


@cache
def curve_fits(data: str) -> Fit:
    """The data-constrained law on the ends of the curves of few epochs."""
    table = curve_ends(data)
    found = fit(DataConstrainedLaw, keep(table, table["epochs"] <= TRAINED), objective=OBJECTIVE, phases=None)
    return bootstrap(found, n=N_REPLICATES)


def more_epochs(data: str) -> Errors:
    """The law fitted to curves of up to 7 epochs, on those of 14."""
    table = curve_ends(data)
    few = keep(table, table["epochs"] <= TRAINED)
    return held_out(DataConstrainedLaw, few, few["epochs"] > 7, objective=OBJECTIVE, phases=None)[1]


def published_errors(mask: np.ndarray) -> Errors:
    """The published constants of the base law, on some of the ends."""
    return errors(PRESETS["muennighoff-2023-base"].law, keep(ends(), mask))


def section() -> str:
    return "\n".join([_ends(), _curves()])


def _ends() -> str:
    table_of_ends, lines = ends(), []
    for name, mask in chosen().items():
        some = keep(table_of_ends, mask)
        repeated = some["epochs"] > 4
        for law in LAWS:
            found = fit(law, some, objective=OBJECTIVE, phases=None)
            found = bootstrap(found, n=N_REPLICATES)
            error = held_out(law, some, some["n_params_total"] > 2e9, objective=OBJECTIVE, phases=None)[1]
            stars = [constant(found, key) if key in law.bounds else "" for key in ("R_D_star", "R_N_star")]
            rms = [percent(errors(found.law, keep(some, one)).rms, 1) for one in (~repeated, repeated)]
            far = f"{percent(error.mean, 1)} ({signed(error.bias, 1)})"
            lines.append([name, law.name, str(found.n_points), *rms, *stars, far, status(found), codes(found.checks)])
    once, (low, high) = published_errors(table_of_ends["epochs"] == 1), _published_range()
    n_past = int(np.sum(past_its_best(table_of_ends)))
    head = ["runs", "law", "points", "RMSE, to 4 epochs", "RMSE, more", "R_D*", "R_N*", "held out: above 2B", "status", "checks"]
    return f"""## Data that repeat: {len(table_of_ends["loss"])} runs on C4, and curves of 1 to 44 epochs

Relative RMSE, `{OBJECTIVE}`; in brackets 90 % intervals, and for what was held out the bias.

{table(head, lines, n_words=2)}

{n_past} runs are past their best: more tokens from the same data made them worse, which neither law can say. On the
{once.n_points} runs of one epoch the published constants of the base law lie {signed(once.bias, 1)} off on average
({signed(low, 1)} to {signed(high, 1)}): they belong to another loss.
"""


def _published_range() -> tuple[float, float]:
    """Least and largest error of the published constants on runs of one epoch."""
    once = keep(ends(), ends()["epochs"] == 1)
    error = PRESETS["muennighoff-2023-base"].law.predict(once) / once["loss"] - 1
    return float(error.min()), float(error.max())


def _curves() -> str:
    lines = []
    for data, name in CURVES.items():
        found, far = curve_fits(data), more_epochs(data)
        lines.append(
            [
                name,
                str(found.n_points),
                percent(errors(found.law, found.points.columns).rms),
                constant(found, "R_D_star"),
                constant(found, "beta"),
                f"{percent(far.mean)} ({signed(far.bias)})",
                status(found),
                codes(found.checks),
            ]
        )
    head = ["data", "points", "relative RMSE", "R_D*", "beta", "held out: 14 epochs", "status", "checks"]
    return f"""Ends of the curves of up to 14 epochs, data-constrained law (sizes and tokens go together there, so alpha and R_N* mean
little):

{table(head, lines)}
"""
