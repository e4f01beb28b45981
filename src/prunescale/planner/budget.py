"""How many tokens are worth their cost.

The rule is on the gain still to be had, not on the level: train until the next doubling of the tokens, or the next GPU-hour,
lowers the loss by less than a stated number of nats.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from math import inf

import numpy as np

from prunescale.fitting import Answer, Check, Fit
from prunescale.laws import Law
from prunescale.planner.gain import SECONDS_PER_HOUR, Gain, doubling_gain, hour_gain, loss_at, tokens_worth
from prunescale.planner.trust import LEVEL, checked_inputs, checked_positive, doubts, extrapolation, wider

FARTHEST = 1e6  # times the longest run fitted: no answer is sought beyond


class BudgetStatus(Enum):
    """What the number of tokens in a budget means."""

    FOUND = "At this number of tokens the next step's gain falls to the least gain asked for."
    BELOW_FROM_START = (
        "Already at the fewest tokens that the fit has seen the next step gains less than asked for: this many tokens or fewer."
    )
    NEVER_BELOW = (
        "The next step gains more than asked for even at a million times the longest run fitted: as many tokens as can be had. "
        "Ask for a larger gain to get a number."
    )


@dataclass(frozen=True)
class Budget:
    """The tokens after which training is no longer worth it, and how far to trust that number. Losses in nats per token."""

    status: BudgetStatus
    step: str  # "doubling" or "GPU-hour"
    min_gain: float
    tokens: float
    loss: float
    gain: float  # of the step after these tokens
    hours: float | None  # GPU-hours to get there, where the speed is given
    tokens_interval: tuple[float, float] | None  # 90 %, over the fit's studies that might have been
    tokens_profile: tuple[float, float] | None  # 90 %, by profile likelihood; an end that nothing bounds is inf
    loss_interval: tuple[float, float] | None  # 90 %, of the loss at `tokens`
    extrapolation: Mapping[str, float]  # factor by which each input and the tokens lie outside what was fitted; 1 within
    checks: tuple[Check, ...]


def plan(
    fit: Fit, inputs: Mapping[str, float], min_gain: float, *, tokens_per_second: float | None = None, profiled: bool = False
) -> Budget:
    """Tokens worth their cost for the model that `inputs` describes by the law's column names.

    Without `tokens_per_second` the step is a doubling of the tokens; with it, the speed of one GPU, it is a GPU-hour. The
    fit's refits, where it has any, give the intervals; `profiled` adds those by profile likelihood, which need SciPy.
    """
    inputs, min_gain = checked_inputs(fit.law, inputs), checked_positive("The least gain", min_gain)
    step, gain = _step(tokens_per_second)
    between = (fit.ranges["n_tokens"][0], FARTHEST * fit.ranges["n_tokens"][1])

    def worth(law: Law) -> np.ndarray:
        return tokens_worth(law, inputs, min_gain, gain, between=between)

    def worth_anywhere(law: Law) -> np.ndarray:
        return tokens_worth(law, inputs, min_gain, gain, between=(between[0] / FARTHEST, between[1] * FARTHEST))

    tokens = float(worth(fit.law))
    tokens_interval = fit.interval(worth, LEVEL)
    tokens_profile = _profile(fit, worth_anywhere, between) if profiled else None
    spreads = {"the tokens worth their cost": wider(tokens_interval, tokens_profile)}
    return Budget(
        status=_status(tokens, between),
        step=step,
        min_gain=min_gain,
        tokens=tokens,
        loss=float(loss_at(fit.law, tokens, **inputs)),
        gain=float(gain(fit.law, inputs, np.asarray(tokens))),
        hours=None if tokens_per_second is None else tokens / tokens_per_second / SECONDS_PER_HOUR,
        tokens_interval=tokens_interval,
        tokens_profile=tokens_profile,
        loss_interval=fit.interval(lambda law: loss_at(law, tokens, **inputs), LEVEL),
        extrapolation=extrapolation(fit, {**inputs, "n_tokens": tokens}),
        checks=doubts(fit, {**inputs, "n_tokens": tokens}, spreads),
    )


def _profile(fit: Fit, worth: Answer, between: tuple[float, float]) -> tuple[float, float]:
    """The interval by profile likelihood; an end beyond where answers are sought is open. `worth` is sought farther: at the end of a
    search an answer does not move, and nothing would be learnt of how far it may be off."""
    from prunescale.fitting.likelihood import profile

    found = profile(fit, worth, level=LEVEL, log=True)
    return (found.low if found.low > between[0] else 0.0, found.high if found.high < between[1] else inf)


def _step(tokens_per_second: float | None) -> tuple[str, Gain]:
    if tokens_per_second is None:
        return "doubling", doubling_gain
    speed = checked_positive("The speed in tokens per second", tokens_per_second)
    return "GPU-hour", partial(hour_gain, tokens_per_second=speed)


def _status(tokens: float, between: tuple[float, float]) -> BudgetStatus:
    at_ends = {between[0]: BudgetStatus.BELOW_FROM_START, between[1]: BudgetStatus.NEVER_BELOW}
    return at_ends.get(tokens, BudgetStatus.FOUND)
