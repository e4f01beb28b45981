"""Which rows of a table a fit uses, and in which order."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from prunescale.errors import FitError
from prunescale.fitting.excess import scale_of_curves
from prunescale.laws import Columns, Law

WEIGHTINGS = ("runs", "points", "excess")
TEXT = ("run", "phase", "base")
BESIDE = ("phase", "base", "sparsity", "pruning_rate", "loss_control")
"""Kept where every row has them, for checks and for weights, though the law may not read them."""

SHARES = ("pruning_rate", "sparsity")


@dataclass(frozen=True, eq=False)
class Points:
    """The rows that a law can use, in an order of their own; `left_out` counts the others by reason.

    weight is 1 on average: each run's points share one weight between them, so that a long curve does not drown a short one, or
    each point has its own; or runs have, and each of their points counts by its error as a share of its excess.
    """

    columns: dict[str, np.ndarray]
    weight: np.ndarray
    left_out: Mapping[str, int]

    @property
    def loss(self) -> np.ndarray:
        return self.columns["loss"]

    @cached_property
    def run_index(self) -> np.ndarray:
        """The number of each point's run, from 0; (points,)."""
        return np.unique(self.columns["run"], return_inverse=True)[1]

    @property
    def n_runs(self) -> int:
        return int(self.run_index.max(initial=-1)) + 1

    @cached_property
    def base_index(self) -> np.ndarray | None:
        """The number of each point's base model, from 0; (points,). None where bases are not known."""
        base = self.columns.get("base")
        return None if base is None else np.unique(base, return_inverse=True)[1]

    @property
    def position_in_run(self) -> tuple[np.ndarray, np.ndarray]:
        """For each point, its number within its run, from 0, and how many points that run has."""
        first = np.searchsorted(self.run_index, self.run_index)
        return np.arange(len(first)) - first, np.bincount(self.run_index)[self.run_index]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Points)
            and self.left_out == other.left_out
            and self.columns.keys() == other.columns.keys()
            and all(np.array_equal(self.columns[name], other.columns[name]) for name in self.columns)
            and np.array_equal(self.weight, other.weight)
        )

    __hash__ = None  # type: ignore[assignment]


def select(
    law: type[Law],
    columns: Columns,
    *,
    min_tokens: float = 0,
    phases: Collection[str] | None = None,
    weighting: str = "runs",
) -> Points:
    """The points of these learning-rate phases (None: all) from `min_tokens` on, where no input is zero that the law wants positive.

    Rows come back sorted by run, tokens and the rest, so that no result depends on the order in which they came.
    """
    names = ("run", *law.columns, "loss") + (("phase",) if phases is not None else ())
    _refuse_missing(law, columns, names)
    beside = [name for name in BESIDE if name in columns and name not in names]
    table = {name: np.asarray(columns[name]) for name in (*names, *beside)}
    table.setdefault("n_tokens", np.asarray(columns.get("n_tokens", np.zeros(len(table["run"])))))
    reasons = {f"learning-rate phase not {' or '.join(sorted(phases))}": ~np.isin(table["phase"], list(phases))} if phases else {}
    numbers = {name: table[name].astype(float) for name in law.columns}
    reasons |= {f"{name} not known": np.isnan(values) for name, values in numbers.items()}
    reasons |= {f"{name} of 0": table[name] == 0 for name in law.columns if name not in law.may_be_zero}
    reasons[f"fewer than {min_tokens:,.0f} tokens"] = table["n_tokens"] < min_tokens
    keep, left_out = np.ones(len(table["run"]), dtype=bool), {}
    for reason, bad in reasons.items():
        left_out[reason] = int(np.sum(keep & bad))
        keep &= ~bad
    kept = {name: column[keep] for name, column in table.items()}
    kept = {name: column for name, column in kept.items() if name not in beside or name in TEXT or _known(column)}
    _refuse_impossible(law, kept)
    order = np.lexsort([kept[name] for name in ("loss", *law.columns, "n_tokens", "run")])
    chosen = {name: column[order] if name in TEXT else column[order].astype(float) for name, column in kept.items()}
    return Points(chosen, weights(chosen, weighting), {reason: n for reason, n in left_out.items() if n})


def _known(column: np.ndarray) -> bool:
    return not np.any(np.isnan(np.asarray(column, dtype=float)))


def weights(columns: Columns, weighting: str) -> np.ndarray:
    """The weight of each point, 1 on average."""
    if weighting not in WEIGHTINGS:
        raise FitError(f"No weighting is called {weighting}; there are {', '.join(WEIGHTINGS)}.")
    run = columns["run"]
    if weighting == "points" or not len(run):
        return np.ones(len(run))
    _, index, n_points = np.unique(run, return_inverse=True, return_counts=True)
    equal = len(run) / (len(n_points) * n_points[index])
    if weighting == "runs":
        return equal
    each = equal / scale_of_curves(columns) ** 2
    return each / np.mean(each)


def _refuse_missing(law: type[Law], columns: Columns, names: Collection[str]) -> None:
    missing = [name for name in names if name not in columns]
    if missing:
        raise FitError(f"The {law.title} needs the columns {', '.join(names)}; {', '.join(missing)} is missing.")


def _refuse_impossible(law: type[Law], kept: Columns) -> None:
    for name in (*law.columns, "loss"):
        values = kept[name].astype(float)
        allowed = values >= 0 if name in law.may_be_zero else values > 0
        if name in SHARES:
            allowed &= values < 1
        bad = np.flatnonzero(~(np.isfinite(values) & allowed))
        if bad.size:
            run, tokens = kept["run"][bad[0]], float(kept["n_tokens"][bad[0]])
            needed = "a share below 1 (0.25, not 25)" if name in SHARES else "positive finite numbers"
            raise FitError(
                f"Run {run} has a {name} of {values[bad[0]]:g} at {tokens:,.0f} tokens; "
                f"a fit needs {needed}: leave the run out or measure it again."
            )
