"""A fit against runs, seen or not: predicted and measured end of each."""

from dataclasses import dataclass

import numpy as np

from prunescale.fitting.metrics import excess_over, measure
from prunescale.fitting.points import select
from prunescale.fitting.result import Fit
from prunescale.laws import Columns


@dataclass(frozen=True)
class RunError:
    """The last usable point of a run, measured and predicted, in nats per token; and the errors over its curve.

    Errors of the end are relative, predicted above measured positive. The excess is the loss above that before pruning, or above the
    control's, small beside the loss: an error of 1 % of the loss can be 40 % of the excess. None where the law reads neither.
    """

    run: str
    n_tokens: float
    loss: float
    predicted: float
    loss_before: float | None  # what the excess is over
    error: float
    excess_error: float | None
    rmse: float  # over the run's points, nats per token
    asd: float | None  # over the run's points, nats per million tokens


def errors(fit: Fit, columns: Columns) -> tuple[RunError, ...]:
    """One for each run, in the order of their names, over those points that the fit would have used."""
    table = select(type(fit.law), columns, min_tokens=fit.min_tokens, phases=fit.phases).columns
    return tuple(_run_error(fit, {name: c[table["run"] == run] for name, c in table.items()}) for run in np.unique(table["run"]))


def _run_error(fit: Fit, curve: dict[str, np.ndarray]) -> RunError:
    loss, predicted = float(curve["loss"][-1]), float(fit.predict(curve)[-1])
    floor = excess_over(type(fit.law))
    before = float(curve[floor][-1]) if floor else None
    metrics = measure(fit.law, curve)
    return RunError(
        run=str(curve["run"][-1]),
        n_tokens=float(curve["n_tokens"][-1]),
        loss=loss,
        predicted=predicted,
        loss_before=before,
        error=predicted / loss - 1,
        excess_error=None if before is None or loss == before else (predicted - before) / (loss - before) - 1,
        rmse=metrics.rmse,
        asd=metrics.asd,
    )
