"""How far points lie outside what was fitted, in each input."""

from collections.abc import Mapping

import numpy as np

from prunescale.amounts import short
from prunescale.fitting.checks import Check

ADDED = ("loss", "loss_before", "loss_control")  # a law adds these to the rest and says the same of it at any value of them
SAME = 1.01  # rates that whole blocks allow differ this little between sizes; within it nothing counts as outside


def ranges(columns: Mapping[str, np.ndarray], names: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Least and largest of each of these columns."""
    return {name: (float(np.min(columns[name])), float(np.max(columns[name]))) for name in names}


def distance(
    fitted: Mapping[str, tuple[float, float]], asked: Mapping[str, np.ndarray] | Mapping[str, float]
) -> dict[str, np.ndarray]:
    """For each input in both, the factor by which each value lies above the largest or below the least fitted; 1 within or nearly."""
    found = {}
    for name in fitted:
        if name in asked and name not in ADDED:
            low, high = fitted[name]
            factor = np.maximum(_times(asked[name], high), _times(low, asked[name]))
            found[name] = np.where(factor > SAME, factor, 1.0)
    return found


def far(fitted: Mapping[str, tuple[float, float]], asked: Mapping[str, float]) -> tuple[Check, ...]:
    """A check for each input in which one point lies outside, with the factor."""
    found = []
    for name, factor in distance(fitted, asked).items():
        if factor > 1:
            (low, high), value = fitted[name], float(asked[name])
            where = "above the most" if value > high else "below the least"
            text = f"{name} of {short(value)} is {short(float(factor))} times {where} that was fitted ({short(low)} to {short(high)})."
            found.append(Check("far", text))
    return tuple(found)


def _times(larger: np.ndarray | float, smaller: np.ndarray | float) -> np.ndarray:
    """Their ratio; of nothing to anything at all 0, and of anything to nothing infinite: a rate of 0 is any number of times lower."""
    top, bottom = np.broadcast_arrays(np.asarray(larger, dtype=float), np.asarray(smaller, dtype=float))
    otherwise = np.where(top > 0, np.inf, 0.0)
    return np.divide(top, bottom, out=otherwise, where=bottom > 0)
