"""The best size, or the best sparsity, for a budget of compute, with its intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import numpy as np

from prunescale.errors import FitError
from prunescale.fitting import Answer, Check, Fit
from prunescale.planner.optimum import FLOPS_PER_PARAMETER, best_size, best_sparsity, cubic_average
from prunescale.planner.planned import size_of_best
from prunescale.planner.trust import LEVEL, checked_inputs, checked_positive, doubts, extrapolation, wider


@dataclass(frozen=True)
class Choice:
    """The value of one input at which the predicted loss is least for a budget of compute, and how far to trust it."""

    column: str
    compute: float  # floating-point operations of training
    value: float
    tokens: float  # that the compute buys there
    loss: float
    interval: tuple[float, float] | None  # 90 %, over the fit's studies that might have been
    profile: tuple[float, float] | None  # 90 %, by profile likelihood; an end that nothing bounds is infinite
    extrapolation: Mapping[str, float]
    checks: tuple[Check, ...]


def choose_size(fit: Fit, compute: float, inputs: Mapping[str, float], *, profiled: bool = False) -> Choice:
    """N* for a law of a size and tokens; `inputs` has whatever else the law needs."""
    size = size_of_best(fit.law)
    inputs, compute = checked_inputs(fit.law, inputs, besides=("n_tokens", size)), checked_positive("The compute", compute)
    value = float(np.ravel(best_size(fit.law, compute, size, inputs))[0])
    tokens = compute / (FLOPS_PER_PARAMETER * value)
    return _choice(
        fit, lambda law: best_size(law, compute, size, inputs), size, compute, value, tokens, inputs, profiled, log=True
    )


def choose_sparsity(fit: Fit, compute: float, inputs: Mapping[str, float], *, profiled: bool = False) -> Choice:
    """S* for a law of non-zero parameters, tokens and sparsity, with cubic pruning between 25 % and 75 % of the training."""
    if set(fit.law.columns) != {"n_params_nonzero", "n_tokens", "sparsity"}:
        raise FitError(
            f"The {fit.law.title} is no law of non-zero parameters, tokens and sparsity, so there is no best sparsity by it."
        )
    inputs, compute = checked_inputs(fit.law, inputs, besides=("n_tokens", "sparsity")), checked_positive("The compute", compute)
    n_params = inputs["n_params_nonzero"]
    value = float(np.ravel(best_sparsity(fit.law, compute, n_params))[0])
    tokens = compute / (FLOPS_PER_PARAMETER * n_params / (1 - value) * float(cubic_average(np.asarray(value))))
    return _choice(
        fit, lambda law: best_sparsity(law, compute, n_params), "sparsity", compute, value, tokens, inputs, profiled, log=False
    )


def _choice(
    fit: Fit,
    answer: Answer,
    column: str,
    compute: float,
    value: float,
    tokens: float,
    inputs: Mapping[str, float],
    profiled: bool,
    *,
    log: bool,
) -> Choice:
    asked = {**inputs, column: value, "n_tokens": tokens}
    interval = fit.interval(answer, LEVEL)
    bounds = None
    if profiled:
        from prunescale.fitting.likelihood import profile

        found = profile(fit, answer, level=LEVEL, log=log)
        bounds = (max(found.low, 0.0), found.high if np.isfinite(found.high) else inf)
    return Choice(
        column=column,
        compute=compute,
        value=value,
        tokens=tokens,
        loss=float(fit.law.loss(**asked)),
        interval=interval,
        profile=bounds,
        extrapolation=extrapolation(fit, asked),
        checks=doubts(fit, asked, {f"the best {column}": wider(interval, bounds)}),
    )
