"""Benchmark scores of pruned models after distillation: scores are not losses, so the law is of our making, and of the error.

NVIDIA's tables: Nemotron-Nano-9B-v2 pruned to 7B (five blends of data), Nemotron-3-Nano-30B-A3B pruned to 22B.
"""

from functools import cache
from typing import Any

import numpy as np

from prunescale.errors import FitError
from prunescale.fitting import Fit, bootstrap, fit, profile
from prunescale.laws import Bound, Columns, own_law
from studies.published.markdown import between, codes, status, table
from studies.published.read import keep, rows

BILLION = 1e9
N_REPLICATES = 300
ONE_PHASE = 80e9  # tokens; the 22B model goes on with sequences four times as long
MODELS = {"7B": "9B to 7B", "22B/A3.0B": "30B to 22B"}
MAIN = "main"
NOW, THEN = 80e9, 160e9  # what would twice the tokens bring?


def score_recovery(n_tokens: Any, E: Any, B: Any, D0: Any, beta: Any) -> Any:
    """E + B (1 + D/D0)^-beta, in points: 100 - score; D in billions of tokens."""
    return E + B * (1 + n_tokens / BILLION / D0) ** -beta


def score_power(n_tokens: Any, E: Any, B: Any, beta: Any) -> Any:
    """E + B D^-beta, in points: 100 - score; D in billions of tokens."""
    return E + B * (n_tokens / BILLION) ** -beta


E_OF_SCORE = Bound(0.0, 100.0, start=(5.0, 60.0), role="error on unlimited tokens")
RecoveryLaw = own_law(
    score_recovery,
    {
        "E": E_OF_SCORE,
        "B": Bound(1e-2, 1e2, start=(1.0, 60.0), log=True, role="what tokens win back"),
        "D0": Bound(1e-9, 1e2, start=(1e-3, 1.0), log=True, role="tokens from which on the curve is a power law"),
        "beta": Bound(0.0, 5.0, start=(0.1, 2.0), role="its exponent"),
    },
    name="score-recovery",
    source="ours",
    may_be_zero=("n_tokens",),
)
PowerLaw = own_law(
    score_power,
    {
        "E": E_OF_SCORE,
        "B": Bound(1e-2, 1e2, start=(1.0, 60.0), log=True, role="what tokens win back"),
        "beta": Bound(0.0, 5.0, start=(0.1, 2.0), role="its exponent"),
    },
    name="score-power",
    source="ours",
)


@cache
def scores(model: str, blend: str, benchmark: str) -> Columns:
    """Errors, 100 - score, by tokens of distillation."""
    some = [
        (float(row["tokens_B"]) * BILLION, 100 - float(row["score"]))
        for row in rows("minitron.csv")
        if (row["pruned"], row["data_blend"], row["benchmark"]) == (model, blend, benchmark) and row["tokens_B"]
    ]
    tokens, error = (np.array(column) for column in zip(*sorted(some), strict=True))
    return {"run": np.full(len(tokens), f"{model}, {blend}"), "n_tokens": tokens, "loss": error}


def benchmarks(model: str, blend: str) -> list[str]:
    """The mean last, where the tables have one."""
    found = dict.fromkeys(
        row["benchmark"] for row in rows("minitron.csv") if (row["pruned"], row["data_blend"]) == (model, blend)
    )
    return sorted(found, key=lambda name: name == "Average")


def blends() -> list[str]:
    """Of the 7B model, besides the main line."""
    return [blend for blend in dict.fromkeys(row["data_blend"] for row in rows("minitron.csv")) if blend != MAIN]


@cache
def mean_of(blend: str) -> Columns:
    """The mean error over a blend's benchmarks."""
    each = [scores("7B", blend, name) for name in benchmarks("7B", blend)]
    return {**each[0], "loss": np.mean([one["loss"] for one in each], axis=0)}


@cache
def recovery(model: str, benchmark: str) -> Fit:
    """From no tokens at all to 80B, one phase."""
    columns = scores(model, MAIN, benchmark)
    return fit(RecoveryLaw, keep(columns, columns["n_tokens"] <= ONE_PHASE), phases=None)


def power(blend: str) -> Fit:
    """The mean of a blend; an error where it has too few points."""
    return bootstrap(fit(PowerLaw, mean_of(blend), phases=None), n=N_REPLICATES)


def parents() -> dict[str, float]:
    """The mean score of the unpruned model, as the tables of the pruned one have it."""
    return {
        row["pruned"]: float(row["score"])
        for row in rows("minitron.csv")
        if row["benchmark"] == "Average" and row["stage"].startswith("reference") and "12B" not in row["stage"].split("(")[0]
    }


def won_back(model: str, n_tokens: float) -> float:
    """Measured share of what pruning cost in the mean score that so many tokens have won back."""
    columns = scores(model, MAIN, "Average")
    before, after = (float(columns["loss"][columns["n_tokens"] == n][0]) for n in (0, n_tokens))
    return (before - after) / (before - (100 - parents()[model]))


def gain(law: Any) -> Any:
    """Points that twice the tokens would add."""
    return law.loss(n_tokens=NOW) - law.loss(n_tokens=THEN)


def section() -> str:
    return "\n".join([_models(), _phases(), _blends()])


def _models() -> str:
    lines = []
    for model, name in MODELS.items():
        for benchmark in benchmarks(model, MAIN):
            columns = scores(model, MAIN, benchmark)
            columns = keep(columns, columns["n_tokens"] <= ONE_PHASE)
            found = recovery(model, benchmark)
            earlier = fit(RecoveryLaw, keep(columns, columns["n_tokens"] < ONE_PHASE), phases=None)
            before, last = columns["loss"][-2:]
            lines.append(
                [
                    name,
                    benchmark,
                    " ".join(f"{100 - value:.1f}" for value in columns["loss"]),
                    f"{found.metrics.rmse:.2f}",
                    between(f"{float(gain(found.law)):.2f}", _of_the_mean(found, benchmark), ".2f"),
                    f"{last - float(earlier.law.loss(n_tokens=NOW)):+.2f}",
                    f"{last - before:+.2f}",
                    status(found),
                    codes(found.checks),
                ]
            )
    head = [
        "model",
        "benchmark",
        "scores at 0 to 80B tokens",
        "RMSE, points",
        "gain, 80B to 160B",
        "error at 80B",
        "last value's",
    ]
    return f"""## Pruned models: benchmark scores against distillation tokens

Scores, **not losses**: bounded, noisy (a benchmark of 30 problems moves by points from run to run), and of no law that the papers
know. The fitted law is ours: 100 - score = E + B (1 + D/D0)^-beta, with four constants on six points. "Gain": points that twice the
tokens would add, for the mean with a 90 % interval by profile likelihood. "Error at 80B": score foretold by the fit to the earlier
points minus that measured; beside it that of the last value carried on.

{table([*head, "status", "checks"], lines, n_words=3)}
"""


def _phases() -> str:
    columns = scores("22B/A3.0B", MAIN, "Average")
    one, other = (100 - float(columns["loss"][columns["n_tokens"] == n * BILLION][0]) for n in (80, 82.5))
    shares = ", ".join(f"{MODELS[model]} {100 * won_back(model, 20e9):.1f} %" for model in MODELS)
    return f"""Measured share of what pruning cost in the mean score that 20B tokens have won back: {shares}. The
22B model goes from {one:.1f} at 80B to {other:.1f} at 82.5B tokens: from there on its sequences are four times as long, another phase,
which no law of the tokens foretells.
"""


def _of_the_mean(found: Fit, benchmark: str) -> tuple[float, float] | None:
    """The gain's 90 % interval by profile likelihood, for the mean of the benchmarks; single ones are too noisy for one."""
    if benchmark != "Average":
        return None
    ends = profile(found, gain)
    return ends.low, ends.high


def _blends() -> str:
    lines = []
    for blend in blends():
        columns = mean_of(blend)
        shown = " ".join(f"{100 - error:.1f} ({tokens / BILLION:g}B)" for tokens, error in zip(*_two(columns), strict=True))
        try:
            found = power(blend)
        except FitError as error:
            lines.append([blend, shown, "", "", "not possible", str(error)])
            continue
        floor = between(f"{100 - found.law.constants()['E']:.1f}", _reversed(found.interval("E")), ".1f")
        lines.append([blend, shown, f"{found.metrics.rmse:.2f}", floor, status(found), codes(found.checks)])
    head = ["blend", "mean score (tokens)", "RMSE, points", "score on unlimited tokens", "status", "checks"]
    return f"""Blends of data for the 7B model, mean over their eight benchmarks; 100 - score = E + B D^-beta:

{table(head, lines, n_words=2)}
"""


def _two(columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    return columns["n_tokens"], columns["loss"]


def _reversed(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if interval is None else (100 - interval[1], 100 - interval[0])
