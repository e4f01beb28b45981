"""The learning rate over a run: linear warm-up, constant, and a fall at the end if wanted; and the cooldowns that branch off it."""

import math
from dataclasses import dataclass

import numpy as np

from prunescale.recipe import TrainRecipe
from prunescale.runs import Phase


@dataclass(frozen=True)
class Cooldown:
    """A branch of the training: from the state after `start` steps the learning rate falls linearly, to reach zero one step after `end`.
    Its steps see the same data as those of the training itself."""

    peak: float
    start: int
    end: int

    def learning_rate(self, step: int) -> float:
        return self.peak * (self.end + 1 - step) / (self.end + 1 - self.start)


@dataclass(frozen=True)
class Schedule:
    """Steps of the three phases. A step is counted from 1, and its rate is that of the update it makes. final_rate: what the decay falls
    to, as a share of the peak. cooldowns: in the order in which they branch off."""

    peak: float
    n_warmup: int
    n_constant: int
    n_decay: int
    is_cosine: bool = False
    final_rate: float = 0.0
    cooldowns: tuple[Cooldown, ...] = ()

    @property
    def n_steps(self) -> int:
        return self.n_warmup + self.n_constant + self.n_decay

    def phase(self, step: int) -> Phase:
        """The last step of a decay is annealed: what is measured there is the loss of a finished model."""
        if step == 0:
            return "before"
        if step <= self.n_warmup:
            return "warm-up"
        if step <= self.n_warmup + self.n_constant:
            return "constant"
        return "decay" if step < self.n_steps else "annealed"

    def learning_rate(self, step: int) -> float:
        """Rises to the peak over the warm-up's steps, and falls over the decay's to reach its end one step after the last, so that
        no step is lost to a rate of zero."""
        if step == 0:
            return 0.0
        rising = step / max(self.n_warmup, 1)
        left = min(1.0, (self.n_steps + 1 - step) / (self.n_decay + 1))
        falling = (1 - math.cos(math.pi * left)) / 2 if self.is_cosine else left
        return self.peak * min(1.0, rising, self.final_rate + (1 - self.final_rate) * falling)

    @property
    def branching(self) -> dict[int, list[Cooldown]]:
        """The cooldowns by the step after which they leave."""
        found: dict[int, list[Cooldown]] = {}
        for cooldown in self.cooldowns:
            found.setdefault(cooldown.start, []).append(cooldown)
        return found

    @property
    def n_steps_in_all(self) -> int:
        """With those of the cooldowns."""
        return self.n_steps + sum(cooldown.end - cooldown.start for cooldown in self.cooldowns)


def schedule_of(recipe: TrainRecipe) -> Schedule:
    """The schedule of a recipe, in whole steps. Tokens are rounded up to a whole number of batches; the warm-up comes first and
    never pushes out the decay."""
    n_steps = steps_for(recipe.tokens, recipe)
    n_decay = round(recipe.decay_fraction * n_steps)
    n_warmup = min(steps_for(recipe.warmup_tokens, recipe), n_steps - n_decay)
    cooldowns = [cooldown_to(steps_for(n_tokens, recipe), recipe) for n_tokens in recipe.cooldowns or ()]
    return Schedule(
        recipe.learning_rate,
        n_warmup,
        n_steps - n_warmup - n_decay,
        n_decay,
        is_cosine=recipe.decay == "cosine",
        final_rate=recipe.final_rate or 0.0,
        cooldowns=tuple(sorted(set(cooldowns), key=lambda cooldown: (cooldown.start, cooldown.end))),
    )


def steps_for(n_tokens: int, recipe: TrainRecipe) -> int:
    """Whole batches, rounded up."""
    return -(-n_tokens // recipe.batch_tokens)


def cooldown_to(end: int, recipe: TrainRecipe) -> Cooldown:
    return Cooldown(recipe.learning_rate, end - max(1, round(recipe.cooldown_share * end)), end)


def measured_steps(recipe: TrainRecipe) -> list[int]:
    """The steps after which the held-out loss is measured: the last, and before it log-spaced ones from the first measurement on."""
    n_steps = schedule_of(recipe).n_steps
    first_tokens = recipe.first_measurement or max(recipe.batch_tokens, recipe.tokens // 100)
    first = min(max(1, round(first_tokens / recipe.batch_tokens)), n_steps)
    return sorted(set(np.geomspace(n_steps, first, recipe.n_measurements).round().astype(int).tolist()))
