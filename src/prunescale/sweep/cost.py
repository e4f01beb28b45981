"""What a run will cost, before it is begun: tokens, operations, and hours at a speed that was measured."""

from dataclasses import dataclass
from math import log
from statistics import median

import torch

from prunescale.devices import device_name
from prunescale.models import read_folder, shape_of, shape_of_recipe, tokenizer_at
from prunescale.pruning import METHODS
from prunescale.recipe import PruneRecipe, Recipe
from prunescale.runs import Store
from prunescale.shape import ModelShape
from prunescale.training import dtype_of, matmul_rate, schedule_of

USUAL_SHARE = 0.35
"""Of the rate of large matrix products, which a training reaches, where no run has been measured: between small models and large."""

NEAREST = 5
"""How many measured runs of the nearest size say how fast another will be."""


@dataclass(frozen=True)
class Cost:
    """n_tokens: trained on, with the branches of cooldowns and the trainings between the steps of a pruning. flops: of all of that, with
    the teacher's forward passes; loss measurements are left out."""

    n_tokens: int
    flops: float

    @property
    def flops_per_token(self) -> float:
        return self.flops / self.n_tokens


@dataclass(frozen=True)
class Speed:
    """Operations a second of trainings of this many operations a token, measured or guessed; source: on what, for people."""

    measured: tuple[tuple[float, float], ...]
    source: str

    def seconds(self, cost: Cost) -> float:
        """By the middle of the measured runs of the nearest size."""
        distance = {run: abs(log(run[0] / cost.flops_per_token)) for run in self.measured}
        nearest = sorted(self.measured, key=distance.__getitem__)[:NEAREST]
        return cost.flops / median(rate for _, rate in nearest)


def n_tokens_of(recipe: Recipe) -> int:
    """Tokens that a recipe trains on in all."""
    return n_tokens_after_pruning(recipe) + n_tokens_between(recipe)


def n_tokens_after_pruning(recipe: Recipe) -> int:
    """With the branches of cooldowns."""
    return schedule_of(recipe.train).n_steps_in_all * recipe.train.batch_tokens


def cost_of(recipe: Recipe) -> Cost:
    """The cost of a recipe by the sizes of its model. What depth and width pruning take away is taken to be their share of the blocks'
    operations, to which they come but for the sizes that they can choose from; zeros are computed with.

    Raises ModelError where the model is not there yet."""
    shape, length = shape_before(recipe), recipe.train.sequence_length
    head = 6 * shape.vocab_size * shape.hidden_size
    blocks = shape.flops_per_token(length) - head
    taught = teacher_flops(recipe, shape)
    per_token = head + blocks * (1 - share_removed(recipe.prune)) + taught
    between = n_tokens_between(recipe) * (head + blocks * (1 - share_removed(recipe.prune) / 2))
    return Cost(n_tokens_of(recipe), n_tokens_after_pruning(recipe) * per_token + between)


def n_tokens_between(recipe: Recipe) -> int:
    """Trained on between the steps of a pruning."""
    wanted = recipe.prune
    return ((wanted.steps or 1) - 1) * (wanted.step_tokens or 0) if wanted else 0


def share_removed(wanted: PruneRecipe | None) -> float:
    """Of the operations of the blocks."""
    if not wanted or wanted.rate is None or METHODS[wanted.method].kind not in ("depth", "width"):
        return 0.0
    return wanted.rate


def shape_before(recipe: Recipe) -> ModelShape:
    """Of the model that a recipe begins with."""
    if recipe.model:
        return shape_of_recipe(recipe.model, len(tokenizer_at(recipe.model.tokenizer)))
    assert recipe.base
    return shape_of(read_folder(recipe.base).config)


def teacher_flops(recipe: Recipe, shape: ModelShape) -> int:
    """A token: of a forward pass of the teacher."""
    if not recipe.distill:
        return 0
    teacher = shape if recipe.distill.teacher == "parent" else shape_of(read_folder(recipe.distill.teacher).config)
    return teacher.forward_flops_per_token(recipe.train.sequence_length)


def kind(device: str) -> str:
    """A device's name without its threads."""
    return device.split(",")[0]


def speed_of(store: Store | None, device: torch.device, n_devices: int = 1) -> Speed:
    """How fast trainings are on a device, or so many that share a model: as the runs of a store were on such, or else by a share of the
    rate of matrix products, which is measured here in less than a second."""
    name = kind(device_name(device, n_devices))
    # Runs that shared a GPU had a part of it each, and so took as many times as long.
    measured = [
        (run.flops / run.seconds / run.tokens_per_second, run.flops / run.seconds * run.inputs.get("runs_per_gpu", 1.0))
        for run in (store.without_points() if store else ())
        if run.flops and run.seconds and run.tokens_per_second and run.device and kind(run.device) == name
    ]
    if measured:
        return Speed(tuple(measured), f"as the {len(measured)} runs on {name} in the store")
    rate = USUAL_SHARE * n_devices * matmul_rate(device, dtype_of("auto", device))
    return Speed(
        ((1.0, rate),), f"a guess, {USUAL_SHARE:.0%} of the rate of matrix products on {name}: the store has no run on that"
    )
