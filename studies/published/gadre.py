"""104 models over-trained by up to 640 tokens per parameter: one law, or the over-training form of the authors?

Gadre et al. 2024, arXiv:2403.08540: three training sets, eight validation sets, each pair with a loss of its own.
"""

from functools import cache
from typing import Any

import numpy as np

from prunescale.fitting import Fit, fit
from prunescale.laws import Bound, Columns, HoffmannLaw, own_law
from studies.published.errors import Errors, errors, held_out
from studies.published.markdown import codes, percent, signed, status, table
from studies.published.read import numbers, rows, words

OBJECTIVE = "squared-log"
TRAINED_ON = {"c4_original": "C4", "rpj": "RedPajama", "rw_original": "RefinedWeb"}
MEASURED_ON = {
    "c4_val/shard-{0000000..0000010}.tar": "C4",
    "paloma_redpajama/00000001.tar": "RedPajama",
    "paloma_falcon-refinedweb/00000001.tar": "RefinedWeb",
    "paloma_dolma_100_programing_languages/00000001.tar": "code",
}


def over_training(n_params_total: Any, n_tokens: Any, E: Any, a: Any, b: Any, eta: Any) -> Any:
    """E + (a M^eta + b M^-eta) C^-eta, with M = D/N tokens per parameter and C = 6 N D operations."""
    M, C = n_tokens / n_params_total, 6 * n_params_total * n_tokens
    return E + (a * M**eta + b * M**-eta) * C**-eta


OverTrainingLaw = own_law(
    over_training,
    {
        "E": Bound(0.0, 20.0, start=(0.5, 3.0), role="loss of an unlimited model on unlimited data"),
        "a": Bound(1e-4, 1e14, start=(1e0, 1e6), log=True, role="what more parameters can win"),
        "b": Bound(1e-4, 1e14, start=(1e0, 1e6), log=True, role="what more tokens can win"),
        "eta": Bound(0.0, 2.0, start=(0.05, 0.6), role="their common exponent, of compute"),
    },
    name="over-training",
    title="over-training law",
    source="Gadre et al. 2024, arXiv:2403.08540, eq. 4",
)
LAWS = (HoffmannLaw, OverTrainingLaw)


@cache
def columns(trained_on: str, measured_on: str) -> Columns:
    """The models of one training set, each one point, measured on one validation set."""
    some = [row for row in rows("gadre.csv.gz") if (row["train_dataset"], row["val_data"]) == (trained_on, measured_on)]
    return {
        "run": words(some, "name"),
        "n_params_total": numbers(some, "params"),
        "n_tokens": numbers(some, "tokens"),
        "loss": numbers(some, "loss"),
    }


def fits(trained_on: str, measured_on: str) -> dict[str, Fit]:
    return {law.name: fit(law, columns(trained_on, measured_on), objective=OBJECTIVE, phases=None) for law in LAWS}


def beyond(trained_on: str, measured_on: str) -> dict[tuple[str, str], Errors]:
    """Errors on what lies beyond: the two largest models at 20 tokens per parameter and more, or the most over-trained of all sizes."""
    table = columns(trained_on, measured_on)
    ratio = table["n_tokens"] / table["n_params_total"]
    masks = {"larger": table["n_params_total"] > 1e9, "over-trained": ratio > 300}
    asked = {"objective": OBJECTIVE, "phases": None}
    return {(name, law.name): held_out(law, table, mask, **asked)[1] for name, mask in masks.items() for law in LAWS}


def section() -> str:
    lines, far = [], []
    for trained_on, theirs in TRAINED_ON.items():
        for measured_on, what in MEASURED_ON.items():
            table_here = columns(trained_on, measured_on)
            for name, found in fits(trained_on, measured_on).items():
                law = found.law.constants()
                exponents = ", ".join(f"{key} {law[key]:.3f}" for key in ("alpha", "beta", "eta") if key in law)
                rms = percent(errors(found.law, table_here).rms)
                lines.append([theirs, what, name, rms, f"{law['E']:.3f}", exponents, status(found), codes(found.checks)])
            error = beyond(trained_on, measured_on)
            for held in ("larger", "over-trained"):
                each = [error[held, law.name] for law in LAWS]
                cells = [f"{percent(one.mean)} ({signed(one.bias, 1)})" for one in each]
                far.append([theirs, what, held, str(each[0].n_points), *cells])
    return f"""## Over-training: {len(rows("gadre.csv.gz")) // 8} models on three training sets

Relative RMSE and exponents of Hoffmann's law (five constants) and of the authors' form with one exponent (four), `{OBJECTIVE}`:

{table(["trained on", "measured on", "law", "relative RMSE", "E", "exponents", "status", "checks"], lines, n_words=3)}

Held out: the models above 1B parameters ("larger"), or the runs of more than 300 tokens per parameter ("over-trained"); mean
absolute error of the loss, in brackets the bias.

{table(["trained on", "measured on", "held out", "points", *(law.name for law in LAWS)], far, n_words=3)}
"""


def ratios() -> np.ndarray:
    """Tokens per parameter of every run."""
    some = rows("gadre.csv.gz")
    return numbers(some, "tokens") / numbers(some, "params")
