"""Questions that a sweep is meant to answer, each with how near to the truth its answer should come."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, log

import numpy as np

from prunescale.amounts import short
from prunescale.errors import FitError
from prunescale.fitting import Answer
from prunescale.laws import Law
from prunescale.planner.gain import doubling_gain, tokens_worth
from prunescale.planner.optimum import best_size, best_sparsity
from prunescale.planner.planned import size_of_best
from prunescale.planner.trust import checked_inputs, checked_positive


@dataclass(frozen=True)
class Question:
    """A number that follows from a law. within: a factor where `as_ratio`, else a difference in the answer's own unit."""

    words: str
    answer: Answer
    within: float
    as_ratio: bool
    unit: str = ""
    ends: tuple[float, float] = (0.0, inf)  # an answer at one of them lies there or beyond
    rule: str = ""  # by which the answer is chosen

    def __post_init__(self) -> None:
        if not (1 if self.as_ratio else 0) < self.within < inf:
            least = "a factor above 1" if self.as_ratio else "a difference above 0"
            raise FitError(f"How near the answer should come is {least}, got {self.within:g}.")

    def of(self, law: Law) -> np.ndarray:
        """The answer by each study's law; (studies,)."""
        return np.ravel(self.answer(law)).astype(float)

    def errors(self, answers: np.ndarray, truth: float) -> np.ndarray:
        """How far answers lie from the truth, where 1 is as far as asked for: by their logarithms where `as_ratio`."""
        if not self.as_ratio:
            return np.abs(answers - truth) / self.within
        with np.errstate(divide="ignore"):
            return np.abs(np.log(answers / truth)) / log(self.within)

    def in_own_terms(self, error: float) -> float:
        """Such an error as a factor, or as a difference."""
        if not self.as_ratio:
            return error * self.within
        return self.within**error if error * log(self.within) < log(1e300) else inf


def ask_tokens(
    law: Law, inputs: Mapping[str, float], min_gain: float, *, between: tuple[float, float], within: float = 2.0
) -> Question:
    """D*: the tokens after which the next doubling gains less than `min_gain` nats, sought between these."""
    inputs, min_gain = checked_inputs(law, inputs), checked_positive("The least gain", min_gain)
    if "n_tokens" not in law.columns:
        raise FitError(f"The {law.title} knows no tokens, so none can be worth spending by it.")
    return Question(
        f"tokens worth spending on {_described(inputs)}",
        lambda law: tokens_worth(law, inputs, min_gain, doubling_gain, between=between),
        within,
        as_ratio=True,
        unit="tokens",
        ends=between,
        rule=f"until the next doubling gains less than {min_gain:g} nats",
    )


def ask_loss(law: Law, inputs: Mapping[str, float], *, within: float = 0.02) -> Question:
    """The loss where `inputs` says, tokens included, in nats per token."""
    inputs = checked_inputs(law, inputs, besides=())
    return Question(f"loss of {_described(inputs)}", lambda law: law.loss(**inputs), within, as_ratio=False, unit="nats")


def ask_size(law: Law, compute: float, inputs: Mapping[str, float], *, within: float = 2.0) -> Question:
    """N*: the best size for so many FLOPs of training."""
    size, compute = size_of_best(law), checked_positive("The compute", compute)
    inputs = checked_inputs(law, inputs, besides=("n_tokens", size))
    return Question(
        f"best size for {compute:.3g} FLOPs", lambda law: best_size(law, compute, size, inputs), within, as_ratio=True
    )


def ask_sparsity(law: Law, compute: float, n_params_nonzero: float, *, within: float = 0.1) -> Question:
    """S*: the best sparsity of a model with so many non-zero parameters, for so many FLOPs of training."""
    if set(law.columns) != {"n_params_nonzero", "n_tokens", "sparsity"}:
        raise FitError(
            f"The {law.title} is no law of non-zero parameters, tokens and sparsity, so there is no best sparsity by it."
        )
    compute = checked_positive("The compute", compute)
    n_params = checked_positive("n_params_nonzero", n_params_nonzero)
    words = f"best sparsity of {short(n_params)} non-zero parameters for {compute:.3g} FLOPs"
    return Question(words, lambda law: best_sparsity(law, compute, n_params), within, as_ratio=False)


def ask_constant(law: Law, name: str, *, within: float = 0.1) -> Question:
    """A constant, to such a share of its true value."""
    if name not in law.bounds:
        raise FitError(f"The {law.title} has no constant {name}; it has {', '.join(law.bounds)}.")
    near = within * abs(law.constants()[name])
    if near == 0:
        raise FitError(f"{name} is assumed to be 0, of which no share can be asked for.")
    return Question(f"constant {name}", lambda law: getattr(law, name), near, as_ratio=False)


def _described(inputs: Mapping[str, float]) -> str:
    """8B at a rate of 0.25 after 10B tokens."""
    words = {"pruning_rate": "at a rate of {}", "sparsity": "at a sparsity of {}", "n_tokens": "after {} tokens"}
    named = {name: value for name, value in inputs.items() if not name.startswith("loss_")}
    in_order = sorted(named, key=lambda name: (name == "n_tokens", not name.startswith("n_params")))
    return " ".join(_phrase(name, words).format(short(named[name])) for name in in_order) or "the model"


def _phrase(name: str, words: Mapping[str, str]) -> str:
    return "{}" if name.startswith("n_params") else words.get(name, name + " {}")
