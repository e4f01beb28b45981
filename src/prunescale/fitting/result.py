"""What a fit concluded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from prunescale.fitting.checks import Check
from prunescale.fitting.metrics import Metrics
from prunescale.fitting.points import Points
from prunescale.fitting.replicate import Replicates
from prunescale.laws import Columns, Law

Answer = Callable[[Law], np.ndarray]
"""A number that follows from a law, such as tokens worth spending. The law's constants may be arrays, (studies, 1); so is the answer."""


class FitStatus(Enum):
    """How a fit ended. An impossible fit is an exception; these are the others."""

    CONVERGED = "Of the starts that were followed to their end, enough reached this optimum, and none a better one."
    AT_BOUND = "A constant ended at its bound. The runs may not determine it: add runs that vary what it multiplies, or fix it."
    NOT_IDENTIFIED = (
        "Some constants can change together without changing any prediction for these runs, so their values mean nothing one by "
        "one. Add runs that vary what they multiply, or fix one of them."
    )
    STARTS_DISAGREE = (
        "Fewer than one in ten of the starts that were followed ended at this optimum, so a better one may exist. Fix a constant, "
        "or leave out the points that the law cannot describe, such as those of the warm-up."
    )


@dataclass(frozen=True)
class Fit:
    """A law with the constants that these points gave, how well it fits, and how far to trust it."""

    law: Law
    status: FitStatus
    checks: tuple[Check, ...]

    # What was asked
    objective: str
    weighting: str
    fixed: Mapping[str, float]
    min_tokens: float
    phases: tuple[str, ...] | None

    # What it rests on, and how well it fits
    points: Points
    cost: float  # of the objective: the weighted sum over points of rho(r), r^2 / 2 where rho is a square
    metrics: Metrics

    # How sure it is
    at_bound: tuple[str, ...]
    void: tuple[str, ...]  # constants without effect, as the term that they belong to vanished
    standard_errors: Mapping[str, float | None]  # of free constants; None: not to be had
    share_of_starts: float  # of the starts followed to their end, those that ended here
    replicates: Replicates | None = None  # from `bootstrap`

    @property
    def law_name(self) -> str:
        return self.law.name

    @property
    def n_points(self) -> int:
        return len(self.points.loss)

    @property
    def n_runs(self) -> int:
        return self.points.n_runs

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Least and largest of each input used, and of the loss."""
        names = (*self.law.columns, "loss")
        return {name: (float(np.min(self.points.columns[name])), float(np.max(self.points.columns[name]))) for name in names}

    def predict(self, columns: Columns) -> np.ndarray:
        """The loss of each row, nats per token."""
        return self.law.predict(columns)

    def spread(self) -> Law | None:
        """The law of every study that might have been, its constants (studies, 1), or None before `bootstrap`."""
        if self.replicates is None:
            return None
        columns = np.moveaxis(self.replicates.constants, -1, 0)[:, :, None]
        return self.law.from_constants(dict(zip(self.law.bounds, columns, strict=True)))

    def interval(self, answer: str | Answer, level: float = 0.9) -> tuple[float, float] | None:
        """Between these lies a constant, by name, or an answer in this share of studies; None before `bootstrap`."""
        law = self.spread()
        if law is None:
            return None
        values = getattr(law, answer) if isinstance(answer, str) else answer(law)
        # An answer may be infinite in some studies: the nearest rank keeps it so, where interpolation would make it nan.
        low, high = np.quantile(np.ravel(values), [(1 - level) / 2, (1 + level) / 2], method="nearest")
        return float(low), float(high)
