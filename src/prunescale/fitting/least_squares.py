"""Fitting a law to measured points by least squares."""

from collections.abc import Collection, Mapping
from dataclasses import asdict

import numpy as np

from prunescale.errors import FitError
from prunescale.fitting.metrics import measure
from prunescale.fitting.notes import notes
from prunescale.fitting.objective import OBJECTIVES
from prunescale.fitting.points import Points, select
from prunescale.fitting.precision import Precision, precision
from prunescale.fitting.problem import Problem
from prunescale.fitting.result import Fit, FitStatus
from prunescale.fitting.solve import Optimum, solve
from prunescale.fitting.starts import promising_starts
from prunescale.laws import Columns, Gap, Law

N_CANDIDATES = 512
FEW = 0.1  # share of starts below which the optimum found may not be the best


def fit(
    law: type[Law],
    columns: Columns,
    *,
    fixed: Mapping[str, float] | None = None,
    objective: str = "squared",
    min_tokens: float = 0,
    phases: Collection[str] | None = ("constant",),
    n_starts: int = 32,
    seed: int = 0,
) -> Fit:
    """The constants that minimise the objective over the points from `min_tokens` on in these learning-rate phases (None: all).

    Candidates are spread over the plausible constants and evaluated at once, and the `n_starts` best followed to their end.
    Points without tokens, and any where an input of the law is zero, are never used; what is left out is counted in the result.
    """
    problem = pose(law, columns, fixed=fixed or {}, objective=objective, min_tokens=min_tokens, phases=phases)
    n_candidates = max(N_CANDIDATES, n_starts)
    optimum = solve(problem, promising_starts(problem, n_candidates=n_candidates, n_starts=n_starts, seed=seed))
    return conclude(problem, optimum, min_tokens=min_tokens, phases=phases)


def pose(
    law: type[Law],
    columns: Columns,
    *,
    fixed: Mapping[str, float],
    objective: str,
    min_tokens: float,
    phases: Collection[str] | None,
) -> Problem:
    """The problem that a solver sees; an error where it has no answer, however good the data."""
    if objective not in OBJECTIVES:
        raise FitError(f"No objective is called {objective}; there are {', '.join(sorted(OBJECTIVES))}.")
    _refuse_fixed(law, fixed)
    points = select(law, columns, min_tokens=min_tokens, phases=phases)
    _refuse_too_few(law, points, len(law.bounds) - len(fixed))
    _refuse_gaps(law, law.unidentified(points.columns, fixed))
    return Problem(law, points, objective, {name: float(value) for name, value in fixed.items()})


def conclude(problem: Problem, optimum: Optimum, *, min_tokens: float, phases: Collection[str] | None) -> Fit:
    """The optimum with everything that tells how far to trust it."""
    law, columns = problem.law_at(optimum.fractions), problem.points.columns
    known = precision(problem, law, optimum.cost, optimum.at_bound)
    return Fit(
        law=law,
        status=_status(optimum, known),
        notes=notes(law, columns, optimum.at_bound, known, problem.points.left_out),
        objective=problem.objective,
        fixed=problem.fixed,
        min_tokens=min_tokens,
        phases=None if phases is None else tuple(phases),
        n_points=len(columns["run"]),
        n_runs=len(np.unique(columns["run"])),
        left_out=problem.points.left_out,
        ranges={name: (float(np.min(columns[name])), float(np.max(columns[name]))) for name in (*law.columns, "loss")},
        **asdict(measure(law, columns)),
        standard_errors=known.standard_errors,
        share_of_starts=optimum.share_of_starts,
    )


def _status(optimum: Optimum, known: Precision) -> FitStatus:
    if optimum.share_of_starts < FEW:
        return FitStatus.STARTS_DISAGREE
    if optimum.at_bound:
        return FitStatus.AT_BOUND
    return FitStatus.NOT_IDENTIFIED if known.flat else FitStatus.CONVERGED


def _refuse_fixed(law: type[Law], fixed: Mapping[str, float]) -> None:
    for name, value in fixed.items():
        if name not in law.bounds:
            raise FitError(f"The {law.title} has no constant {name} to fix; it has {', '.join(law.bounds)}.")
        bound = law.bounds[name]
        zero_term = bound.log and value == 0  # a term may be switched off, although no search would get there
        if not (bound.low <= value <= bound.high or zero_term):
            raise FitError(f"{name} is fixed at {value:g}, outside its bounds {bound.low:g} to {bound.high:g}.")


def _refuse_too_few(law: type[Law], points: Points, n_free: int) -> None:
    n_points = len(points.loss)
    if n_points <= n_free:
        left_out = "; ".join(f"{n} left out ({reason})" for reason, n in points.left_out.items()) or "none left out"
        raise FitError(
            f"Got {n_points} points for the {n_free} free constants of the {law.title}, with {left_out}; "
            f"it needs at least {n_free + 1}: add runs, or points to them."
        )


def _refuse_gaps(law: type[Law], gaps: tuple[Gap, ...]) -> None:
    if not gaps:
        return
    open_constants = ", and ".join(gap.constants for gap in gaps)
    are, them = ("is", "it") if sum(gap.n_open for gap in gaps) == 1 else ("are", "them")
    fixes = " ".join(f"--fix {name}={value:g}" for gap in gaps for name, value in gap.fix.items())
    raise FitError(
        f"The {law.title} cannot be fitted to {' and '.join(gap.got for gap in gaps)}: {open_constants} {are} not identified; "
        f"add {' and '.join(gap.add for gap in gaps)}" + (f" or fix {them}, for example {fixes}." if fixes else ".")
    )
