"""Runs as columns of numbers, a row a measurement: what the fits and the figures read."""

from collections.abc import Collection, Sequence

import numpy as np

from prunescale.runs.record import Phase, Point, Run

TEXT_COLUMNS = ("run", "kind", "base", "phase")


def columns(runs: Sequence[Run], phases: Collection[Phase] | None = None, min_tokens: int = 0) -> dict[str, np.ndarray]:
    """One row for each point of each run, in their order; of these phases only, and from `min_tokens` on.

    Counts are float64 like the rest, since a product of parameters and tokens overflows an int64; they are exact up to 2^53. What
    nobody knows is nan. `flops` are those spent up to the point. Each further input that some run has (`Run.inputs`) is a column,
    nan for the runs that lack it. `n_params_average` are the linear weights that are not pruned, averaged over the tokens up to the
    point: the input of that name where a run has it.
    """
    rows = [
        _row(run, point)
        for run in runs
        for point in run.points
        if point.n_tokens >= min_tokens and (phases is None or point.phase in phases)
    ]
    inputs = dict.fromkeys(name for run in runs for name in run.inputs)
    return {name: _column(name, rows) for name in dict.fromkeys((*COLUMNS, *inputs))}


def _column(name: str, rows: list[dict[str, str | float | None]]) -> np.ndarray:
    values = [row.get(name) for row in rows]
    if name in TEXT_COLUMNS:
        return np.array(values, dtype=str)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


COLUMNS = (
    "run",
    "kind",
    "base",
    "n_params_before",
    "n_params_non_embedding",
    "n_params_total",
    "n_params_nonzero",
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


def _row(run: Run, point: Point) -> dict[str, str | float | None]:
    return {
        "run": run.id,
        "kind": run.kind,
        "base": run.base,
        "n_params_before": run.n_params_before,
        "n_params_non_embedding": run.n_params_non_embedding,
        "n_params_total": run.n_params_total,
        "n_params_nonzero": run.n_params_nonzero,
        "n_params_linear": run.n_params_linear,
        "n_params_average": run.n_params_average(point.n_tokens),
        "n_tokens": point.n_tokens,
        "pruning_rate": run.pruning_rate,
        "loss_before": run.loss_before,
        "loss": point.loss,
        "phase": point.phase,
        "learning_rate": point.learning_rate,
        "flops": _flops_up_to(run, point),
        **run.inputs,
    }


def _flops_up_to(run: Run, point: Point) -> float | None:
    """What was spent before the curve begins, between prunings, and the share of the rest, which what branches cost is no part of: a
    finished model needs its own branch only, whose tokens are among its own. Nothing by a run that was only measured."""
    if run.flops is None:
        return None
    between = run.inputs.get("flops_between", 0.0)
    along = run.flops - between - run.inputs.get("flops_cooldowns", 0.0)
    return between + along * point.n_tokens / max(run.n_tokens, 1)
