"""What a fit concluded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from prunescale.laws import Columns, Law


class FitStatus(Enum):
    """How a fit ended. An impossible fit is an exception; these are the others."""

    CONVERGED = "Of the starts that were followed to their end, enough reached this optimum, and none a better one."
    AT_BOUND = "A constant ended at its bound. The runs may not determine it: add runs that vary what it multiplies, or fix it."
    NOT_IDENTIFIED = (
        "Some constants can change together without changing any prediction for these runs, so their values mean nothing one by "
        "one. Add runs that vary what they multiply, or fix one of them."
    )
    STARTS_DISAGREE = (
        "Fewer than one in ten of the starts that were followed ended at this optimum, so a better one may exist. Follow more "
        "starts, fix a constant, or leave out the points that the law cannot describe, such as those of the warm-up."
    )


@dataclass(frozen=True)
class Refit:
    """The law fitted again without one run."""

    left_out: str
    law: Law


@dataclass(frozen=True)
class Fit:
    """A law with the constants that these points gave, how well it fits, and how far to trust it."""

    law: Law
    status: FitStatus
    notes: tuple[str, ...]

    # What was asked
    objective: str
    fixed: Mapping[str, float]
    min_tokens: float
    phases: tuple[str, ...] | None

    # What it rests on
    n_points: int
    n_runs: int
    left_out: Mapping[str, int]  # points not used, by reason
    ranges: Mapping[str, tuple[float, float]]  # least and largest of each column used

    # How well it fits; units in metrics.Metrics
    r2: float | None
    r2_excess: float | None
    rmse: float
    huber: float
    asd: float | None

    # How sure it is
    standard_errors: Mapping[str, float | None]  # of free constants, points taken as independent: a lower limit
    share_of_starts: float  # of the starts followed to their end, those that ended here
    refits: tuple[Refit, ...] = field(default=())  # from jackknife
    refits_skipped: Mapping[str, str] = field(default_factory=dict)  # run whose absence leaves constants open: why

    @property
    def law_name(self) -> str:
        return self.law.name

    def predict(self, columns: Columns) -> np.ndarray:
        """The loss of each row, nats per token."""
        return self.law.predict(columns)

    def refit_ranges(self) -> dict[str, tuple[float, float]]:
        """Least and largest value of each constant over the refits: a leave-one-run-out range, no confidence interval."""
        values = [refit.law.constants() for refit in self.refits]
        return {name: (min(v[name] for v in values), max(v[name] for v in values)) for name in self.law.bounds} if values else {}
