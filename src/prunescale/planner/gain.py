"""What more tokens gain, and where that falls below a given gain.

A law's constants may be arrays, (studies, 1), here as everywhere: the answer is then one for each study.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from prunescale.laws import Law

Gain = Callable[[Law, Mapping[str, float], np.ndarray], np.ndarray]

FEWEST, MOST = 1.0, 1e18  # tokens between which an answer is sought unless the caller says otherwise
SECONDS_PER_HOUR = 3600
N_LOOKS = 193  # places between the ends: apart by a quarter of their logarithm where those are 1e18 from each other
HALVINGS = 54  # of what lies between two of them: to 1e-16 of it


def loss_at(law: Law, n_tokens: float | np.ndarray, **inputs: float) -> np.ndarray:
    """Predicted loss after these tokens, nats per token."""
    return law.loss(n_tokens=np.asarray(n_tokens, dtype=float), **inputs)


def doubling_gain(law: Law, inputs: Mapping[str, float], n_tokens: float | np.ndarray) -> np.ndarray:
    """Nats by which the loss falls from these tokens to twice as many."""
    return loss_at(law, n_tokens, **inputs) - loss_at(law, 2 * np.asarray(n_tokens), **inputs)


def hour_gain(law: Law, inputs: Mapping[str, float], n_tokens: float | np.ndarray, *, tokens_per_second: float) -> np.ndarray:
    """Nats by which the loss falls in the GPU-hour after these tokens, at this speed of one GPU."""
    return loss_at(law, n_tokens, **inputs) - loss_at(law, n_tokens + SECONDS_PER_HOUR * tokens_per_second, **inputs)


def tokens_worth(
    law: Law, inputs: Mapping[str, float], min_gain: float, gain: Gain, *, between: tuple[float, float] = (FEWEST, MOST)
) -> np.ndarray:
    """Tokens after which no further step gains `min_gain` nats; an end of `between` where none does, or where the last still does.

    The gain of a law need not fall from the start: it is looked at in N_LOOKS places, and where it falls below for the last time is
    found by bisection on log tokens.
    """
    places = np.linspace(np.log(between[0]), np.log(between[1]), N_LOOKS)
    enough = gain(law, inputs, np.exp(places)) >= min_gain  # (studies, places), or (places,)
    shape = enough.shape[:-1] + (1,) * (enough.ndim - 1)
    any_is = np.any(enough, axis=-1).reshape(shape)
    last = (N_LOOKS - 1 - np.argmax(enough[..., ::-1], axis=-1)).reshape(shape)
    low, high = places[last], places[np.minimum(last + 1, N_LOOKS - 1)]
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        is_enough = gain(law, inputs, np.exp(middle)) >= min_gain
        low, high = np.where(is_enough, middle, low), np.where(is_enough, high, middle)
    found = np.where(last == N_LOOKS - 1, between[1], np.exp(high))
    return np.where(any_is, found, between[0])


def tokens_worth_doubling(law: Law, inputs: Mapping[str, float], min_gain: float) -> np.ndarray:
    """Tokens after which the next doubling gains less than `min_gain` nats."""
    return tokens_worth(law, inputs, min_gain, doubling_gain)


def tokens_worth_hour(law: Law, inputs: Mapping[str, float], min_gain: float, tokens_per_second: float) -> np.ndarray:
    """Tokens after which the next GPU-hour, at this speed of one GPU, gains less than `min_gain` nats."""
    return tokens_worth(law, inputs, min_gain, partial(hour_gain, tokens_per_second=tokens_per_second))
