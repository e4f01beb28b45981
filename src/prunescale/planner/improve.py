"""Which single change of a planned sweep helps most for what it costs: each is rehearsed too."""

from dataclasses import dataclass
from math import inf, log

import numpy as np

from prunescale.fitting.identify import gaps
from prunescale.planner.changes import Change, changes
from prunescale.planner.planned import Planned
from prunescale.planner.questions import Question
from prunescale.planner.rehearsal import LEVEL, Rehearsal, Verdict, constants_of, studies, verdict_of

N_STUDIES = 100  # for each change
N_DRAWS = 200  # of studies, with replacement, for the interval of a gain
FREE = 1e-9  # of the sweep's cost: what costs less costs nothing


@dataclass(frozen=True)
class Improvement:
    """What one change does to a question's answer. Costs are those beyond the sweep's own; None: not a matter of training."""

    words: str
    error: float  # what nine of ten studies stay within, as in Answered; infinite where this sweep cannot be fitted either
    verdict: Verdict
    gain: float  # how many times smaller the error becomes; of its logarithm where a factor was asked for
    gain_interval: tuple[float, float]  # 90 %, for the number of studies drawn
    extra_tokens: float | None
    extra_flops: float | None
    extra_share: float | None  # of the sweep's own FLOPs, or of its tokens where sizes are not known

    @property
    def worth(self) -> float:
        """The logarithm of the gain that is sure, over its cost; infinite where only this makes the sweep answer at all."""
        if self.extra_share is None:
            return -inf
        sure = self.gain_interval[0]
        return max(log(sure), 0.0) / max(self.extra_share, FREE) if sure > 0 else 0.0


def improvements(rehearsal: Rehearsal, *, n: int = N_STUDIES) -> tuple[Improvement, ...]:
    """What each change by itself would do to the main answer: those first that surely gain most for what they cost.

    The runs that a changed sweep shares with the sweep as it is have the same noise in both, so little of a gain is chance. Fits
    start from the truth alone here, in both, which takes a third of the time and hardly changes their ratio.
    """
    question, planned = rehearsal.main.question, rehearsal.planned
    before = _errors(planned, question, n, rehearsal.seed)
    rng = np.random.default_rng(rehearsal.seed)
    draws = rng.integers(n, size=(N_DRAWS, n))
    found = [
        _improvement(change, planned, question, before, _errors(change.planned, question, n, rehearsal.seed), draws)
        for change in changes(planned)
    ]
    return tuple(sorted(found, key=lambda each: (-each.worth, each.extra_share is None, each.extra_share or 0.0)))


def _improvement(
    change: Change, planned: Planned, question: Question, before: np.ndarray, after: np.ndarray, draws: np.ndarray
) -> Improvement:
    times = _high(after)
    gains = _ratio(_high(before[draws]), _high(after[draws]))
    low, high = np.quantile(gains, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
    prices = _prices(planned, change.planned) if change.priced else (None, None, None)
    gain = float(_ratio(_high(before), times))
    return Improvement(
        change.words, question.in_own_terms(float(times)), verdict_of(float(times)), gain, (float(low), float(high)), *prices
    )


def _errors(planned: Planned, question: Question, n: int, seed: int) -> np.ndarray:
    """Of each study, as the question counts them; infinite where the sweep leaves constants open."""
    if gaps(type(planned.law), planned.columns, planned.fixed):
        return np.full(n, inf)
    _, laws = constants_of(*studies(planned, n, seed, n_others=0))
    return question.errors(question.of(laws), float(question.of(planned.law)[0]))


def _high(errors: np.ndarray) -> np.ndarray:
    return np.quantile(errors, LEVEL, axis=-1, method="nearest")


def _ratio(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How many times smaller; 1 where nothing changes, however bad or good it was."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(before == after, 1.0, before / after)


def _prices(before: Planned, after: Planned) -> tuple[float, float | None, float]:
    """Tokens and FLOPs more, and which share that is of what the sweep costs anyway."""
    tokens = after.n_tokens - before.n_tokens
    if before.flops is None or after.flops is None:
        return tokens, None, tokens / before.n_tokens if before.n_tokens else 0.0
    flops = after.flops - before.flops
    return tokens, flops, flops / before.flops if before.flops else 0.0
