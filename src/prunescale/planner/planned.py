"""A sweep that nobody has run yet: its runs and points as columns, what is assumed of it, and what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod

import numpy as np

from prunescale.errors import FitError
from prunescale.laws import Columns, Law
from prunescale.planner.noise import Noise
from prunescale.planner.optimum import FLOPS_PER_PARAMETER
from prunescale.planner.trust import SHARES


@dataclass(frozen=True, eq=False)
class Planned:
    """The columns that the law needs and `run`, a row for each point that will be measured.

    law: the constants that are assumed to be the true ones. fixed: those that the fit will be given.
    """

    law: Law
    columns: Columns
    noise: Noise = field(default_factory=Noise)
    fixed: Mapping[str, float] = field(default_factory=dict)
    objective: str = "squared"

    def __post_init__(self) -> None:
        for name, value in {**self.law.constants(), **self.fixed}.items():
            _refuse_outside(self.law, name, float(value))
        missing = [name for name in ("run", *self.law.columns) if name not in self.columns]
        if missing:
            raise FitError(f"A sweep planned for the {self.law.title} needs the columns {', '.join(missing)} too.")
        if not self.n_points:
            raise FitError("The sweep that is planned has no points.")
        for name in self.law.columns:
            _refuse_impossible(self.law, name, np.asarray(self.columns[name], dtype=float))

    @property
    def n_points(self) -> int:
        return len(self.columns["run"])

    @property
    def n_runs(self) -> int:
        return len(np.unique(self.columns["run"]))

    @property
    def n_tokens(self) -> float:
        """Tokens to train on in all: each run to its last point; 0 where the law knows no tokens."""
        return float(np.sum(self._ends()[0]))

    @property
    def flops(self) -> float | None:
        """6 N D, summed over runs, N the law's own count of parameters less what pruning removes; None where it counts none."""
        size = size_column(type(self.law))
        if size is None:
            return None
        tokens, rows = self._ends()
        kept = 1 - self.columns["pruning_rate"][rows] if "pruning_rate" in self.law.columns else 1.0
        return float(np.sum(FLOPS_PER_PARAMETER * self.columns[size][rows] * kept * tokens))

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Tokens at the end of each run, and a row of each."""
        _, rows, index = np.unique(self.columns["run"], return_index=True, return_inverse=True)
        tokens = np.zeros(len(rows))
        np.maximum.at(tokens, index, np.asarray(self.columns.get("n_tokens", np.zeros(len(index)))))
        return tokens, rows


def size_column(law: type[Law]) -> str | None:
    """The column in which a law counts parameters."""
    return next((name for name in law.columns if name.startswith("n_params")), None)


GIVEN = ("loss_before", "loss_control", "pruning_rate")
"""What a law of a pruned model is told of the model before, which is another at each size."""


def size_of_best(law: Law) -> str:
    """The column of the size that can be best by a law. Raises FitError where none can."""
    size = size_column(type(law))
    if size is None or "n_tokens" not in law.columns:
        raise FitError(f"The {law.title} is no law of a size and tokens, so there is no best size by it.")
    if given := [name for name in GIVEN if name in law.columns]:
        raise FitError(
            f"The {law.title} reads {' and '.join(given)} of a model that is trained already, which are others at each size, so there is "
            "no best size by it: ask a law of models from nothing, such as hoffmann, or plan each size by itself (--n-params-before)."
        )
    return size


MOST_POINTS = 5_000_000
"""Of a planned sweep: all of them are held in memory, some hundred times over in studies."""


def crossed(
    values: Mapping[str, Sequence[float]], tokens: Sequence[float] | np.ndarray | None = None, *, n_seeds: int = 1
) -> dict[str, np.ndarray]:
    """A run for each combination of these values, so many times over, each measured after all these tokens."""
    n_each = 1 if tokens is None else len(tokens)
    n_points = prod(map(len, values.values())) * n_seeds * n_each
    if n_points > MOST_POINTS:
        raise FitError(
            f"The sweep has {n_points:,} points, and {MOST_POINTS:,} are the most that is planned with: ask for fewer."
        )
    combinations = list(product(*values.values(), range(n_seeds)))
    table = np.repeat(np.array(combinations, dtype=float), n_each, axis=0)
    columns = {name: table[:, index] for index, name in enumerate(values)}
    if tokens is not None:
        columns["n_tokens"] = np.tile(np.asarray(tokens, dtype=float), len(combinations))
    return columns | {"run": np.repeat([f"run {number:04d}" for number in range(len(combinations))], n_each)}


def _refuse_impossible(law: Law, name: str, values: np.ndarray) -> None:
    top = SHARES.get(name, np.inf)
    possible = ((values > 0) | ((values == 0) & (name in law.may_be_zero))) & (values < top)
    if not possible.all():
        least = "at least 0" if name in law.may_be_zero else "above 0"
        most = "finite" if np.isinf(top) else f"below {top:g}"
        raise FitError(f"A planned {name} must be {least} and {most}, got {values[~possible][0]:g}.")


def _refuse_outside(law: Law, name: str, value: float) -> None:
    if name not in law.bounds:
        raise FitError(f"The {law.title} has no constant {name}; it has {', '.join(law.bounds)}.")
    bound = law.bounds[name]
    if not (bound.low <= value <= bound.high or (bound.log and value == 0)):
        raise FitError(f"{name} is {value:g}, outside its bounds {bound.low:g} to {bound.high:g}.")
