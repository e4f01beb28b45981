"""From a table and a law to a problem that has an answer, or an error that says why there is none."""

from collections.abc import Collection, Mapping

from prunescale.errors import FitError
from prunescale.fitting.identify import gaps
from prunescale.fitting.objective import OBJECTIVES
from prunescale.fitting.points import Points, select
from prunescale.fitting.problem import Problem
from prunescale.laws import Columns, Law


def pose(
    law: type[Law],
    columns: Columns,
    *,
    fixed: Mapping[str, float],
    objective: str,
    weighting: str,
    min_tokens: float,
    phases: Collection[str] | None,
) -> Problem:
    """The problem that a solver sees; a FitError where it has no answer, however good the data."""
    if objective not in OBJECTIVES:
        raise FitError(f"No objective is called {objective}; there are {', '.join(sorted(OBJECTIVES))}.")
    _refuse_fixed(law, fixed)
    points = select(law, columns, min_tokens=min_tokens, phases=phases, weighting=weighting)
    _refuse_too_few(law, points, len(law.bounds) - len(fixed))
    _refuse_gaps(law, points, fixed)
    return Problem(law, points, objective, {name: float(value) for name, value in fixed.items()})


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


def _refuse_gaps(law: type[Law], points: Points, fixed: Mapping[str, float]) -> None:
    found = gaps(law, points.columns, fixed)
    if not found:
        return
    open_constants = ", and ".join(gap.constants for gap in found)
    are, them = ("is", "it") if sum(gap.n_open for gap in found) == 1 else ("are", "them")
    fixes = " ".join(f"--fix {name}={value:g}" for gap in found for name, value in gap.fix.items())
    raise FitError(
        f"The {law.title} cannot be fitted to {' and '.join(gap.got for gap in found)}: {open_constants} {are} not identified; "
        f"add {' and '.join(gap.add for gap in found)}" + (f" or fix {them}, for example {fixes}." if fixes else ".")
    )
