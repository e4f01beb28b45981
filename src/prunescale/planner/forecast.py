"""The loss to expect of a training that is already decided on."""

from collections.abc import Mapping
from dataclasses import dataclass

from prunescale.fitting import Fit
from prunescale.planner.gain import loss_at
from prunescale.planner.trust import checked_inputs, checked_positive, ends, extrapolation, warnings


@dataclass(frozen=True)
class Forecast:
    """Predicted loss after a number of tokens, nats per token, and how far to trust it."""

    tokens: float
    loss: float
    loss_range: tuple[float, float] | None  # leave-one-run-out range, not a confidence interval
    n_refits: int
    extrapolation: Mapping[str, float]  # factor by which each input and the tokens lie outside what was fitted; 1 within
    warnings: tuple[str, ...]


def forecast(fit: Fit, inputs: Mapping[str, float], n_tokens: float) -> Forecast:
    """The loss after `n_tokens` of the model that `inputs` describes by the law's column names."""
    inputs, n_tokens = checked_inputs(fit, inputs), checked_positive("The number of tokens", n_tokens)
    asked = {**inputs, "n_tokens": n_tokens}
    return Forecast(
        tokens=n_tokens,
        loss=loss_at(fit.law, **asked),
        loss_range=ends([loss_at(refit.law, **asked) for refit in fit.refits]),
        n_refits=len(fit.refits),
        extrapolation=extrapolation(fit, asked),
        warnings=warnings(fit, asked, {}),
    )
