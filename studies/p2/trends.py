"""What the curves say without any law: how the excess of a pruned model over its control depends on the rate, the size and the tokens.

Excesses are over the loss of the control after the same tokens in the same phase, nats per token.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from prunescale.runs import Run
from studies.p2.answers import METHODS, control_of, seed

Interval = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """A pruned model after so many tokens, in one phase: its excess, and the loss of its control. rate: as it was asked for, by which runs
    of different sizes are compared; pruned: as it came."""

    size: int
    method: str
    rate: float
    pruned: float
    n_tokens: np.ndarray
    excess: np.ndarray
    control: np.ndarray

    def at(self, n_tokens: float) -> float:
        """The excess, between two measurements by a power law."""
        return float(np.exp(np.interp(np.log(n_tokens), np.log(self.n_tokens), np.log(self.excess))))

    def relative(self, n_tokens: float) -> float:
        """The same over the control's loss."""
        return self.at(n_tokens) / float(np.interp(np.log(n_tokens), np.log(self.n_tokens), self.control))

    def tokens_to(self, excess: float) -> float | None:
        """When it falls to so much; None where it does not within what was measured."""
        below = np.flatnonzero(self.excess <= excess)
        if not len(below) or below[0] == 0:
            return None
        part = slice(below[0] - 1, below[0] + 1)
        return float(np.exp(np.interp(-np.log(excess), -np.log(self.excess[part]), np.log(self.n_tokens[part]))))

    def exponent(self, first: float, last: float) -> float:
        """b of an excess that falls as D^-b, between two token counts."""
        return float(np.log(self.at(first) / self.at(last)) / np.log(last / first))


def curves(runs: Sequence[Run], phase: str = "constant") -> list[Curve]:
    """Of all pruned runs with the first order of the data that have a control; points without an excess are left out."""
    found = []
    names = {does: name for name, does in METHODS.items()}
    for run in runs:
        control = control_of(run, runs)
        if run.pruning_method not in names or control is None or seed(run):
            continue
        of_control = {point.n_tokens: point.loss for point in control.points if point.phase == phase}
        points = [
            (point.n_tokens, point.loss - of_control[point.n_tokens], of_control[point.n_tokens])
            for point in run.points
            if point.phase == phase and point.n_tokens in of_control
        ]
        n_tokens, excess, loss = np.array(points).T
        kept = excess > 0
        found.append(
            Curve(
                run.n_params_before or 0,
                names[run.pruning_method],
                wanted_rate(run),
                run.pruning_rate or 0.0,
                n_tokens[kept],
                excess[kept],
                loss[kept],
            )
        )
    return sorted(found, key=lambda curve: (curve.method, curve.rate, curve.size))


def wanted_rate(run: Run) -> float:
    """The rate that the recipe asks for; half of the weights where it is 2:4."""
    return float(run.recipe.get("prune", {}).get("rate") or 0.5)


@dataclass(frozen=True)
class Slope:
    """Of a logarithm over another, with its 90 % interval by Student's t; None where two points make the line. r2: of the logarithms."""

    value: float
    interval: Interval | None
    r2: float
    n: int


def slope(x: Sequence[float], y: Sequence[float]) -> Slope | None:
    """Of log y over log x by least squares; None for fewer than two."""
    if len(set(x)) < 2:
        return None
    line = stats.linregress(np.log(x), np.log(y))
    within = None
    if len(x) > 2:
        half = float(stats.t.ppf(0.95, len(x) - 2)) * line.stderr
        within = (line.slope - half, line.slope + half)
    return Slope(float(line.slope), within, float(line.rvalue**2), len(x))


def over_sizes(some: Sequence[Curve], what: str, value: float) -> Slope | None:
    """How `excess` or `relative` at so many tokens, or the `tokens` to so much excess, go with the size."""
    of = {"excess": Curve.at, "relative": Curve.relative, "tokens": Curve.tokens_to}[what]
    pairs = [(curve.size, found) for curve in some if (found := of(curve, value)) is not None]
    return slope([size for size, _ in pairs], [found for _, found in pairs])


def over_rates(some: Sequence[Curve], n_tokens: float) -> Slope | None:
    """How the relative excess at so many tokens goes with the rate."""
    return slope([curve.rate for curve in some], [curve.relative(n_tokens) for curve in some])
