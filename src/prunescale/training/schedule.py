"""The learning rate over a run: linear warm-up, constant, and linear decay to zero at the end if wanted."""

from dataclasses import dataclass

import numpy as np

from prunescale.recipe import TrainRecipe
from prunescale.runs import Phase


@dataclass(frozen=True)
class Schedule:
    """Steps of the three phases. A step is counted from 1, and its rate is that of the update it makes."""

    peak: float
    n_warmup: int
    n_constant: int
    n_decay: int

    @property
    def n_steps(self) -> int:
        return self.n_warmup + self.n_constant + self.n_decay

    def phase(self, step: int) -> Phase:
        if step == 0:
            return "before"
        if step <= self.n_warmup:
            return "warm-up"
        return "constant" if step <= self.n_warmup + self.n_constant else "decay"

    def learning_rate(self, step: int) -> float:
        """Rises to the peak over the warm-up's steps, and falls over the decay's to reach zero one step after the last, so that
        no step is lost to a rate of zero."""
        if step == 0:
            return 0.0
        rising = step / max(self.n_warmup, 1)
        falling = (self.n_steps + 1 - step) / (self.n_decay + 1)
        return self.peak * min(1.0, rising, falling)


def schedule_of(recipe: TrainRecipe) -> Schedule:
    """The schedule of a recipe, in whole steps. Tokens are rounded up to a whole number of batches; the warm-up comes first and
    never pushes out the decay."""
    n_steps = -(-recipe.tokens // recipe.batch_tokens)
    n_decay = round(recipe.decay_fraction * n_steps)
    n_warmup = min(-(-recipe.warmup_tokens // recipe.batch_tokens), n_steps - n_decay)
    return Schedule(recipe.learning_rate, n_warmup, n_steps - n_warmup - n_decay, n_decay)


def measured_steps(recipe: TrainRecipe) -> list[int]:
    """The steps after which the held-out loss is measured: the last, and before it log-spaced ones from the first measurement on."""
    n_steps = schedule_of(recipe).n_steps
    first_tokens = recipe.first_measurement or max(recipe.batch_tokens, recipe.tokens // 100)
    first = min(max(1, round(first_tokens / recipe.batch_tokens)), n_steps)
    return sorted(set(np.geomspace(n_steps, first, recipe.n_measurements).round().astype(int).tolist()))
