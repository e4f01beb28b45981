"""How far a question lies outside what a fit has seen, and what else speaks against the answer."""

from collections.abc import Mapping
from math import inf

from prunescale.amounts import short
from prunescale.errors import FitError
from prunescale.fitting import Check, Fit, FitStatus
from prunescale.fitting.distance import distance, far
from prunescale.laws import Law

LEVEL = 0.9  # of every interval
WIDE = 2.0  # ends that differ by this factor make an answer shaky
SHARES = {"pruning_rate": 1.0, "sparsity": 1.0}  # inputs that stay below a value
LEVELS, HIGH = ("loss_before", "loss_control"), 2.0  # times the largest fitted: so high a loss is likely none
NATS = "It is to be in nats per token, not a perplexity."

OF_FIT = ("few-runs", "drift", "leans", "weak", "plateau", "below-control", "mixed-methods", "shared-control")
"""Checks of a fit that its answers inherit."""

DOUBTS = {
    FitStatus.AT_BOUND: "at-bound",
    FitStatus.NOT_IDENTIFIED: "not-identified",
    FitStatus.STARTS_DISAGREE: "starts-disagree",
}


def checked_inputs(law: Law, inputs: Mapping[str, float], *, besides: tuple[str, ...] = ("n_tokens",)) -> dict[str, float]:
    """What the law needs besides what is sought, as numbers in their range; an error naming what is missing or impossible."""
    needed = [name for name in law.columns if name not in besides]
    missing = [name for name in needed if name not in inputs]
    if missing:
        raise FitError(f"The {law.title} needs {', '.join(needed)} to plan; {', '.join(missing)} is missing.")
    return {
        name: checked_positive(name, inputs[name], below=SHARES.get(name, inf), zero=name in law.may_be_zero) for name in needed
    }


def checked_positive(name: str, value: float, *, below: float = inf, zero: bool = False) -> float:
    if not (0 < value < below or (zero and value == 0)):
        least = "at least 0" if zero else "above 0"
        raise FitError(f"{name} must be {least} and {'finite' if below == inf else f'below {below:g}'}, got {value:g}.")
    return float(value)


def extrapolation(fit: Fit, asked: Mapping[str, float]) -> dict[str, float]:
    """For each input, the factor by which it lies above the most or below the least that was fitted; 1 within, or just outside."""
    return {name: float(factor) for name, factor in distance(fit.ranges, asked).items()}


def wider(*intervals: tuple[float, float] | None) -> tuple[float, float] | None:
    """Of several intervals of one answer the one whose ends differ by the largest factor; None of none."""
    known = [interval for interval in intervals if interval is not None]
    return max(known, key=lambda ends: ends[1] / ends[0] if ends[0] > 0 else inf, default=None)


def doubts(fit: Fit, asked: Mapping[str, float], spreads: Mapping[str, tuple[float, float] | None]) -> tuple[Check, ...]:
    """A check for each input outside the fitted range, each wide interval, and each doubt about the fit."""
    wide = [
        Check("wide", f"The {LEVEL:.0%} interval of {what} is wide: {short(spread[0])} to {short(spread[1])}.")
        for what, spread in spreads.items()
        if spread and spread[1] > WIDE * spread[0]
    ]
    status = [Check(DOUBTS[fit.status], fit.status.value)] if fit.status in DOUBTS else []
    unknown = "The fit holds no refits to studies that might have been, so the interval of this answer is not known."
    levels = [
        Check(
            "far",
            f"{name} of {asked[name]:g} is {asked[name] / fit.ranges[name][1]:.2g} times the largest that was fitted. {NATS}",
        )
        for name in LEVELS
        if name in fit.ranges and name in asked and asked[name] > HIGH * fit.ranges[name][1]
    ]
    inherited = [check for check in fit.checks if check.code in OF_FIT]
    no_refits = [Check("few-runs", unknown)] if fit.replicates is None else []
    return (*far(fit.ranges, asked), *levels, *wide, *status, *no_refits, *inherited)
