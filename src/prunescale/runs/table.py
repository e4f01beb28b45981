"""Runs as columns of numbers, a row a measurement: what the fits and the figures read."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from prunescale.runs.failures import damage_told
from prunescale.runs.packed import PHASES, numbers_of
from prunescale.runs.record import Phase, Run
from prunescale.runs.store import Store

TEXT_COLUMNS = ("run", "kind", "base", "phase")


def columns(runs: Sequence[Run], phases: Collection[Phase] | None = None, min_tokens: int = 0) -> dict[str, np.ndarray]:
    """One row for each point of each run, in their order; of these phases only, and from `min_tokens` on.

    Counts are float64 like the rest, since a product of parameters and tokens overflows an int64; they are exact up to 2^53. What
    nobody knows is nan. `flops` are those spent up to the point. Each further input that some run has (`Run.inputs`) is a column,
    nan for the runs that lack it. `n_params_average` are the linear weights that are not pruned, averaged over the tokens up to the
    point: the input of that name where a run has it.
    """
    points = numbers_of(point for run in runs for point in run.points)
    counts, ends = [len(run.points) for run in runs], [run.n_tokens for run in runs]
    return _assembled(runs, points, counts, ends, phases, min_tokens)


def stored_columns(
    store: Store, bases: Collection[str] = (), phases: Collection[Phase] | None = None, min_tokens: int = 0
) -> dict[str, np.ndarray]:
    """What `columns` makes of the runs of a store, of these base models if some are named, in the order of their ids: read without
    making a record of each point, which is many times as fast."""
    with store.at_one_moment():
        runs = store.without_points(bases)
        points, counts = store.curves(bases)
    ends = np.zeros(len(runs))
    np.maximum.at(ends, np.repeat(np.arange(len(runs)), counts), points["n_tokens"])
    with damage_told(store.path):  # text where a number should be
        return _assembled(runs, points, counts, ends.tolist(), phases, min_tokens)


def _assembled(
    runs: Sequence[Run],
    points: np.ndarray,
    counts: Sequence[int],
    ends: Sequence[float],
    phases: Collection[Phase] | None,
    min_tokens: int,
) -> dict[str, np.ndarray]:
    """The columns of runs with so many points each, which follow one another; `ends` are the tokens at the end of each."""
    wanted = points["n_tokens"] >= min_tokens
    if phases is not None:
        wanted &= np.isin(points["phase"], [PHASES.index(phase) for phase in phases])
    n_points = np.bincount(np.repeat(np.arange(len(runs)), counts)[wanted], minlength=len(runs)).tolist()
    points = points[wanted]
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


def _flops(runs: Sequence[Run], n_points: Sequence[int], ends: Sequence[float], n_tokens: np.ndarray) -> np.ndarray:
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
