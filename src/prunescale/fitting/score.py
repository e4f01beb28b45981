"""What was predicted of held-out points against what was measured there: in the level, in the excess and in the slope."""

from dataclasses import dataclass

import numpy as np

from prunescale.fitting.excess import SMALL, reference
from prunescale.fitting.metrics import MILLION
from prunescale.fitting.points import Points


@dataclass(frozen=True)
class RunScore:
    """Mean absolute relative errors over the held-out points of one run, of the loss and of its excess."""

    run: str
    n_points: int
    error: float
    excess_error: float | None


@dataclass(frozen=True)
class Score:
    """Errors on held-out points, each point counting once; predicted above measured is positive.

    error, largest_error: mean and largest absolute relative error of the loss. excess_error: mean absolute relative error of the
    excess over `n_excess` points, those whose excess is at least SMALL; None where there are none. rmse, bias: root mean square and
    mean error, nats per token. asd: average slope difference over the pairs of consecutive points of a run whose later point is
    held out, nats per million tokens. slope_error: asd over the mean absolute measured slope of the same pairs, a ratio of means
    since single slopes may be near zero.
    """

    n_points: int
    n_runs: int
    error: float
    largest_error: float
    excess_error: float | None
    n_excess: int
    rmse: float
    bias: float
    asd: float | None
    slope_error: float | None
    by_run: tuple[RunScore, ...]


def score(points: Points, held: np.ndarray, predicted: np.ndarray) -> Score:
    """Of the predictions for all points, (points,), those that count are `held`."""
    measured, run, over = points.loss, points.columns["run"], reference(points.columns)
    error = predicted - measured
    relative = np.abs(error) / measured
    excess = np.zeros(len(measured)) if over is None else measured - points.columns[over]
    of_excess = np.divide(np.abs(error), excess, out=np.full(len(error), np.nan), where=excess >= SMALL)
    asd, slope_error = _slopes(points, held, predicted)
    return Score(
        n_points=int(np.sum(held)),
        n_runs=len(np.unique(run[held])),
        error=float(np.mean(relative[held])),
        largest_error=float(np.max(relative[held])),
        excess_error=_mean(of_excess[held]),
        n_excess=int(np.sum(~np.isnan(of_excess[held]))),
        rmse=float(np.sqrt(np.mean(error[held] ** 2))),
        bias=float(np.mean(error[held])),
        asd=asd,
        slope_error=slope_error,
        by_run=tuple(_of_run(str(name), held & (run == name), relative, of_excess) for name in np.unique(run[held])),
    )


def error_of(each: Score | RunScore, what: str) -> float:
    """The mean absolute relative error of the "loss" or the "excess"; nan where there is none."""
    found = {"loss": each.error, "excess": each.excess_error}[what]
    return np.nan if found is None else found


def in_percent(share: float) -> str:
    """Two digits below 10 %, whole percents from there on, and 0.00 % where there is nothing to see."""
    if abs(share) < 5e-5:
        return "0.00 %"
    return f"{100 * share:.2g} %" if abs(share) < 0.095 else f"{100 * share:.0f} %"


def _of_run(name: str, here: np.ndarray, relative: np.ndarray, of_excess: np.ndarray) -> RunScore:
    return RunScore(name, int(np.sum(here)), float(np.mean(relative[here])), _mean(of_excess[here]))


def _slopes(points: Points, held: np.ndarray, predicted: np.ndarray) -> tuple[float | None, float | None]:
    step = np.diff(points.columns["n_tokens"]) / MILLION
    pair = (np.diff(points.run_index) == 0) & (step > 0) & held[1:]
    if not pair.any():
        return None, None
    measured, expected = (np.diff(loss)[pair] / step[pair] for loss in (points.loss, predicted))
    asd, steepness = float(np.mean(np.abs(measured - expected))), float(np.mean(np.abs(measured)))
    return asd, asd / steepness if steepness > 0 else None


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.mean(known)) if known.size else None
