"""What a person should know about a fit before believing it: coded, so that a program can tell them apart, each with its sentence."""

from dataclasses import dataclass

import numpy as np

from prunescale.fitting.excess import SMALL
from prunescale.fitting.metrics import excess_over
from prunescale.fitting.minimise import SAME_LOSS
from prunescale.fitting.points import Points
from prunescale.fitting.precision import Precision
from prunescale.laws import Law

LAST = 0.2  # share of a curve's points that counts as its end
CLEAR = 3.0  # standard errors from which on a mean is told apart from zero: with ten means looked at, once in 40 fits by chance
VISIBLE = 0.5  # of the root mean square error: a lean smaller than this does not matter
LOOKED_AT = ("sparsity", "pruning_rate")  # looked at whether or not the law has them

CODES: dict[str, str] = {
    "at-bound": "A constant ended at its bound. Its value is the bound's, not the data's, and its interval is one-sided.",
    "baseline": "A power law fitted to each curve alone predicts the rest of the curves better than the law of all runs together.",
    "below-control": "Measured losses lie below those of their control, where the law cannot go. See whether it was trained alike.",
    "below-before": "Measured losses lie below that before pruning, where the law cannot go. Compare with a control that was not pruned.",
    "drift": "The errors at the end of the curves have one sign, so the law's slope there is wrong, and further on it will be more so.",
    "far": "A question lies outside the runs that were fitted, by the factor given. Held-out tests say little about so far.",
    "few-runs": "There are hardly more runs than constants, so how runs differ cannot be told, and intervals are a lower limit.",
    "leans": "At an end of an input's values the law lies to one side of what was measured. Beyond that end it will lie further off.",
    "left-out": "Points that the fit did not use, by reason.",
    "mixed-methods": "Runs of several pruning methods are fitted as one, though what a rate costs is another for each.",
    "mixed-phases": "Constant-rate checkpoints and annealed ends are fitted as one. They differ at the same tokens by more than noise.",
    "near-zero": "A constant is not told apart from zero.",
    "no-control": "A run that is carried on has no control: its excess is over the loss before pruning, which training lowers too.",
    "not-identified": "Constants can change together without changing any prediction for these runs.",
    "plateau": "Huber's objective is the same to rounding over a stretch of constants, and which of them a fit reports is chance.",
    "rival": "Another law fitted to the same runs answers otherwise. How far apart the two are is part of the answer's error.",
    "shared-control": "Runs share controls, whose errors are common to them, and bases are too few to tell. Intervals are a lower limit.",
    "starts-disagree": "Few of the starts ended at the best optimum found, so a better one may exist.",
    "undecided": "Laws that predict differently where it matters do equally well on held-out runs, within noise.",
    "void": "A constant has no effect, as the term that it belongs to vanished.",
    "weak": "Constants are determined only together, or hardly at all.",
    "wide": "The interval of the answer is wide: the answer is known to a factor only.",
}
"""Every code and what it means, whatever the fit."""


@dataclass(frozen=True)
class Check:
    """Something that a fit or an answer should be read with: its code and, in a sentence, what was seen."""

    code: str
    text: str

    def __post_init__(self) -> None:
        assert self.code in CODES


def checks(law: Law, points: Points, at_bound: tuple[str, ...], void: tuple[str, ...], known: Precision) -> tuple[Check, ...]:
    """All that can be said of a fit from its own points."""
    return (
        *_phases(points),
        *_below_before(law, points),
        *(Check("at-bound", _bound_words(law, name)) for name in at_bound if name not in void),
        *(Check("void", f"{name} has no effect: the term that it belongs to vanished.") for name in void),
        *_weak(known),
        *_plateau(known),
        *_near_zero(law, known),
        *_few_runs(points, known),
        *_shared_control(law, points, known),
        *_drift(law, points),
        *_leans(law, points),
        *(Check("left-out", f"Left out: {n} points, {reason}.") for reason, n in points.left_out.items()),
    )


def _phases(points: Points) -> tuple[Check, ...]:
    names, n_points = np.unique(points.columns.get("phase", np.array([])), return_counts=True)
    if len(names) < 2:
        return ()
    counts = ", ".join(f"{n} of the phase {name}" for name, n in zip(names, n_points, strict=True))
    return (Check("mixed-phases", f"Points of several learning-rate phases are fitted as one: {counts}."),)


def _below_before(law: Law, points: Points) -> tuple[Check, ...]:
    over = excess_over(type(law))
    if over == "loss_control":
        n_below = int(np.sum(points.loss < points.columns[over] - SMALL))
        text = (
            f"{n_below} of {len(points.loss)} points lie more than {SMALL:g} nats below the loss of their control, where the {law.title} "
            "cannot go: see whether the control was trained as they were."
        )
        return (Check("below-control", text),) if n_below else ()
    n_below = int(np.sum(points.loss < points.columns[over])) if over else 0
    if n_below == 0:
        return ()
    text = (
        f"{n_below} of {len(points.loss)} points lie below the loss before pruning, where the {law.title} cannot go: further training "
        "on this text would have lowered the loss of the unpruned model too, so compare with a control that was not pruned."
    )
    return (Check("below-before", text),)


def _bound_words(law: Law, name: str) -> str:
    bound, value = law.bounds[name], law.constants()[name]
    if bound.log and value == 0:
        return f"{name} ended at 0: the points want its term to vanish."
    side = "upper" if value > (bound.low + bound.high) / 2 else "lower"
    return f"{name} ended at its {side} bound, {value:g}."


def _weak(known: Precision) -> tuple[Check, ...]:
    return tuple(
        Check(
            "weak",
            f"The points determine {' and '.join(names)} {'only together' if len(names) > 1 else 'hardly at all'} "
            f"(singular value of the scaled Jacobian: {ratio:.1g} of the largest).",
        )
        for names, ratio in known.weak
    )


def _plateau(known: Precision) -> tuple[Check, ...]:
    if not known.plateau:
        return ()
    names = dict.fromkeys(name for direction in known.plateau for name in direction)
    words = (
        f"Too few points lie within 0.001 of the law to hold {', '.join(names)}: Huber's objective is the same over a stretch of them. "
        "Take squared-log, or more points."
    )
    return (Check("plateau", words),)


def _near_zero(law: Law, known: Precision) -> tuple[Check, ...]:
    constants = law.constants()
    # Not of a factor: where its exponent is unsure it may be anything, and yet its term is plainly there.
    errors = {name: error for name, error in known.standard_errors.items() if not law.bounds[name].log}
    unsure = [name for name, error in errors.items() if error is not None and error > abs(constants[name])]
    words = f"Not told apart from zero by these points: {', '.join(unsure)} (standard error above the value)."
    return (Check("near-zero", words),) if unsure else ()


def _few_runs(points: Points, known: Precision) -> tuple[Check, ...]:
    if known.by_run or known.covariance is None:
        return ()
    n = len(known.covariance)
    return (
        Check(
            "few-runs",
            f"{points.n_runs} run{'s' * (points.n_runs != 1)} for {n} constants: how runs differ from one another cannot be told, so "
            "intervals count points of a run as several measurements and are a lower limit.",
        ),
    )


def _shared_control(law: Law, points: Points, known: Precision) -> tuple[Check, ...]:
    bases = points.base_index
    if "loss_control" not in law.columns or known.by_base or bases is None or known.covariance is None:
        return ()
    n_bases = int(bases.max(initial=-1)) + 1
    if n_bases >= points.n_runs:
        return ()
    of_bases = f"{n_bases} base{'s' * (n_bases != 1)}"
    words = (
        f"{points.n_runs} runs share the controls of {of_bases}, too few for {len(known.covariance)} constants: the errors of controls are "
        "not in the intervals, which are a lower limit."
    )
    return (Check("shared-control", words),)


def _drift(law: Law, points: Points) -> tuple[Check, ...]:
    """The mean error at the end of the curves, curves counted and not points."""
    position, length = points.position_in_run
    end = (length >= 5) & (position >= np.ceil((1 - LAST) * length))
    error = law.predict(points.columns) - points.loss
    if _lean(error, end, points) is None:
        return ()
    lean = _mean_of_runs(error, end, points)
    side = "above" if lean > 0 else "below"
    return (
        Check(
            "drift",
            f"Over the last fifth of the curves the law lies {abs(lean):.2g} nats {side} the measured losses on average "
            f"(root mean square error of all points: {np.sqrt(np.mean(error**2)):.2g}).",
        ),
    )


def _leans(law: Law, points: Points) -> tuple[Check, ...]:
    """Errors at each end of each input."""
    error = law.predict(points.columns) - points.loss
    found = []
    for name in dict.fromkeys([*law.columns, *LOOKED_AT]):
        values = points.columns.get(name)
        if values is None or name in ("n_tokens", "loss_before", "loss_control") or len(np.unique(values)) < 3:
            continue
        for word, at_end in (("highest", values == values.max()), ("lowest", values == values.min())):
            if _lean(error, at_end, points) is not None:
                lean = _mean_of_runs(error / points.loss, at_end, points)
                side = "above" if lean > 0 else "below"
                where = f"At the {word} {name} ({values[at_end][0]:.4g})"
                text = f"{where} the law lies {100 * abs(lean):.2g} % {side} the measured losses on average."
                found.append(Check("leans", text))
    return tuple(found)


def _lean(error: np.ndarray, chosen: np.ndarray, points: Points) -> float | None:
    """The mean error over the chosen points' runs, if it is visible and told apart from zero; None otherwise. Errors count as they do in
    the fit: where they are shares of an excess, ends of curves are not hidden behind the larger errors of their beginnings."""
    error, runs = error * np.sqrt(points.weight), points.run_index[chosen]
    if len(np.unique(runs)) < 3 or len(np.unique(points.run_index)) < 6:
        return None
    sums, n_points = np.bincount(runs, error[chosen]), np.bincount(runs)
    means = sums[n_points > 0] / n_points[n_points > 0]
    mean, spread = float(np.mean(means)), float(np.std(means, ddof=1)) / np.sqrt(len(means))
    visible = VISIBLE * float(np.sqrt(np.mean(error**2))) + SAME_LOSS
    return mean if abs(mean) > max(CLEAR * spread, visible) else None


def _mean_of_runs(error: np.ndarray, chosen: np.ndarray, points: Points) -> float:
    runs = points.run_index[chosen]
    sums, n_points = np.bincount(runs, error[chosen]), np.bincount(runs)
    return float(np.mean(sums[n_points > 0] / n_points[n_points > 0]))
