"""A point beyond the runs, such as a plan asks about: there laws part that agree where there were measurements."""

from dataclasses import replace

import numpy as np

from prunescale.fitting.holdout import RATES, SIZES, at_highest
from prunescale.fitting.points import Points

TOKENS = 10  # times the most tokens of any run


def edge(points: Points) -> dict[str, np.ndarray]:
    """One row of columns: the largest model's run of the highest rate, with ten times the most tokens."""
    for names in (SIZES, RATES):
        points = _some(points, at_highest(points, names)) if any(name in points.columns for name in names) else points
    last = int(np.argmax(points.columns["n_tokens"]))
    row = {
        name: column[last : last + 1] for name, column in points.columns.items() if column.dtype.kind == "f" and name != "loss"
    }
    return row | {"n_tokens": row["n_tokens"] * TOKENS}


def _some(points: Points, keep: np.ndarray) -> Points:
    return replace(points, columns={name: column[keep] for name, column in points.columns.items()}, weight=points.weight[keep])
