"""What each curve says of its own end, without any law of many runs: the least that such a law must beat."""

from collections.abc import Callable

import numpy as np

from prunescale.fitting.linear import non_negative
from prunescale.fitting.points import Points

EXPONENTS = np.geomspace(0.01, 3.0, 300)  # 2 % apart
FOUR = 4  # points needed for E + B D^-b, which has three constants
THREE = 3  # points at the end of a curve that say how it falls there
END = 1.75  # the factor of tokens within which points are of the end

Baseline = Callable[[Points, np.ndarray, str | None], np.ndarray]
"""Points, those held out, and the column that an excess is over: the loss predicted for every point."""


def power_law_of_each(points: Points, held: np.ndarray, over: str | None) -> np.ndarray:
    """Excess = c D^-b, fitted to each run's own by least squares on the logarithms; E + B D^-b where there is no excess.

    A run with too few points for it, or without a point of positive excess, goes on at its last value.
    """
    predicted = last_value(points, held, over)
    for number in range(points.n_runs):
        here = points.run_index == number
        seen, n_tokens = here & ~held, points.columns["n_tokens"]
        if over is None:
            if np.sum(seen) >= FOUR:
                predicted[here] = _with_floor(n_tokens[seen], points.loss[seen], n_tokens[here])
            continue
        bottom = points.columns[over]
        above = seen & (points.loss > bottom)
        if len(np.unique(n_tokens[above])) >= 2:
            slope, offset = np.polyfit(np.log(n_tokens[above]), np.log((points.loss - bottom)[above]), 1)
            predicted[here] = bottom[here] + np.exp(offset + slope * np.log(n_tokens[here]))
    return predicted


def power_law_of_ends(points: Points, held: np.ndarray, over: str | None) -> np.ndarray:
    """Excess = c D^-b through the end of what was seen of each run (`end_power_law`); of the loss itself where there is no excess.

    A curve that bends in the logarithms goes on as it ends and not as it was on average. A run with fewer than three points, or one
    of its last without an excess, goes on at its last value.
    """
    predicted = last_value(points, held, over)
    bottom = np.zeros(len(points.loss)) if over is None else points.columns[over]
    n_tokens, excess = points.columns["n_tokens"], points.loss - bottom
    for number in range(points.n_runs):
        here = points.run_index == number
        seen = here & ~held
        if found := end_power_law(n_tokens[seen], excess[seen]):
            factor, exponent = found
            predicted[here & held] = (bottom + factor * n_tokens**-exponent)[here & held]
    return predicted


def end_power_law(n_tokens: np.ndarray, excess: np.ndarray) -> tuple[float, float] | None:
    """c and b of c D^-b by least squares on the logarithms of the last three points, or of all within END of the last where those are
    more: many points close together say little of a slope. None where they are fewer, or one of them has no excess."""
    n_end = max(THREE, int(np.sum(n_tokens >= np.max(n_tokens, initial=0.0) / END)))
    last = np.argsort(n_tokens)[-n_end:]
    n_tokens, excess = n_tokens[last], excess[last]
    if len(np.unique(n_tokens)) < THREE or not np.all(excess > 0):
        return None
    slope, offset = np.polyfit(np.log(n_tokens), np.log(excess), 1)
    return float(np.exp(offset)), float(-slope)


def last_value(points: Points, held: np.ndarray, over: str | None) -> np.ndarray:
    """The last loss seen of each run carried on; the losses themselves where they were seen."""
    predicted = points.loss.copy()
    for number in range(points.n_runs):
        here = points.run_index == number
        seen = np.flatnonzero(here & ~held)
        if len(seen):
            predicted[here & held] = points.loss[seen[-1]]
    return predicted


BASELINES: dict[str, Baseline] = {
    "power law of each curve": power_law_of_each,
    "power law of each end": power_law_of_ends,
    "last value carried on": last_value,
}


def _with_floor(seen_tokens: np.ndarray, seen_loss: np.ndarray, n_tokens: np.ndarray) -> np.ndarray:
    """E + B D^-b with neither negative: b from a grid and then a finer one, the rest by linear least squares."""
    unit, exponents = seen_tokens[-1], EXPONENTS
    for _ in range(2):
        decay = (seen_tokens / unit) ** -exponents[:, None]
        factors, left = non_negative(np.stack([np.ones_like(decay), decay], axis=1), seen_loss, np.ones(len(seen_loss)))
        best = int(np.argmin(left))
        (E, B), b = factors[best], exponents[best]
        exponents = np.linspace(exponents[max(best - 1, 0)], exponents[min(best + 1, len(exponents) - 1)], 201)
    return E + B * (n_tokens / unit) ** -b
