"""One recipe from beginning to end: load, measure, prune, train, and the record of it all."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from prunescale.errors import TrainingError
from prunescale.models import Checkpoint, load, shape_of, skeleton_of
from prunescale.recipe import Recipe, TrainRecipe
from prunescale.runs import Run
from prunescale.sweep.begin import begun, identity
from prunescale.sweep.record import record, with_training
from prunescale.sweep.steps import head_was_pruned, keeps_zeros
from prunescale.training import Machine, Progress, RunFolder, Teacher, dtype_of, teacher_for, train_, whole_state


def run_recipe(
    recipe: Recipe,
    *,
    machine: Machine,
    loss_before: float | None = None,
    keep_in: str | Path | None = None,
    progress: Progress | None = None,
) -> tuple[Run, Checkpoint] | None:
    """Do what a recipe says. Back come the record of the run and the trained model, or None in all processes but the first of several that
    train one model together.

    The loss before pruning is measured on the recipe's base. Where the base was pruned earlier, by `prunescale prune`, it is
    measured on the model that it came from, unless `loss_before` gives it (nats per token, on the same held-out text). Where the
    recipe prunes in several steps, the curve is that of the training after the last of them, and `progress.step` and
    `progress.point` are told of no other.

    keep_in: a folder for what is measured and for checkpoints. A run that was begun there goes on from its last checkpoint, with the model
    that it pruned then. Nothing is written anywhere else.
    """
    progress, ranks = progress or Progress(), machine.ranks
    folder = RunFolder(keep_in, identity(recipe), ranks) if keep_in else None
    if ranks.n > 1 and not folder:
        raise TrainingError(
            "Several processes train a model together by way of a folder: give one that all of them reach, with --checkpoints."
        )
    progress.stage("loading")
    start = begun(recipe, machine, loss_before, folder, progress)
    checkpoint, tokens, held_out = start.checkpoint, start.tokens, start.held_out
    teacher = teacher_of(recipe, checkpoint, machine)
    progress.stage("training")
    curve = train_(
        checkpoint.model,
        tokens,
        held_out,
        recipe.train,
        machine=machine,
        keep_zeros=keeps_zeros(recipe.train, checkpoint.lineage),
        head_was_pruned=head_was_pruned(checkpoint.lineage),
        sparse=recipe.sparse,
        teacher=teacher,
        weights=checkpoint.folder,
        folder=folder,
        progress=progress,
    )
    if ranks.n > 1:
        weights = whole_state(checkpoint.model, ranks)
        if not ranks.is_first:
            return None
        checkpoint = replace(checkpoint, model=with_weights(checkpoint.config, weights))
    run = record(recipe, checkpoint, curve, held_out, start.loss_before, start.between, flops_of(teacher, recipe.train))
    return run, with_training(checkpoint, run, start.between)


def teacher_of(recipe: Recipe, checkpoint: Checkpoint, machine: Machine) -> Teacher | None:
    """The teacher that a recipe names, in the type that it is computed in: the model before its first pruning, or another."""
    wanted = recipe.distill
    if not wanted:
        return None
    pruning = checkpoint.lineage.get("pruning") or {}
    if wanted.teacher == "parent" and not pruning:
        raise TrainingError(f"{checkpoint.name} was not pruned, and has no parent to learn from: name a distill.teacher.")
    path = pruning["base"] if wanted.teacher == "parent" else wanted.teacher
    dtype = dtype_of(recipe.train.dtype, machine.device)
    teacher = load(path, dtype=dtype, device=machine.device)
    kept = kept_blocks(pruning, teacher.shape.n_layers) if wanted.teacher == "parent" else None
    return teacher_for(checkpoint.model, teacher.model, wanted, kept, recipe.train.sequence_length)


def flops_of(teacher: Teacher | None, train: TrainRecipe) -> float:
    """Of a teacher, a token: one forward pass."""
    return float(shape_of(teacher.model.config).forward_flops_per_token(train.sequence_length)) if teacher else 0.0


def kept_blocks(pruning: Mapping[str, Any], n_blocks: int) -> list[int]:
    """Which blocks of the model before its first pruning are left, counted from 0. Each pruning counts those that it found."""
    kept = list(range(n_blocks))
    for done in (*pruning.get("earlier", ()), pruning):
        dropped = set(done.get("blocks_dropped", ()))
        kept = [block for place, block in enumerate(kept) if place not in dropped]
    return kept


def with_weights(config: Any, weights: Mapping[str, torch.Tensor]) -> Any:
    """A model of a configuration with these weights."""
    model = skeleton_of(config, dtype=torch.float32, device="cpu")
    model.load_state_dict(weights, assign=True)
    model.tie_weights()
    return model.eval()
