"""Laws refitted without some of the points and judged on those: how far each can be trusted beyond what it has seen."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prunescale.errors import FitError
from prunescale.fitting.checks import Check
from prunescale.fitting.conclude import fit
from prunescale.fitting.curve_alone import BASELINES
from prunescale.fitting.excess import reference
from prunescale.fitting.holdout import HOLDOUTS, USUAL
from prunescale.fitting.judge import AuditRow, Spread, judge, judge_anchored, judge_baseline, judge_each_run, rows
from prunescale.fitting.metrics import excess_over
from prunescale.fitting.points import Points
from prunescale.fitting.result import Fit
from prunescale.fitting.same_points import same_points
from prunescale.fitting.score import error_of, in_percent
from prunescale.laws import Columns, Law

ALONE = "power law of each curve"
CLEAR = 1e-4  # of the loss or the excess: a baseline that is better by less is not


@dataclass(frozen=True)
class Skipped:
    """What could not be done, and why: a hold-out (law None), a law (holdout None), a law's refit, or its refit without one run."""

    holdout: str | None
    law: str | None
    run: str | None
    reason: str


@dataclass(frozen=True)
class Audit:
    """All the laws on all the hold-outs, judged on the same points; `fits` are those to all the points."""

    points: Points
    fits: Mapping[str, Fit]
    rows: tuple[AuditRow, ...]
    skipped: tuple[Skipped, ...]
    checks: tuple[Check, ...]

    @property
    def over(self) -> str | None:
        """The column that an excess is over."""
        return reference(self.points.columns)

    def row(self, holdout: str, law: str) -> AuditRow | None:
        return next((row for row in self.rows if (row.holdout, row.law) == (holdout, law)), None)


def audit(
    laws: Sequence[type[Law]],
    columns: Columns,
    *,
    fixed: Mapping[str, Mapping[str, float]] | None = None,
    objective: str = "squared",
    weighting: str = "runs",
    min_tokens: float = 0,
    phases: Collection[str] | None = ("constant",),
    holdouts: Sequence[str] = USUAL,
    n_replicates: int = 200,
    seed: int = 0,
    tell: Callable[[str], None] = lambda words: None,
) -> Audit:
    """Each law refitted without what each hold-out leaves out, and its errors there; beside them the baselines, where curves go on.

    `fixed` holds constants by the law's name. The points are those that all the laws can use. `n_replicates` refits make the
    predictive intervals, 0 none. What the runs do not allow is skipped, with the reason; an error only where no law can be fitted.
    """
    for name in holdouts:
        if name not in HOLDOUTS:
            raise FitError(f"No hold-out is called {name}; there are {', '.join(HOLDOUTS)}.")
    points = same_points(laws, columns, min_tokens=min_tokens, phases=phases, weighting=weighting)

    def fitted(law: type[Law], keep: np.ndarray) -> Fit:
        given: dict[str, Any] = {"objective": objective, "weighting": weighting, "min_tokens": min_tokens, "phases": phases}
        return fit(law, rows(points, keep), fixed=(fixed or {}).get(law.name), **given)

    fits: dict[str, Fit] = {}
    skipped: list[Skipped] = []
    for law in laws:
        tell(f"{law.name}: all points")
        try:
            fits[law.name] = fitted(law, np.ones(len(points.loss), dtype=bool))
        except FitError as error:
            skipped.append(Skipped(None, law.name, None, str(error)))
    if not fits:
        raise FitError(skipped[0].reason)
    found: list[AuditRow] = []
    for name in holdouts:
        judged, not_judged = _held_out(name, points, fits, fitted, Spread(n_replicates, seed), tell)
        found, skipped = found + judged, skipped + not_judged
    return Audit(points, fits, tuple(found), tuple(skipped), _checks(fits, found))


def _held_out(
    name: str,
    points: Points,
    fits: Mapping[str, Fit],
    fitted: Callable[[type[Law], np.ndarray], Fit],
    spread: Spread,
    tell: Callable[[str], None],
) -> tuple[list[AuditRow], list[Skipped]]:
    """Every law on one hold-out, and the baselines where they can be asked; and what had to be skipped."""
    found: list[AuditRow] = []
    skipped: list[Skipped] = []
    try:
        masks = HOLDOUTS[name](points)
    except FitError as error:
        return [], [Skipped(name, None, None, str(error))]
    goes_on = len(masks) == 1 and _go_on(points, masks[0])
    anchored: list[AuditRow] = []
    for law_name, full in fits.items():
        tell(f"{law_name}: {name}")
        try:
            if len(masks) == 1:
                refit = fitted(type(full.law), ~masks[0])
                found.append(judge(name, points, masks[0], refit, full, spread))
                if goes_on and excess_over(type(full.law)):
                    anchored.append(judge_anchored(name, points, masks[0], refit))
            else:
                row, lost = judge_each_run(name, points, full, spread)
                found.append(row)
                skipped += [Skipped(name, law_name, run, reason) for run, reason in lost.items()]
        except FitError as error:
            skipped.append(Skipped(name, law_name, None, str(error)))
    found += anchored
    if goes_on:
        found += [judge_baseline(name, points, masks[0], each) for each in BASELINES]
    return found, skipped


def _go_on(points: Points, held: np.ndarray) -> bool:
    """Whether every run of which points are held out has others that are not."""
    return not len(np.setdiff1d(points.run_index[held], points.run_index[~held]))


def _checks(fits: Mapping[str, Fit], found: Sequence[AuditRow]) -> tuple[Check, ...]:
    """Where a curve alone does better, what refits say of themselves, and what the fits to all the points do; laws together."""
    beaten = [check for rival in found if rival.law == ALONE for check in _beaten(rival, found)]
    said: dict[Check, list[str]] = {}
    for row in found:
        for check in row.doubts:
            said.setdefault(replace(check, text=f"without the held-out {row.holdout}: {check.text}"), []).append(row.law)
    for name, full in fits.items():
        for check in full.checks:
            said.setdefault(check, []).append(name)
    return (*beaten, *(replace(check, text=f"{', '.join(laws)}: {check.text}") for check, laws in said.items()))


def _beaten(rival: AuditRow, found: Sequence[AuditRow]) -> list[Check]:
    """One check for all the laws that are worse on this hold-out than the power law of each curve."""
    what = "loss" if rival.score.excess_error is None else "excess"
    theirs, worse = error_of(rival.score, what), []
    for row in found:
        ours = error_of(row.score, what)
        if row.holdout == rival.holdout and not row.is_baseline and ours > theirs + CLEAR:
            pairs = [(error_of(a, what), error_of(b, what)) for a, b in zip(row.score.by_run, rival.score.by_run, strict=True)]
            worse.append(f"{row.law} ({in_percent(ours)}, in {sum(b < a for a, b in pairs)} of {len(pairs)} runs)")
    text = (
        f"On the held-out {rival.holdout} the power law of each curve alone, with a mean error of the {what} of {in_percent(theirs)}, "
        f"does better than {', '.join(worse)}."
    )
    return [Check("baseline", text)] if worse else []
