"""Fitting a law to measured points, and everything that tells how far to trust the result."""

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from prunescale.fitting.checks import checks
from prunescale.fitting.metrics import measure
from prunescale.fitting.pose import pose
from prunescale.fitting.precision import Precision, neighbourhood, precision
from prunescale.fitting.problem import Problem
from prunescale.fitting.replicate import replicate
from prunescale.fitting.result import Fit, FitStatus
from prunescale.fitting.solve import Optimum, solve
from prunescale.laws import Columns, Law

FEW = 0.1  # share of starts below which the optimum found may not be the best


def fit(
    law: type[Law],
    columns: Columns,
    *,
    fixed: Mapping[str, float] | None = None,
    objective: str = "squared",
    weighting: str = "runs",
    min_tokens: float = 0,
    phases: Collection[str] | None = ("constant",),
) -> Fit:
    """The constants that minimise the objective over the points from `min_tokens` on in these learning-rate phases (None: all).

    weighting: "runs" gives each run the same weight, "points" each point. Nothing is random: the same points in any order give
    the same answer. Points without tokens are never used; what is left out is counted in the result.
    """
    problem = pose(
        law, columns, fixed=fixed or {}, objective=objective, weighting=weighting, min_tokens=min_tokens, phases=phases
    )
    return conclude(problem, solve(problem), weighting=weighting, min_tokens=min_tokens, phases=phases)


def conclude(problem: Problem, optimum: Optimum, *, weighting: str, min_tokens: float, phases: Collection[str] | None) -> Fit:
    """The optimum with what can be said of it."""
    law = problem.law_at(optimum.coordinates)
    near = neighbourhood(problem, optimum.coordinates, optimum.at_bound + optimum.void)
    known = precision(problem, optimum.coordinates, near)
    return Fit(
        law=law,
        status=_status(optimum, known),
        checks=checks(law, problem.points, optimum.at_bound, optimum.void, known),
        objective=problem.objective,
        weighting=weighting,
        fixed=problem.fixed,
        min_tokens=min_tokens,
        phases=None if phases is None else tuple(phases),
        points=problem.points,
        cost=optimum.cost,
        metrics=measure(law, problem.points.columns),
        at_bound=optimum.at_bound,
        void=optimum.void,
        standard_errors=known.standard_errors,
        share_of_starts=optimum.share_of_starts,
    )


def _status(optimum: Optimum, known: Precision) -> FitStatus:
    if optimum.share_of_starts < FEW:
        return FitStatus.STARTS_DISAGREE
    if optimum.at_bound or optimum.void:
        return FitStatus.AT_BOUND
    return FitStatus.NOT_IDENTIFIED if known.flat else FitStatus.CONVERGED


def bootstrap(found: Fit, *, n: int = 1000, seed: int = 0) -> Fit:
    """The same fit with `n` refits to studies that might have been, from which intervals follow: see fitting.replicate."""
    problem = problem_of(found)
    here = coordinates_of(found)
    near = neighbourhood(problem, here, found.at_bound + found.void)
    return replace(found, replicates=replicate(problem, here, near, n=n, seed=seed))


def problem_of(found: Fit) -> Problem:
    """The problem that a fit is the answer to."""
    return Problem(type(found.law), found.points, found.objective, found.fixed)


def coordinates_of(found: Fit) -> np.ndarray:
    """Where a fit lies, in its problem's coordinates."""
    return problem_of(found).coordinates(np.array(list(found.law.constants().values()), dtype=float))
