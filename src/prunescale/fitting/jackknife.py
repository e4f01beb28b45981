"""How much a fit owes to each of its runs."""

from dataclasses import replace
from functools import partial

import numpy as np

from prunescale.errors import FitError
from prunescale.fitting.least_squares import pose
from prunescale.fitting.problem import Problem
from prunescale.fitting.result import Fit, Refit
from prunescale.fitting.solve import solve
from prunescale.fitting.starts import promising_starts
from prunescale.laws import Columns, Law

N_STARTS = 4  # beside the full fit's optimum


def jackknife(full: Fit, columns: Columns, *, seed: int = 0) -> Fit:
    """The same fit with the law refitted without each of its runs in turn, from the columns that it was fitted to.

    Each refit starts from the full fit's constants and from a few fresh places. A run without which constants are left open
    is skipped, and the result says why.
    """
    law, phases = type(full.law), full.phases
    pose_again = partial(pose, law, fixed=full.fixed, objective=full.objective, min_tokens=full.min_tokens, phases=phases)
    refits, skipped = [], {}
    for run in np.unique(pose_again(columns).points.columns["run"]).tolist():
        others = np.asarray(columns["run"]) != run
        try:
            problem = pose_again({name: np.asarray(column)[others] for name, column in columns.items()})
        except FitError as error:
            skipped[str(run)] = str(error)
        else:
            refits.append(Refit(str(run), _refit(problem, full, seed)))
    return replace(full, refits=tuple(refits), refits_skipped=skipped)


def _refit(problem: Problem, full: Fit, seed: int) -> Law:
    constants = full.law.constants()
    here = problem.space.fractions(np.array([constants[name] for name in problem.space.bounds]))
    fresh = promising_starts(problem, n_candidates=128, n_starts=N_STARTS, seed=seed)
    return problem.law_at(solve(problem, np.vstack([here, fresh])).fractions)
