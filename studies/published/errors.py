"""How far a law is from points, seen or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from prunescale.fitting import Fit, fit
from prunescale.laws import Columns, Law
from studies.published.read import keep


@dataclass(frozen=True)
class Errors:
    """Relative errors of the loss, predicted above measured positive: root mean square, mean absolute, and mean."""

    n_points: int
    rms: float
    mean: float
    bias: float


def relative(law: Law, columns: Columns) -> np.ndarray:
    """predicted / measured - 1 at each point."""
    return law.predict(columns) / columns["loss"] - 1


def errors(law: Law, columns: Columns) -> Errors:
    error = relative(law, columns)
    return Errors(len(error), float(np.sqrt(np.mean(error**2))), float(np.mean(np.abs(error))), float(np.mean(error)))


def held_out(law: type[Law], columns: Mapping[str, np.ndarray], out: np.ndarray, **asked: Any) -> tuple[Fit, Errors]:
    """The fit without the points that are `out`, and its errors on those."""
    found = fit(law, keep(columns, ~out), **asked)
    return found, errors(found.law, keep(columns, out))
