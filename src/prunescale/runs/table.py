"""Runs as columns of numbers, a row a measurement: what the fits and the figures read."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import get_args

import numpy as np

from prunescale.runs.record import Phase, Run
from prunescale.runs.store import Store

TEXT_COLUMNS = ("run", "kind", "base", "phase")
PHASES: tuple[Phase, ...] = get_args(Phase)
POINT = np.dtype([("n_tokens", "f8"), ("loss", "f8"), ("learning_rate", "f8"), ("phase", "u1")])
"""A point as numbers: an unknown learning rate is infinite, which no known one is; of the phase its place among PHASES."""


def columns(runs: Sequence[Run], phases: Collection[Phase] | None = None, min_tokens: int = 0) -> dict[str, np.ndarray]:
    """One row for each point of each run, in their order; of these phases only, and from `min_tokens` on.

    Counts are float64 like the rest, since a product of parameters and tokens overflows an int64; they are exact up to 2^53. What
    nobody knows is nan. `flops` are those spent up to the point. Each further input that some run has (`Run.inputs`) is a column,
    nan for the runs that lack it. `n_params_average` are the linear weights that are not pruned, averaged over the tokens up to the
    point: the input of that name where a run has it.
    """
    number = {phase: place for place, phase in enumerate(PHASES)}
    kept = [[p for p in run.points if p.n_tokens >= min_tokens and (phases is None or p.phase in phases)] for run in runs]
    points = np.fromiter(
        (
            (p.n_tokens, p.loss, np.inf if p.learning_rate is None else p.learning_rate, number[p.phase])
            for of_run in kept
            for p in of_run
        ),
        POINT,
    )
    return _assembled(runs, [len(of_run) for of_run in kept], [run.n_tokens for run in runs], points)


def stored_columns(
    store: Store, bases: Collection[str] = (), phases: Collection[Phase] | None = None, min_tokens: int = 0
) -> dict[str, np.ndarray]:
    """What `columns` makes of the runs of a store, of these base models if some are named, in the order of their ids: read without
    making a record of each point, which is several times as fast."""
    wanted = PHASES if phases is None else tuple(phases)
    with store.at_one_moment():
        runs = store.without_points(bases)
        of_bases = f"run_id IN (SELECT id FROM runs WHERE base IN ({_marks(bases)}))" if bases else "TRUE"
        condition, values = of_bases, list[str | int](bases)
        if min_tokens:
            condition, values = f"{condition} AND n_tokens >= ?", [*values, min_tokens]
        if phases is not None:
            condition, values = f"{condition} AND phase IN ({_marks(wanted)})", [*values, *wanted]
        ends = dict(store.values_of_runs(("run_id", "max(n_tokens)"), of_bases, list(bases)))
        counts = dict(store.values_of_runs(("run_id", "count(*)"), condition, values))
        place = " ".join(f"WHEN '{phase}' THEN {number}" for number, phase in enumerate(PHASES))
        expressions = ("n_tokens", "loss", "ifnull(learning_rate, 9e999)", f"CASE phase {place} END")
        points = np.fromiter(store.values_of_points(expressions, condition, values), POINT, sum(counts.values()))
    return _assembled(runs, [counts.get(run.id, 0) for run in runs], [ends.get(run.id, 0) for run in runs], points)


def _marks(values: Collection[str]) -> str:
    return ", ".join("?" * len(values))


def _assembled(runs: Sequence[Run], n_points: Sequence[int], ends: Sequence[int], points: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of runs with so many points each, which follow one another; `ends` are the tokens at the end of each."""
    n_tokens, rate = points["n_tokens"], points["learning_rate"]
    along = {
        "n_params_average": _n_params_average(runs, n_points, n_tokens),
        "n_tokens": n_tokens,
        "loss": points["loss"],
        "phase": np.array(PHASES)[points["phase"]],
        "learning_rate": np.where(np.isinf(rate), np.nan, rate),
        "flops": _flops(runs, n_points, ends, n_tokens),
    }
    inputs = dict.fromkeys(name for run in runs for name in run.inputs)
    return {
        name: np.ascontiguousarray(_column(name, runs, n_points, inputs, along)) for name in dict.fromkeys((*COLUMNS, *inputs))
    }


def _column(
    name: str, runs: Sequence[Run], n_points: Sequence[int], inputs: Collection[str], along: Mapping[str, np.ndarray]
) -> np.ndarray:
    """A column by its name: an input, what changes along a curve, or a field of the runs."""
    if name in inputs:
        given = _repeated(name, [run.inputs.get(name) for run in runs], n_points)
        return np.where(np.isnan(given), along[name], given) if name in along else given
    if name in along:
        return along[name]
    return _repeated(name, [getattr(run, "id" if name == "run" else name) for run in runs], n_points)


def _repeated(name: str, values: Sequence[str | float | None], n_points: Sequence[int]) -> np.ndarray:
    """The value of each run, once for each of its points."""
    if name in TEXT_COLUMNS:
        return np.repeat(np.array(values, dtype=str), n_points)
    known = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.repeat(known, n_points)


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


def _n_params_average(runs: Sequence[Run], n_points: Sequence[int], n_tokens: np.ndarray) -> np.ndarray:
    average = _repeated("n_params_linear", [run.n_params_linear for run in runs], n_points)
    for run, rows in zip(runs, _rows(n_points), strict=True):
        if run.n_params_left:
            average[rows] = _averages_over(run.n_params_left, n_tokens[rows])
    return average


def _averages_over(left: Sequence[tuple[int, int]], n_tokens: np.ndarray) -> np.ndarray:
    """`average_over` for many token counts: what has been summed up to the step that a count falls in, and the rest."""
    begins, weights = np.array(left, dtype=np.float64).T
    summed = np.concatenate([[0.0], np.cumsum(np.diff(begins) * weights[:-1])])
    step = np.searchsorted(begins, n_tokens, side="right") - 1
    total = summed[step] + (n_tokens - begins[step]) * weights[step]
    return np.where(n_tokens > 0, total / np.maximum(n_tokens, 1), weights[0])


def _flops(runs: Sequence[Run], n_points: Sequence[int], ends: Sequence[int], n_tokens: np.ndarray) -> np.ndarray:
    """What was spent before the curve begins, between prunings, and the share of the rest, which what branches cost is no part of: a
    finished model needs its own branch only, whose tokens are among its own. Nothing by a run that was only measured."""
    between = [run.inputs.get("flops_between", 0.0) for run in runs]
    along = [
        None if run.flops is None else run.flops - before - run.inputs.get("flops_cooldowns", 0.0)
        for run, before in zip(runs, between, strict=True)
    ]
    each = [_repeated("flops", values, n_points) for values in (between, along, [max(end, 1) for end in ends])]
    return each[0] + each[1] * n_tokens / each[2]


def _rows(n_points: Iterable[int]) -> list[slice]:
    """The rows of each run."""
    ends = np.cumsum([0, *n_points]).tolist()
    return [slice(begin, end) for begin, end in pairwise(ends)]
