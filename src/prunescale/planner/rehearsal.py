"""A planned sweep carried out many times on paper before anyone pays for it: what would its answers be?

Given constants that are assumed to be true and a size of noise, whole studies are drawn and each is fitted as it would be. The
spread of their answers is what one study's answer is worth, and where it is wide the sweep cannot answer, however well its
fit will look.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from math import inf

import numpy as np

from prunescale.errors import FitError
from prunescale.fitting.identify import Gap, gaps
from prunescale.fitting.minimise import minimise
from prunescale.fitting.pose import pose
from prunescale.fitting.problem import Problem
from prunescale.fitting.replicate import ELEMENTS, TOLERANCE, revived
from prunescale.fitting.search import starts
from prunescale.laws import Law
from prunescale.planner.planned import Planned
from prunescale.planner.questions import Question

LEVEL = 0.9  # of studies
COARSE = 3.0  # times the error asked for, by logarithms where a factor was asked for: a factor of 2 becomes one of 8
N_OTHERS = 2  # starts besides the truth: in tries they led one study in thirty to a better end
FEWEST = 20  # studies: with fewer, none lies beyond 5 and 95 %


class Verdict(Enum):
    """Whether a sweep answers a question."""

    ANSWERS = "In nine of ten such studies the answer comes as near to the truth as was asked for."
    COARSE = "In nine of ten such studies the answer comes near the truth, but not as near as was asked for: take its order of magnitude."
    CANNOT = (
        "Such studies disagree by far more than was asked for, however well the law fits each: this sweep cannot answer that."
    )


@dataclass(frozen=True)
class Spread:
    """What the studies said of one number. An answer at an end of what was sought lies there or beyond."""

    truth: float
    low: float  # 5 % of studies lie below
    median: float
    high: float  # 5 % of studies lie above
    median_relative_error: float | None  # None where the truth is 0

    @property
    def factor(self) -> float:
        """The high end over the low one."""
        return self.high / self.low if self.low > 0 else inf


@dataclass(frozen=True)
class Answered:
    """A question, and what the studies answered. error: what nine of ten stay within, a factor or a difference as was asked for."""

    question: Question
    spread: Spread | None  # None where no study could be fitted
    times: float  # the error over that which was asked for
    verdict: Verdict

    @property
    def error(self) -> float:
        return self.question.in_own_terms(self.times)


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """What a planned sweep would say, and what it could not."""

    planned: Planned
    n_studies: int
    seed: int
    gaps: tuple[Gap, ...]  # constants that it leaves open, however little noise there is; nothing else is known then
    answers: tuple[Answered, ...]
    constants: Mapping[str, Spread]  # those that are free
    at_bound: Mapping[str, float]  # the share of studies in which a constant ended at its bound
    any_at_bound: float  # in which at least one did

    @property
    def main(self) -> Answered:
        """The question that was asked first."""
        return self.answers[0]

    @property
    def verdict(self) -> Verdict:
        """Of the main question; the others are told beside it."""
        return self.main.verdict


def rehearse(planned: Planned, questions: Sequence[Question], *, n: int = 200, seed: int = 0) -> Rehearsal:
    """The answers of n studies that might be, each drawn with its own noise and fitted from the truth and from other starts."""
    if not questions:
        raise ValueError("a rehearsal needs a question")
    if n < FEWEST:
        raise FitError(f"A range from 5 to 95 % of studies needs {FEWEST} of them at least, got {n}.")
    found = gaps(type(planned.law), planned.columns, planned.fixed)
    if found:
        unanswered = tuple(Answered(question, None, inf, Verdict.CANNOT) for question in questions)
        return Rehearsal(planned, n, seed, found, unanswered, {}, {}, 0.0)
    problem, coordinates = studies(planned, n, seed, n_others=N_OTHERS)
    constants, laws = constants_of(problem, coordinates)
    on_bound = problem.free & ((coordinates <= problem.box[0]) | (coordinates >= problem.box[1]))
    free = {name: index for index, name in enumerate(problem.names) if name not in planned.fixed}
    truths = planned.law.constants()
    return Rehearsal(
        planned=planned,
        n_studies=n,
        seed=seed,
        gaps=(),
        answers=tuple(_answered(question, question.of(laws), float(question.of(planned.law)[0])) for question in questions),
        constants={name: _spread(constants[:, index], truths[name]) for name, index in free.items()},
        at_bound={name: float(np.mean(on_bound[:, index])) for name, index in free.items()},
        any_at_bound=float(np.mean(on_bound.any(axis=1))),
    )


def studies(planned: Planned, n: int, seed: int, *, n_others: int) -> tuple[Problem, np.ndarray]:
    """Where the fits of n studies end, (studies, constants), as coordinates of the problem that each of them is, the truth known.

    Each fit starts from the truth and from so many places besides, where a fit that does not know the truth might begin.
    """
    columns = {**planned.columns, "loss": planned.law.predict(planned.columns)}
    problem = pose(
        type(planned.law),
        columns,
        fixed=planned.fixed,
        objective=planned.objective,
        weighting="runs",
        min_tokens=0,
        phases=None,
    )
    points = problem.points
    truth = problem.coordinates(np.array(list((planned.law.constants() | dict(planned.fixed)).values()), dtype=float))
    losses = points.loss * (1 + planned.noise.draw(points, n, seed))
    one = replace(problem, points=replace(points, columns={**points.columns, "loss": losses[0]}))
    begin = np.vstack([revived(one, truth), *([starts(one, n_others)[:n_others]] if n_others else [])])
    size = max(1, ELEMENTS // (len(begin) * len(points.loss)))
    found = [_best(problem, begin, losses[first : first + size]) for first in range(0, n, size)]
    return problem, np.concatenate(found)


def _best(problem: Problem, begin: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """The best end of each study, from all of these starts at once."""
    n = len(losses)
    reached = minimise(problem, np.repeat(begin, n, axis=0), loss=np.tile(losses, (len(begin), 1)), tolerance=TOLERANCE)
    cost = np.where(np.isfinite(reached.cost), reached.cost, inf).reshape(len(begin), n)
    return reached.coordinates.reshape(len(begin), n, -1)[np.argmin(cost, axis=0), np.arange(n)]


def constants_of(problem: Problem, coordinates: np.ndarray) -> tuple[np.ndarray, Law]:
    """The constants of each study, (studies, constants), and the law of them all; a factor at its least has vanished."""
    vanished = problem.logarithmic & problem.free & (coordinates <= problem.box[0])
    constants = np.where(vanished, 0.0, problem.constants(coordinates))
    columns = np.moveaxis(constants, -1, 0)[:, :, None]
    return constants, problem.law.from_constants(dict(zip(problem.names, columns, strict=True)))


def verdict_of(times: float) -> Verdict:
    """By the error over that which was asked for."""
    return Verdict.ANSWERS if times <= 1 else Verdict.COARSE if times <= COARSE else Verdict.CANNOT


def _answered(question: Question, values: np.ndarray, truth: float) -> Answered:
    # The nearest rank keeps an infinite answer infinite, where interpolation would make it nan.
    times = float(np.quantile(question.errors(values, truth), LEVEL, method="nearest"))
    return Answered(question, _spread(values, truth), times, verdict_of(times))


def _spread(values: np.ndarray, truth: float) -> Spread:
    low, median, high = np.quantile(values, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2], method="nearest")
    off = float(np.median(np.abs(values / truth - 1))) if truth else None
    return Spread(float(truth), float(low), float(median), float(high), off)
