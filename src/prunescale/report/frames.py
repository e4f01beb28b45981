"""The numbers behind the figures, as plain tables: whoever wants another plot can have them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prunescale.fitting import Fit
from prunescale.runs import Run
from prunescale.runs.table import columns

POINTS_OF_A_LINE = 100


@dataclass(frozen=True)
class RecoveryCurve:
    """The loss of one pruned model while it is trained further: what was measured and what a law says, nats per token."""

    base: str
    n_params_before: int
    pruning_rate: float
    fitted: bool
    """Whether the law was fitted to this run; otherwise it predicts it."""
    loss_before: float
    loss_after_pruning: float
    n_tokens: np.ndarray
    loss: np.ndarray
    line_tokens: np.ndarray
    line_loss: np.ndarray


def recovery_curves(fit: Fit, runs: Sequence[Run], fitted: Sequence[str]) -> list[RecoveryCurve]:
    """One for each run, the smallest model and the lowest rate first. `fitted`: ids of the runs that the fit has seen."""
    curves = [recovery_curve(fit, run, run.id in fitted) for run in runs]
    return sorted(curves, key=lambda curve: (curve.n_params_before, curve.pruning_rate))


def recovery_curve(fit: Fit, run: Run, fitted: bool) -> RecoveryCurve:
    table = columns([run], min_tokens=1)
    n_tokens = table["n_tokens"]
    usable = n_tokens >= fit.min_tokens
    line = np.geomspace(n_tokens[usable].min(), n_tokens.max(), POINTS_OF_A_LINE)
    law_inputs = {name: np.full(len(line), table[name][0]) for name in fit.law.columns if name != "n_tokens"}
    return RecoveryCurve(
        base=run.base,
        n_params_before=int(table["n_params_before"][0]),
        pruning_rate=float(table["pruning_rate"][0]),
        fitted=fitted,
        loss_before=float(table["loss_before"][0]),
        loss_after_pruning=run.points[0].loss,
        n_tokens=n_tokens,
        loss=table["loss"],
        line_tokens=line,
        line_loss=fit.predict({**law_inputs, "n_tokens": line}),
    )
