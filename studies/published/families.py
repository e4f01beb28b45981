"""Curves of several sizes under one Hoffmann law: does it foretell their ends, and the largest size, better than each curve alone?"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from prunescale.fitting import Audit, audit
from prunescale.laws import Columns, HoffmannLaw
from studies.published.curve_files import curves
from studies.published.errors import errors
from studies.published.markdown import codes, percent, sentences, status, table

OBJECTIVE = "squared-log"


@dataclass(frozen=True)
class Family:
    """Which curves, by how their names begin and the size that goes with it; and from which tokens on."""

    sizes: dict[str, float]
    min_tokens: float
    source: str


FAMILIES = {
    "OPT": Family(
        {"OPT 125m": 125e6, "OPT 1.3b": 1.3e9, "OPT 6.7b": 6.7e9, "OPT 13b": 13e9, "OPT 30b": 30e9, "OPT 175b": 175e9},
        2e10,
        "perplexities of checkpoints",
    ),
    "Pile-T5": Family(
        {"Pile-T5 base": 2.5e8, "Pile-T5 large": 7.8e8, "Pile-T5 xl": 3e9, "Pile-T5 xxl": 1.1e10},
        4e10,
        "training loss; nominal sizes, which the file does not have",
    ),
    "Pythia": Family(
        {"Pythia 14m": 14_067_712, "Pythia 70m": 70_426_624, "Pythia 160m": 162_322_944},
        1e10,
        "training loss; several seeds a size",
    ),
}


@cache
def columns(family: str) -> Columns:
    """The curves of a family, with their sizes."""
    found = []
    for begin, size in FAMILIES[family].sizes.items():
        for name, curve in curves().items():
            if name == begin or name.startswith(f"{begin},"):
                found.append({**curve, "n_params_total": np.full(len(curve["loss"]), float(size))})
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}


@cache
def audited(family: str) -> Audit:
    asked = {"objective": OBJECTIVE, "phases": None, "min_tokens": FAMILIES[family].min_tokens, "n_replicates": 100}
    return audit([HoffmannLaw], columns(family), holdouts=("tokens", "size"), **asked)


def section() -> str:
    lines, said = [], []
    for name, family in FAMILIES.items():
        found = audited(name)
        full = found.fits["hoffmann"]
        sizes = f"{len(family.sizes)} sizes, {full.n_runs} curves: {family.source}"
        law = full.law.constants()
        for row in found.rows:
            constants = f"{law['E']:.3f}, {law['alpha']:.3f}, {law['beta']:.3f}" if row.law == "hoffmann" else ""
            rms = percent(errors(full.law, full.points.columns).rms) if row.law == "hoffmann" else ""
            inside = "" if row.inside is None else percent(row.inside, 0)
            held = [f"{percent(row.score.error)} ({row.score.bias:+.3f})", inside]
            said_of_it = ["", ""] if row.is_baseline else [status(full), codes((*full.checks, *row.doubts))]
            lines.append([name, row.holdout, row.law, rms, constants, *held, *said_of_it])
        lines += [
            [name, each.holdout or "", each.law or "", "", "", "", "", "not possible", each.reason] for each in found.skipped
        ]
        said.append(f"**{name}** ({sizes}):\n\n{sentences(found.checks)}")
    head = ["family", "held out", "law", "RMSE, all points", "E, alpha, beta", "error, held out", "inside", "status", "checks"]
    return f"""## Curves of several sizes

Hoffmann's law on whole curves (`{OBJECTIVE}`; checkpoints within a schedule, whose phases the files do not name, count as what a run of
that length would give). Held out: the last 20 % of each curve's tokens, or the largest size; mean absolute error of the loss, in
brackets the mean error in nats; share of the held-out points inside the law's 90 % interval.

{table(head, lines, n_words=3)}

{chr(10).join(each + chr(10) for each in said)}"""
