"""How a run under way goes on, from its own curve alone, and when to stop it.

Curves bend, each in its own way, so that the end of one says more of how it goes on than a law of many runs (studies/p2). How far to
believe that, the curve tells itself: its later points are told from its earlier ones in the same way.
"""

from dataclasses import dataclass, replace

import numpy as np

from prunescale.errors import FitError
from prunescale.fitting.curve_alone import end_power_law
from prunescale.fitting.likelihood import student
from prunescale.planner.budget import FARTHEST
from prunescale.planner.trust import LEVEL, checked_positive

APART = 1.25  # times the tokens from one point at which a curve is tried to the next
FEWEST = 4  # points: three for the end, and one to try it on


@dataclass(frozen=True)
class Onward:
    """excess = factor D^-exponent, nats per token over whatever it is over, from `n_tokens` on.

    wobble: root mean square of the errors of the exponent with which earlier ends of the curve told its later points, `n_tried` times,
    of `n_points` points.
    """

    n_tokens: float
    factor: float
    exponent: float
    wobble: float
    n_tried: int
    n_points: int

    @property
    def exponents(self) -> tuple[float, float]:
        """The 90 % interval of the exponent, by Student's t for as many points as it was tried on."""
        spread = student(LEVEL, self.n_points) * self.wobble
        return self.exponent - spread, self.exponent + spread

    @property
    def excess(self) -> float:
        """Of the curve where it ends now."""
        return self.factor * self.n_tokens**-self.exponent

    def at(self, n_tokens: float) -> float:
        """The excess after so many tokens."""
        return self._at(n_tokens, self.exponent)

    def interval_at(self, n_tokens: float) -> tuple[float, float]:
        """The 90 % interval of it, from nothing at the end of the curve to ever more beyond."""
        low, high = sorted(self._at(n_tokens, exponent) for exponent in self.exponents)
        return low, high

    def worth(self, min_gain: float) -> float:
        """The tokens from which on a doubling lowers the excess by less than `min_gain`; those that it has had where it does so already,
        and at most FARTHEST times these. Raises FitError for a gain that is not positive."""
        return self._worth(checked_positive("The least gain", min_gain), self.exponent)

    def worth_interval(self, min_gain: float) -> tuple[float, float]:
        """The 90 % interval of that, for the exponent and for the level of the end, if the curve goes on as a power law: with a floor under
        it the answer is less."""
        answers = [
            replace(self, factor=self.factor * level)._worth(min_gain, exponent)
            for exponent in np.linspace(*self.exponents, 101)
            for level in self.levels
        ]
        return min(answers), max(answers)

    @property
    def levels(self) -> tuple[float, float]:
        """Between which the excess at the end lies with 90 %, in what was measured: two points an exponent is told from differ by their
        errors over the logarithm of what lies between."""
        spread = student(LEVEL, self.n_points) * self.wobble * np.log(APART) / np.sqrt(2)
        return float(np.exp(-spread)), float(np.exp(spread))

    def _at(self, n_tokens: float, exponent: float) -> float:
        return self.excess * (n_tokens / self.n_tokens) ** -exponent

    def _worth(self, min_gain: float, exponent: float) -> float:
        gain = self.excess * (1 - 2.0**-exponent)  # of the next doubling
        if gain <= min_gain:
            return self.n_tokens
        times = np.log(gain / min_gain) / exponent  # of the logarithm, which does not overflow
        return self.n_tokens * float(np.exp(min(times, np.log(FARTHEST))))


def onward(n_tokens: np.ndarray, excess: np.ndarray) -> Onward:
    """How a curve goes on: tokens and excess of its points at the constant learning rate, at least four. Raises FitError for fewer, and
    for an end without an excess."""
    order = np.argsort(n_tokens)
    n_tokens, excess = np.asarray(n_tokens, dtype=float)[order], np.asarray(excess, dtype=float)[order]
    if len(n_tokens) < FEWEST:
        raise FitError(
            f"The run has {len(n_tokens)} points at the constant rate with an excess known, and {FEWEST} are needed: measure more often."
        )
    found = end_power_law(n_tokens, excess)
    if found is None:
        raise FitError("The end of the run has no excess: there is nothing left to win back by this measure.")
    factor, exponent = found
    errors, n_points = tried(n_tokens, excess)
    if not len(errors):
        raise FitError("The run has too few points before its end to try how far its end can be believed: measure more often.")
    return Onward(float(n_tokens[-1]), factor, exponent, float(np.sqrt(np.mean(errors**2))), len(errors), n_points)


def tried(n_tokens: np.ndarray, excess: np.ndarray) -> tuple[np.ndarray, int]:
    """The errors of the exponent with which each earlier end of a curve tells its later points: what it should have been to meet a point,
    less what it was; and how many points were told."""
    places = spaced(n_tokens)
    errors, told_of = [], set()
    for last in places:
        found = end_power_law(n_tokens[: last + 1], excess[: last + 1])
        for later in places[places > last]:
            if found and excess[later] > 0:
                factor, exponent = found
                told = factor * n_tokens[later] ** -exponent
                told_of.add(int(later))
                errors.append(np.log(told / excess[later]) / np.log(n_tokens[later] / n_tokens[last]))
    return np.array(errors), len(told_of)


def spaced(n_tokens: np.ndarray) -> np.ndarray:
    """Which points lie APART, from the last backwards."""
    kept: list[int] = []
    for place in range(len(n_tokens) - 1, -1, -1):
        if not kept or n_tokens[place] * APART <= n_tokens[kept[-1]]:
            kept.append(place)
    return np.array(kept[::-1])
