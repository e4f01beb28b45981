"""What more tokens gain, and where that falls below a given gain."""

from collections.abc import Callable, Mapping
from functools import partial
from math import exp, log

from prunescale.laws import Law

Gain = Callable[[Law, Mapping[str, float], float], float]

FEWEST, MOST = 1.0, 1e18  # tokens between which an answer is sought unless the caller says otherwise
SECONDS_PER_HOUR = 3600
HALVINGS = 100  # of an interval of log tokens: more than a double can tell apart


def loss_at(law: Law, n_tokens: float, **inputs: float) -> float:
    """Predicted loss after these tokens, nats per token."""
    return float(law.loss(n_tokens=n_tokens, **inputs))


def doubling_gain(law: Law, inputs: Mapping[str, float], n_tokens: float) -> float:
    """Nats by which the loss falls from these tokens to twice as many."""
    return loss_at(law, n_tokens, **inputs) - loss_at(law, 2 * n_tokens, **inputs)


def hour_gain(law: Law, inputs: Mapping[str, float], n_tokens: float, *, tokens_per_second: float) -> float:
    """Nats by which the loss falls in the GPU-hour after these tokens, at this speed of one GPU."""
    return loss_at(law, n_tokens, **inputs) - loss_at(law, n_tokens + SECONDS_PER_HOUR * tokens_per_second, **inputs)


def tokens_worth(
    law: Law, inputs: Mapping[str, float], min_gain: float, gain: Gain, *, between: tuple[float, float] = (FEWEST, MOST)
) -> float:
    """Tokens after which the next step gains less than `min_gain` nats; an end of `between` where no step does, or every one.

    By bisection on log tokens: the gain falls with the tokens in every law here.
    """
    low, high = between
    if gain(law, inputs, low) < min_gain:
        return low
    if gain(law, inputs, high) >= min_gain:
        return high
    for _ in range(HALVINGS):
        middle = exp((log(low) + log(high)) / 2)
        low, high = (middle, high) if gain(law, inputs, middle) >= min_gain else (low, middle)
    return high


def tokens_worth_doubling(law: Law, inputs: Mapping[str, float], min_gain: float) -> float:
    """Tokens after which the next doubling gains less than `min_gain` nats."""
    return tokens_worth(law, inputs, min_gain, doubling_gain)


def tokens_worth_hour(law: Law, inputs: Mapping[str, float], min_gain: float, tokens_per_second: float) -> float:
    """Tokens after which the next GPU-hour, at this speed of one GPU, gains less than `min_gain` nats."""
    return tokens_worth(law, inputs, min_gain, partial(hour_gain, tokens_per_second=tokens_per_second))
