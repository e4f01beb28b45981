"""Training curves of single models, as columns of tokens and losses.

OLMo, Pile-T5, OPT, K2, Mamba and the data-constrained runs of one epoch as Choshen et al. 2024, arXiv:2410.11840, gathered them;
Pythia's seeds from its authors. What D counts differs, as each file has it; in a law of one curve B takes up the unit.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np

from prunescale.laws import Columns
from studies.published.read import numbers, rows

OLMO_TOKENS_PER_STEP = 2160 * 2048
T5_TOKENS_PER_STEP = 2048 * 114  # of the target; the first step's loss and its sum agree on it
K2_TOKENS_PER_SEQUENCE = 2048
PYTHIA_TOKENS_PER_STEP = 2_097_152
PYTHIA_STEPS = 50_000  # later some seeds diverge
# Nats; no loss before training is higher here. Pile-T5 xxl has one point above, where it diverged and was restarted.
NO_MODEL = 11.1
N_MEANS = 200  # at most so many points of a curve of single steps: means of consecutive ones

Curve = tuple[np.ndarray, np.ndarray]
"""Tokens and losses."""


@cache
def curves() -> Mapping[str, Columns]:
    """Every curve by its name."""
    found = {**_olmo(), **_t5(), **_opt(), **_single_steps(), **_one_epoch(), **pythia()}
    return {name: _columns(name, n_tokens, loss) for name, (n_tokens, loss) in found.items()}


def _columns(name: str, n_tokens: np.ndarray, loss: np.ndarray) -> Columns:
    known = (loss < NO_MODEL) & (n_tokens > 0)
    order = np.argsort(n_tokens[known], kind="stable")
    return {"run": np.full(len(order), name), "n_tokens": n_tokens[known][order], "loss": loss[known][order]}


def _means(n_tokens: np.ndarray, loss: np.ndarray) -> Curve:
    """Means of as many consecutive points each as leave at most N_MEANS; the first points that fill no mean are left out."""
    size = -(-len(loss) // N_MEANS)
    n = len(loss) // size
    return tuple(column[-n * size :].reshape(n, size).mean(axis=1) for column in (n_tokens, loss))  # type: ignore[return-value]


def _olmo() -> dict[str, Curve]:
    """C4's validation loss; the 1B model has another cut of it than the 7B ones, so the three are apart."""
    found = {}
    for model in ("OLMo-1B ", "OLMo-7B", "OLMo-7B-Twin-2T"):
        some = [row for row in rows("olmo.csv.gz") if row["model_name"] == model]
        name = "v3-small-c4_en-validation/CrossEntropyLoss" if "1B" in model else "c4_en-validation/Perplexity"
        loss = numbers(some, name)
        found[model.strip()] = (numbers(some, "Step") * OLMO_TOKENS_PER_STEP, loss if "1B" in model else np.log(loss))
    return found


def _t5() -> dict[str, Curve]:
    """Training loss per target token. The file's own loss per token is wrong from the second point on: see data/README.md."""
    found = {}
    for size in ("base", "large", "xl", "xxl"):
        some = [row for row in rows("t5-pile.csv.gz") if row["model_name"] == size]
        loss = numbers(some, "cross_ent_loss") / T5_TOKENS_PER_STEP
        found[f"Pile-T5 {size}"] = (numbers(some, "steps") * T5_TOKENS_PER_STEP, loss)
    return found


def _opt() -> dict[str, Curve]:
    """Tokens come as logarithms, and powers differ in the last digit from machine to machine: whole numbers do not."""
    some = rows("opt.csv")
    found = {}
    for size in dict.fromkeys(row["model_size"] for row in some):
        here = [row for row in some if row["model_size"] == size]
        found[f"OPT {size}"] = (np.round(10 ** numbers(here, "num_token")), np.log(numbers(here, "ppl")))
    return found


def _single_steps() -> dict[str, Curve]:
    """Training losses of single steps, averaged."""
    k2, mamba = rows("k2-65b.csv.gz"), rows("mamba-3b.csv.gz")
    steps = (numbers(mamba, "step_first") + numbers(mamba, "step_last")) / 2
    order = np.argsort(numbers(k2, "Step"), kind="stable")
    return {
        "K2-65B": _means((numbers(k2, "Step") * K2_TOKENS_PER_SEQUENCE)[order], numbers(k2, "k2 training - lm loss")[order]),
        "Mamba-3B": _means(steps, numbers(mamba, "loss_mean")),
    }


def _one_epoch() -> dict[str, Curve]:
    """Validation loss of the data-constrained runs that repeat nothing."""
    found = {}
    for data, name in (("c4", "C4"), ("oscar", "OSCAR")):
        for size in ("2.8B", "4.2B", "8.7B"):
            some = [
                row
                for row in rows("muennighoff-curves.csv.gz")
                if (row["data"], row["num_params"], row["epochs"]) == (data, size, "1")
            ]
            found[f"{name} {size}"] = (numbers(some, "token_num"), numbers(some, "loss"))
    return found


PYTHIA_SEEDS = {"14m": "123456789", "70m": "0134", "160m": "05678"}
"""One group each of seeds that agree. Seeds 2 and 5 to 9 of 70m and 4 of 160m lie apart; 410m begins at its end."""


def pythia() -> dict[str, Curve]:
    """Training loss of each seed, in bins of steps."""
    found = {}
    for size, seeds in PYTHIA_SEEDS.items():
        for seed in seeds:
            some = [
                row
                for row in rows("pythia-seeds.csv.gz")
                if (row["model"], row["seed"]) == (f"pythia-{size}", seed) and float(row["step_max"]) <= PYTHIA_STEPS
            ]
            found[f"Pythia {size}, seed {seed}"] = (
                numbers(some, "step_mean") * PYTHIA_TOKENS_PER_STEP,
                numbers(some, "loss_mean"),
            )
    return found
