"""Runs as columns of numbers, a row a measurement: what the fits and the figures read."""

from collections.abc import Collection, Sequence

import numpy as np

from prunescale.runs.record import Phase, Point, Run

TEXT_COLUMNS = ("run", "phase")


def columns(runs: Sequence[Run], phases: Collection[Phase] | None = None, min_tokens: int = 0) -> dict[str, np.ndarray]:
    """One row for each point of each run, in their order; of these phases only, and from `min_tokens` on.

    Counts are float64 like the rest, since a product of parameters and tokens overflows an int64; they are exact up to 2^53.
    A `loss_before` that nobody measured is nan. `flops` are those spent up to the point. `n_params_average` are the linear weights
    averaged over the tokens: those of the model, as long as nothing is pruned while it trains.
    """
    rows = [
        _row(run, point)
        for run in runs
        for point in run.points
        if point.n_tokens >= min_tokens and (phases is None or point.phase in phases)
    ]
    return {
        name: np.array([row[i] for row in rows], dtype=str if name in TEXT_COLUMNS else np.float64)
        for i, name in enumerate(COLUMNS)
    }


COLUMNS = (
    "run",
    "n_params_before",
    "n_params_non_embedding",
    "n_params_total",
    "n_params_linear",
    "n_params_average",
    "n_tokens",
    "pruning_rate",
    "loss_before",
    "loss",
    "phase",
    "learning_rate",
    "flops",
)


def _row(run: Run, point: Point) -> tuple[str | float, ...]:
    """In the order of COLUMNS."""
    return (
        run.id,
        run.n_params_before,
        run.n_params_non_embedding,
        run.n_params_total,
        run.n_params_linear,
        run.n_params_linear,
        point.n_tokens,
        run.pruning_rate,
        np.nan if run.loss_before is None else run.loss_before,
        point.loss,
        point.phase,
        point.learning_rate,
        run.flops * point.n_tokens / max(run.n_tokens, 1),  # a run that was only measured, not trained, has spent nothing
    )
