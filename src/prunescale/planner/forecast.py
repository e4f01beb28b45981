"""The loss to expect of a training that is already decided on."""

from collections.abc import Mapping
from dataclasses import dataclass

from prunescale.fitting import Check, Fit
from prunescale.planner.gain import loss_at
from prunescale.planner.trust import LEVEL, checked_inputs, checked_positive, doubts, extrapolation


@dataclass(frozen=True)
class Forecast:
    """Predicted loss after a number of tokens, nats per token, and how far to trust it."""

    tokens: float
    loss: float
    loss_interval: tuple[float, float] | None  # 90 %, over the fit's studies that might have been
    extrapolation: Mapping[str, float]  # factor by which each input and the tokens lie outside what was fitted; 1 within
    checks: tuple[Check, ...]


def forecast(fit: Fit, inputs: Mapping[str, float], n_tokens: float) -> Forecast:
    """The loss after `n_tokens` of the model that `inputs` describes by the law's column names."""
    inputs, n_tokens = checked_inputs(fit.law, inputs), checked_positive("The number of tokens", n_tokens)
    asked = {**inputs, "n_tokens": n_tokens}
    return Forecast(
        tokens=n_tokens,
        loss=float(loss_at(fit.law, **asked)),
        loss_interval=fit.interval(lambda law: loss_at(law, **asked), LEVEL),
        extrapolation=extrapolation(fit, asked),
        checks=doubts(fit, asked, {}),
    )
