"""Which rows of a table a fit uses, and in which order."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from prunescale.errors import FitError
from prunescale.laws import Columns, Law


@dataclass(frozen=True)
class Points:
    """The rows that a law can use, in an order of their own; `left_out` counts the others by reason."""

    columns: dict[str, np.ndarray]
    left_out: Mapping[str, int]

    @property
    def loss(self) -> np.ndarray:
        return self.columns["loss"]


def select(law: type[Law], columns: Columns, *, min_tokens: float = 0, phases: Collection[str] | None = None) -> Points:
    """The points of these learning-rate phases (None: all) from `min_tokens` on, where no input of the law is zero.

    Rows come back sorted by run, tokens and the rest, so that no result depends on the order in which they came.
    """
    names = ("run", *law.columns, "loss") + (("phase",) if phases is not None else ())
    _refuse_missing(law, columns, names)
    table = {name: np.asarray(columns[name]) for name in names}
    reasons = {f"learning-rate phase not {' or '.join(sorted(phases))}": ~np.isin(table["phase"], list(phases))} if phases else {}
    reasons |= {f"{name} of 0": table[name] == 0 for name in law.columns}
    reasons[f"fewer than {min_tokens:,.0f} tokens"] = table["n_tokens"] < min_tokens
    keep, left_out = np.ones(len(table["run"]), dtype=bool), {}
    for reason, bad in reasons.items():
        left_out[reason] = int(np.sum(keep & bad))
        keep &= ~bad
    kept = {name: table[name][keep] for name in names}
    _refuse_impossible(law, kept)
    order = np.lexsort([kept[name] for name in ("loss", *law.columns, "n_tokens", "run")])
    numbers = {name: kept[name][order].astype(float) for name in (*law.columns, "loss")}
    return Points({"run": kept["run"][order], **numbers}, {reason: n for reason, n in left_out.items() if n})


def _refuse_missing(law: type[Law], columns: Columns, names: Collection[str]) -> None:
    missing = [name for name in names if name not in columns]
    if missing:
        raise FitError(f"The {law.title} needs the columns {', '.join(names)}; {', '.join(missing)} is missing.")


def _refuse_impossible(law: type[Law], kept: Columns) -> None:
    for name in (*law.columns, "loss"):
        values = kept[name].astype(float)
        bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if bad.size:
            run, tokens = kept["run"][bad[0]], float(kept["n_tokens"][bad[0]])
            raise FitError(
                f"Run {run} has a {name} of {values[bad[0]]:g} at {tokens:,.0f} tokens; "
                "a fit needs positive finite numbers: leave the run out or measure it again."
            )
