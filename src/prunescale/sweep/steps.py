"""Pruning in steps, with training between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prunescale.models import Checkpoint, named_from_anywhere
from prunescale.pruning import METHODS, Calibration, prune
from prunescale.pruning.depth import nearest_blocks
from prunescale.pruning.prune import has_sparsity
from prunescale.recipe import PruneRecipe, Recipe, TrainRecipe
from prunescale.shape import ModelShape
from prunescale.training import Machine, RunFolder, Tokens, train_

SEED_STRIDE = 1_000_003
"""Between the seeds of the data of one training and the next, so that sweeps over small seeds do not meet."""


@dataclass(frozen=True)
class Between:
    """A training between two prunings. rate: pruned by then, a share of the parameters outside embeddings and head of the model
    before its first pruning. loss_before, loss: held-out loss around the training, nats per token. flops, seconds: of the training."""

    rate: float
    n_tokens: int
    loss_before: float
    loss: float
    flops: float
    seconds: float


def rates_of_steps(wanted: PruneRecipe, lineage: Mapping[str, Any], shape: ModelShape) -> list[float | None]:
    """The rate to prune to at each step; [None] where a pattern says it.

    Each step leaves the same share of what the one before left, so that (1 - rate)^(k / K) of the model is left after step k of K,
    as gradual magnitude pruning does (Jin et al. 2025, arXiv:2501.12486). Of a model that was pruned earlier, the steps begin there.
    Depth pruning can only do whole blocks: of steps that come to the same number of them, the last stands for all, and those that
    come to none are left out.
    """
    if wanted.rate is None or wanted.steps is None:
        return [wanted.rate]
    earlier = lineage.get("pruning") or {}
    left = 1 - earlier.get("rate", 0.0)
    shares = [step / wanted.steps for step in range(1, wanted.steps)]
    rates = [1 - left ** (1 - share) * (1 - wanted.rate) ** share for share in shares] + [wanted.rate]
    if wanted.method in METHODS and METHODS[wanted.method].kind == "depth":
        return [*rates_of_whole_blocks(rates, earlier.get("n_params_before", shape.n_params_non_embedding), shape)]
    return [*rates]


def rates_of_whole_blocks(rates: Sequence[float], n_params_base: int, shape: ModelShape) -> list[float]:
    """The rates that each come to more blocks to drop of a model of this shape than those before; the last where none comes to any,
    for the method to refuse."""
    last_of = {nearest_blocks(shape, (1 - rate) * n_params_base): rate for rate in rates}
    return [rate for n_blocks, rate in last_of.items() if n_blocks > 0] or [rates[-1]]


def is_gone(rate: float | None, lineage: Mapping[str, Any]) -> bool:
    """Whether a step has nothing to do, since the one before went further than it had to, in the sizes that it could choose from.
    It is then left out, and the training before it with it."""
    return rate is not None and rate <= lineage["pruning"]["rate"]


def pruned(checkpoint: Checkpoint, recipe: Recipe, rate: float | None, tokens: Tokens) -> Checkpoint:
    """A copy of the checkpoint, pruned to a rate as the recipe says otherwise."""
    wanted = recipe.prune
    assert wanted
    assert recipe.base
    calibration = Calibration(tokens.ids[: wanted.calibration_tokens], recipe.train.sequence_length, start=tokens.start)
    result, _ = prune(
        checkpoint,
        method=wanted.method,
        rate=rate,
        calibration=calibration,
        axes=wanted.axis_names,
        pattern=wanted.pattern,
        scope=wanted.scope,
        base=named_from_anywhere(recipe.base),
    )
    return result


def train_between_(
    checkpoint: Checkpoint,
    recipe: Recipe,
    step: int,
    tokens: Tokens,
    held_out: Tokens,
    machine: Machine,
    folder: RunFolder | None = None,
) -> Between:
    """Train a model after a step that is not the last, counted from 1, in place. A training that was begun in the folder goes on."""
    train = between_recipe(recipe, step)
    curve = train_(
        checkpoint.model,
        tokens,
        held_out,
        train,
        machine=machine,
        keep_zeros=keeps_zeros(train, checkpoint.lineage),
        head_was_pruned=head_was_pruned(checkpoint.lineage),
        folder=folder,
    )
    first, last = curve.points[0], curve.points[-1]
    return Between(
        rate=checkpoint.lineage["pruning"]["rate"],
        n_tokens=last.n_tokens,
        loss_before=first.loss,
        loss=last.loss,
        flops=float(checkpoint.shape.flops_per_token(train.sequence_length) * last.n_tokens),
        seconds=curve.seconds,
    )


def between_recipe(recipe: Recipe, step: int) -> TrainRecipe:
    """How to train after a step, counted from 1: as the recipe says, but for step_tokens, without a decay, and with the data in an
    order of its own. The learning rate rises anew, from zero and with a fresh optimiser, over as many tokens as in the recipe, or
    over all of the step where it has fewer, and then stays. The loss is measured at both ends only."""
    assert recipe.prune
    assert recipe.prune.step_tokens
    return replace(
        recipe.train,
        tokens=recipe.prune.step_tokens,
        warmup_tokens=min(recipe.train.warmup_tokens, recipe.prune.step_tokens),
        decay_fraction=0.0,
        n_measurements=1,
        first_measurement=None,
        decay=None,
        final_rate=None,
        cooldowns=None,
        cooldown_fraction=None,
        seed=recipe.train.seed + SEED_STRIDE * step,
    )


def keeps_zeros(train: TrainRecipe, lineage: Mapping[str, Any]) -> bool:
    """Whether zeros are to stay zeros: as the recipe says, or else where pruning has made some."""
    return has_sparsity(lineage) if train.keep_zeros is None else train.keep_zeros == "on"


def head_was_pruned(lineage: Mapping[str, Any]) -> bool:
    """Whether the head lost weights in a training of the model."""
    trainings = (lineage.get("pretraining") or {}, *lineage.get("training", ()))
    return any(bool(((training.get("recipe") or {}).get("sparse") or {}).get("head")) for training in trainings)
