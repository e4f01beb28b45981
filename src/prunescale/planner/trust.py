"""How far a question lies outside what a fit has seen, and what else speaks against the answer."""

from collections.abc import Mapping, Sequence
from math import inf

from prunescale.amounts import short
from prunescale.errors import FitError
from prunescale.fitting import Fit, FitStatus

NOT_EXTRAPOLATED = ("loss_before",)  # it is added, not scaled by: the law says the same at any value
WIDE = 2.0  # refits that differ by this factor make an answer shaky
SAME = 1.01  # rates that whole blocks allow differ this little between sizes; within it nothing counts as outside


def checked_inputs(fit: Fit, inputs: Mapping[str, float]) -> dict[str, float]:
    """What the law needs besides the tokens, as positive numbers; an error naming what is missing or impossible."""
    needed = [name for name in fit.law.columns if name != "n_tokens"]
    missing = [name for name in needed if name not in inputs]
    if missing:
        raise FitError(f"The {fit.law.title} needs {', '.join(needed)} to plan; {', '.join(missing)} is missing.")
    return {name: checked_positive(name, inputs[name], below=1 if name == "pruning_rate" else inf) for name in needed}


def checked_positive(name: str, value: float, *, below: float = inf) -> float:
    if not 0 < value < below:
        raise FitError(f"{name} must be above 0 and {'finite' if below == inf else f'below {below:g}'}, got {value:g}.")
    return float(value)


def extrapolation(fit: Fit, asked: Mapping[str, float]) -> dict[str, float]:
    """For each input, the factor by which it lies above the most or below the least that was fitted; 1 within, or just outside."""
    scaled = [name for name in asked if name not in NOT_EXTRAPOLATED]
    factors = {name: max(asked[name] / fit.ranges[name][1], fit.ranges[name][0] / asked[name]) for name in scaled}
    return {name: factor if factor > SAME else 1.0 for name, factor in factors.items()}


def warnings(fit: Fit, asked: Mapping[str, float], spreads: Mapping[str, tuple[float, float] | None]) -> tuple[str, ...]:
    """A sentence for each input outside the fitted range, each wide spread over the refits, and each doubt about the fit."""
    outside = [_outside(fit, name, asked[name], factor) for name, factor in extrapolation(fit, asked).items() if factor > 1]
    wide = [
        f"Leaving out one run moves {what} between {short(spread[0])} and {short(spread[1])}."
        for what, spread in spreads.items()
        if spread and spread[1] > WIDE * spread[0]
    ]
    doubts = [] if fit.status is FitStatus.CONVERGED else [fit.status.value]
    unknown = [] if fit.refits else ["The fit holds no refits without one run, so the spread of this answer is not known."]
    return (*outside, *wide, *doubts, *unknown)


def ends(values: Sequence[float]) -> tuple[float, float] | None:
    """The least and the largest; None of nothing."""
    return (min(values), max(values)) if values else None


def _outside(fit: Fit, name: str, value: float, factor: float) -> str:
    low, high = fit.ranges[name]
    where = "above the most" if value > high else "below the least"
    return f"{name} of {short(value)} is {short(factor)} times {where} that was fitted ({short(low)} to {short(high)})."
