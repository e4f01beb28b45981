"""Laws ranked by what they say of points that they have not seen, with how sure the ranking is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from prunescale.amounts import short
from prunescale.errors import FitError
from prunescale.fitting.audit import Audit
from prunescale.fitting.checks import Check
from prunescale.fitting.edge import edge
from prunescale.fitting.excess import SMALL
from prunescale.fitting.holdout import RATES, SIZES
from prunescale.fitting.metrics import r_squared
from prunescale.fitting.paired import behind
from prunescale.fitting.score import error_of, in_percent

LEVEL = 0.9
MEASURES = ("excess", "loss")
NOTHING = 1e-6  # of the loss or the excess: laws whose errors differ by less are not told apart, however little noise there is
MATTERS = 0.05  # of the best law's error: a smaller difference may be sure and still not be worth a choice


@dataclass(frozen=True)
class Rank:
    """One law among others.

    error: mean absolute relative error on held-out points, each run of a hold-out and each hold-out counting the same; by_holdout
    its parts. behind: how much more that is than the best law's, with its 90 % interval. verdict: "best" (all the others are worse),
    "worse" (than the first: surely, and by more than a twentieth of its error), or "undecided". at_edge: loss predicted beyond the
    runs, nats per token. n_constants, the free ones, rmse and r2_excess are of the fit to all the points: beside the errors, to
    show how little they tell.
    """

    law: str
    error: float
    by_holdout: Mapping[str, float]
    behind: float
    interval: tuple[float, float]
    verdict: str
    at_edge: float
    n_constants: int
    rmse: float
    r2_excess: float | None


@dataclass(frozen=True)
class Comparison:
    """The laws, the best first; of what the errors are, on which hold-outs, and where beyond the runs the laws were asked."""

    measure: str
    holdouts: tuple[str, ...]
    ranks: tuple[Rank, ...]
    edge: Mapping[str, float]
    checks: tuple[Check, ...]


def compare(
    audited: Audit, *, measure: str | None = None, holdouts: Sequence[str] | None = None, n: int = 2000, seed: int = 0
) -> Comparison:
    """The laws of an audit by their errors on what was held out.

    measure: "excess" or "loss"; without one, the excess where the points have one. holdouts: those that every law allows unless
    some are named. The intervals come from n studies that might have been: see `fitting.paired`.
    """
    laws = list(audited.fits)
    if len(laws) < 2:
        raise FitError(f"Two laws at least are needed to compare; these runs allow only {laws[0]}.")
    measure = _measure(audited, measure)
    errors = {name: _errors(audited, name, measure) for name in _holdouts(audited, holdouts)}
    errors = {name: each for name, each in errors.items() if not np.isnan(each).any(axis=0).all()}
    if not errors:
        raise FitError(f"There is no run that was held out of every law and whose {measure} can be judged: compare by the loss.")
    above, low, high = behind(np.stack(list(errors.values())), n=n, seed=seed, level=LEVEL)
    row = edge(audited.points)
    ranks: list[Rank] = []
    for index in np.argsort(above, kind="stable"):
        found = audited.fits[laws[index]]
        parts = {name: float(np.mean(each[index][~np.isnan(each).any(axis=0)])) for name, each in errors.items()}
        error = float(np.mean(list(parts.values())))
        worse = low[index] > NOTHING and above[index] > MATTERS * (ranks[0].error if ranks else error)
        ranks.append(
            Rank(
                law=laws[index],
                error=error,
                by_holdout=parts,
                behind=float(above[index]),
                interval=(float(low[index]), float(high[index])),
                verdict="worse" if worse else "undecided",
                at_edge=float(found.predict(row)[0]),
                n_constants=len(found.law.bounds) - len(found.fixed),
                rmse=found.metrics.rmse,
                r2_excess=_r2_excess(audited, laws[index]),
            )
        )
    if all(rank.verdict == "worse" for rank in ranks[1:]):
        ranks[0] = replace(ranks[0], verdict="best")
    place = {name: float(value[0]) for name, value in row.items()}
    return Comparison(measure, tuple(errors), tuple(ranks), place, _undecided(ranks, measure, place))


def _measure(audited: Audit, measure: str | None) -> str:
    if measure is None:
        return "loss" if audited.over is None else "excess"
    if measure not in MEASURES:
        raise FitError(f"Laws are compared by their errors of the {' or the '.join(MEASURES)}, not of {measure}.")
    if measure == "excess" and audited.over is None:
        raise FitError("These points have no loss before pruning, and so no excess: compare by the loss.")
    return measure


def _holdouts(audited: Audit, holdouts: Sequence[str] | None) -> list[str]:
    """Those asked for, or those that every law allows."""
    held = list(dict.fromkeys(row.holdout for row in audited.rows))
    possible = [name for name in held if all(audited.row(name, law) for law in audited.fits)]
    for name in holdouts or ():
        if name not in possible:
            raise FitError(
                f"The hold-out {name} is not possible for all of these laws; there are {', '.join(possible) or 'none'}."
            )
    if not possible:
        raise FitError(f"No hold-out is possible for all of {', '.join(audited.fits)}: name fewer laws.")
    return list(holdouts or possible)


def _errors(audited: Audit, holdout: str, measure: str) -> np.ndarray:
    """Of each law on each run; (laws, runs), nan where there is none."""
    number = {str(name): index for index, name in enumerate(np.unique(audited.points.columns["run"]))}
    errors = np.full((len(audited.fits), len(number)), np.nan)
    for index, law in enumerate(audited.fits):
        row = audited.row(holdout, law)
        for each in row.score.by_run if row else ():
            errors[index, number[each.run]] = error_of(each, measure)
    return errors


def _r2_excess(audited: Audit, law: str) -> float | None:
    """Of the excess over the same column for every law, whether or not the law has it."""
    if audited.over is None:
        return None
    bottom = audited.points.columns[audited.over]
    predicted = audited.fits[law].predict(audited.points.columns)
    return r_squared(audited.points.loss - bottom, predicted - bottom)


def _undecided(ranks: Sequence[Rank], measure: str, at: Mapping[str, float]) -> tuple[Check, ...]:
    """For each law that is not told apart from the first and says visibly other things beyond the runs."""
    first = ranks[0]
    where = [next((name for name in kind if name in at), None) for kind in (SIZES, RATES, ("n_tokens",))]
    place = ", ".join(f"{name} of {short(at[name])}" for name in where if name)
    return tuple(
        Check(
            "undecided",
            f"{first.law} and {rank.law} are not told apart by held-out runs (mean error of the {measure} {in_percent(first.error)} and "
            f"{in_percent(rank.error)}), but at {place} they predict {first.at_edge:.3f} and {rank.at_edge:.3f} nats: "
            f"{abs(rank.at_edge - first.at_edge):.2g} apart.",
        )
        for rank in ranks[1:]
        if rank.verdict == "undecided" and abs(rank.at_edge - first.at_edge) > SMALL
    )
