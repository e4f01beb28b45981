"""One recipe from beginning to end: load, measure, prune, train, and the record of it all."""

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from prunescale.errors import DataError, ModelError, TrainingError
from prunescale.models import (
    Checkpoint,
    ModelFolder,
    load,
    made_from_nothing,
    named_from_anywhere,
    read_folder,
    save,
    shape_of,
    skeleton_of,
    weights_to_load,
)
from prunescale.recipe import Recipe, TrainRecipe
from prunescale.runs import Run, average_over
from prunescale.sweep.steps import (
    Between,
    has_sparsity,
    head_was_pruned,
    is_gone,
    keeps_zeros,
    pruned,
    rates_of_steps,
    train_between_,
)
from prunescale.training import (
    ALONE,
    Curve,
    Machine,
    Progress,
    RunFolder,
    Teacher,
    Tokens,
    dtype_of,
    held_out_set,
    loss_function,
    mean_loss,
    read_tokens,
    teacher_for,
    train_,
    whole_state,
)
from prunescale.training.counts import n_params_nonzero, n_zeros, params_by_group, sparsity, versions

EVALUATED_AT_ONCE = 8192
"""Tokens of a batch when a model is only measured."""


@dataclass(frozen=True)
class Begun:
    """What a training begins with: the model, pruned or made from nothing where the recipe says so; the text; the loss before pruning; and
    the trainings between the steps of the pruning."""

    checkpoint: Checkpoint
    tokens: Tokens
    held_out: Tokens
    loss_before: float | None
    between: tuple[Between, ...] = ()


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


def with_training(checkpoint: Checkpoint, run: Run, between: Sequence[Between]) -> Checkpoint:
    """The checkpoint with a run that it was trained in at the end of its history."""
    done: dict[str, Any] = {"recipe": run.recipe, "run": run.id, "loss": run.loss}
    if between:
        done["between"] = [asdict(training) for training in between]
    history = [*checkpoint.lineage.get("training", []), done]
    lineage = {**checkpoint.lineage, "training": history}
    if run.kind == "pre-training":
        lineage["pretraining"] = {"n_tokens": run.n_tokens, "recipe": run.recipe}
        if "sparsity" in run.inputs:
            lineage["pretraining"] |= {
                "sparsity": run.inputs["sparsity"],
                "n_params_average": run.n_params_average(run.n_tokens),
            }
    return replace(checkpoint, lineage=lineage)


def begun(recipe: Recipe, machine: Machine, loss_before: float | None, folder: RunFolder | None, progress: Progress) -> Begun:
    """What the training of a recipe begins with: as it is kept in the folder of a run, where it is. Of several processes the first does
    the pruning and the measuring, and keeps what came out for the others."""
    if not folder:
        return made_ready(recipe, machine, loss_before, progress)
    if machine.ranks.is_first and not folder.begun():
        start = made_ready(recipe, replace(machine, ranks=ALONE), loss_before, progress)
        if recipe.prune:
            save(start.checkpoint, folder.start, dtype=torch.float32)
        folder.begin({"loss_before": start.loss_before, "between": [asdict(done) for done in start.between]})
        if machine.ranks.n == 1:
            return start
        del start
    machine.ranks.wait()
    kept = folder.begun() or {}
    checkpoint = loaded(folder.start, machine) if recipe.prune else base_of(recipe, machine)
    tokens, held_out = texts(recipe, checkpoint)
    return Begun(checkpoint, tokens, held_out, kept["loss_before"], tuple(Between(**done) for done in kept["between"]))


def made_ready(recipe: Recipe, machine: Machine, loss_before: float | None, progress: Progress) -> Begun:
    """Load or make the model of a recipe, prune it, and measure its loss before."""
    base = base_of(recipe, machine)
    tokens, held_out = texts(recipe, base)
    checkpoint = base
    rates = rates_of_steps(recipe.prune, base.lineage, base.shape) if recipe.prune else []
    if rates:
        progress.stage("pruning")
        checkpoint = pruned(base, recipe, rates[0], tokens)
    if loss_before is None and recipe.base:
        progress.stage("measuring the loss before pruning")
        loss_before = loss_before_pruning(base, recipe.train, held_out, machine.device)
    del base
    between = []
    for step, rate in enumerate(rates[1:], start=1):
        if is_gone(rate, checkpoint.lineage):
            continue
        progress.stage(f"training after step {step} of {len(rates)}")
        between.append(train_between_(checkpoint, recipe, step, tokens, held_out, replace(machine, ranks=ALONE)))
        progress.stage(f"pruning, step {step + 1} of {len(rates)}")
        checkpoint = pruned(checkpoint, recipe, rate, tokens)
    return Begun(checkpoint, tokens, held_out, loss_before, tuple(between))


def base_of(recipe: Recipe, machine: Machine) -> Checkpoint:
    """The model that a recipe names, or one made from nothing."""
    if recipe.model:
        return made_from_nothing(recipe.model)
    assert recipe.base
    return loaded(recipe.base, machine)


def loaded(path: str | Path, machine: Machine) -> Checkpoint:
    """The model at a path on the device. Where several processes share it, without its weights, of which each reads its part later
    (`Checkpoint.folder` says from where); those of a GGUF file, which cannot be read in parts, in the memory of the CPU."""
    if machine.ranks.n == 1:
        return load(path, device=machine.device)
    if weights_to_load(path) is None:
        return load(path)
    found = read_folder(path)
    model = skeleton_of(found.config, dtype=torch.float32, device="cpu")
    return Checkpoint(found.name, model, found.tokenizer, found.dtype, found.lineage, kept=found.kept, folder=found.path)


def texts(recipe: Recipe, checkpoint: Checkpoint) -> tuple[Tokens, Tokens]:
    """The text to train on and that to measure on, as tokens of a model."""
    refuse_long_sequences(checkpoint, recipe.train.sequence_length)
    vocab_size = checkpoint.config.vocab_size
    tokens = read_tokens(recipe.train.data, checkpoint.tokenizer, vocab_size)
    return tokens, read_tokens(recipe.train.held_out, checkpoint.tokenizer, vocab_size)


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


def identity(recipe: Recipe) -> dict[str, Any]:
    """What tells the folder of one run from that of another."""
    return {"format": "prunescale run 1", "recipe_hash": recipe.hash, "recipe": recipe.to_dict()}


def with_weights(config: Any, weights: Mapping[str, torch.Tensor]) -> Any:
    """A model of a configuration with these weights."""
    model = skeleton_of(config, dtype=torch.float32, device="cpu")
    model.load_state_dict(weights, assign=True)
    model.tie_weights()
    return model.eval()


def refuse_long_sequences(checkpoint: Checkpoint | ModelFolder, sequence_length: int) -> None:
    """Raise DataError for sequences beyond what a model was made for: it would read them without a word, and badly."""
    longest = checkpoint.config.max_position_embeddings
    if sequence_length > longest:
        raise DataError(
            f"Sequences of {sequence_length} tokens are too long for {checkpoint.name}, which was made for {longest}: "
            f"give a sequence length of {longest} or less."
        )


def held_out_loss(
    checkpoint: Checkpoint,
    held_out: Tokens,
    *,
    sequence_length: int,
    limit: int | None,
    device: torch.device,
    documents_apart: bool = False,
) -> float:
    """The loss of a model as it is, nats per token, over the windows that a training measures on, `limit` tokens of them; products in
    bfloat16 on a GPU, as in training.

    Raises DataError for too little text, ModelError for a loss that is not a number."""
    windows = held_out_set(held_out, sequence_length, limit).windows_NL
    loss = loss_function(checkpoint.model, device, document_end=held_out.end if documents_apart else None)
    mean = mean_loss(loss, windows, batch=max(1, EVALUATED_AT_ONCE // sequence_length), device=device)
    if not math.isfinite(mean):
        raise ModelError(f"The held-out loss of {checkpoint.name} is {mean}: the model is damaged; make or load it again.")
    return mean


def loss_before_pruning(base: Checkpoint, train: TrainRecipe, held_out: Tokens, device: torch.device) -> float:
    pruned_earlier = base.lineage.get("pruning")
    original = load(pruned_earlier["base"], device=device) if pruned_earlier else base
    return held_out_loss(
        original,
        held_out,
        sequence_length=train.sequence_length,
        limit=train.held_out_tokens,
        device=device,
        documents_apart=bool(train.documents_apart),
    )


def record(
    recipe: Recipe,
    checkpoint: Checkpoint,
    curve: Curve,
    held_out: Tokens,
    loss_before: float | None,
    between: Sequence[Between] = (),
    teacher_flops: float = 0.0,
) -> Run:
    """The record of a training run that has ended. Its points and speed are those of the last training, its cost is that of all, with
    what the teacher's forward passes cost a token."""
    shape = checkpoint.shape
    pruning = checkpoint.lineage.get("pruning", {})
    base = pruning.get("base", named_from_anywhere(recipe.base) if recipe.base else checkpoint.name)
    rate, method = pruning.get("rate", 0.0), pruning.get("method")
    if recipe.sparse:
        rate, method = n_zeros(checkpoint.model) / shape.n_params_non_embedding, "gradual-magnitude"
    amount = recipe.sparse.final_sparsity if recipe.sparse else rate
    done_to_it = f"{method} {amount:.3f}" if method else "dense" if recipe.model else "unpruned"
    per_token = shape.flops_per_token(recipe.train.sequence_length) + teacher_flops
    return Run(
        id=uuid.uuid4().hex[:12],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        kind="pre-training" if recipe.model else "post-training",
        name=f"{Path(base).name} {done_to_it}",
        recipe=recipe.to_dict(),
        recipe_hash=recipe.hash,
        base=base,
        pruning_method=method,
        pruning_rate=rate,
        n_params_before=pruning.get("n_params_before", shape.n_params_non_embedding),
        **params_by_group(shape),
        n_params_nonzero=n_params_nonzero(checkpoint.model),
        loss_before=loss_before,
        n_tokens_pretrain=0 if recipe.model else checkpoint.lineage.get("pretraining", {}).get("n_tokens"),
        bytes_per_token=held_out.bytes_per_token,
        sequence_length=recipe.train.sequence_length,
        flops=float(per_token * curve.n_tokens) + sum((done.flops for done in between), 0.0),
        seconds=curve.seconds + sum(done.seconds for done in between),
        tokens_per_second=curve.tokens_per_second,
        peak_memory_bytes=curve.peak_memory_bytes,
        device=curve.device,
        versions=versions(),
        inputs=inputs(recipe, checkpoint, between) | of_cooldowns(curve, per_token) | of_sparse(recipe, curve),
        n_params_left=curve.left or weights_left(recipe, checkpoint),
        points=curve.points,
    )


def inputs(recipe: Recipe, checkpoint: Checkpoint, between: Sequence[Between]) -> dict[str, float]:
    """What laws may read beyond the fields of every run: the sparsity at the end of the training, where there were zeros to keep or
    to lose, and what was spent between the steps of a pruning that was asked for in several."""
    found = (
        {"sparsity": sparsity(checkpoint.model, head=prunes_head(recipe, checkpoint))} if had_zeros(recipe, checkpoint) else {}
    )
    if recipe.prune and recipe.prune.steps:
        found["n_prunings"] = len(between) + 1.0
        found["n_tokens_between"] = float(sum(done.n_tokens for done in between))
        found["flops_between"] = sum((done.flops for done in between), 0.0)
    return found


def of_cooldowns(curve: Curve, flops_per_token: float) -> dict[str, float]:
    """What branches have cost, which the training itself did not need."""
    n_tokens = curve.n_tokens - curve.points[-1].n_tokens
    return {"flops_cooldowns": float(flops_per_token * n_tokens)} if n_tokens else {}


def of_sparse(recipe: Recipe, curve: Curve) -> dict[str, float]:
    """Of a model that was pruned while it trained: weights of the linear layers left in the end, and the paper's accounting of its
    cost, 6 N(t) a token, as if pruned weights were not computed with."""
    if not recipe.sparse:
        return {}
    n_tokens = curve.points[-1].n_tokens
    return {
        "n_params_final": float(curve.left[-1][1]),
        "flops_sparse": 6.0 * average_over(curve.left, n_tokens) * n_tokens,
    }


def weights_left(recipe: Recipe, checkpoint: Checkpoint) -> tuple[tuple[int, int], ...]:
    """Weights of the linear layers that are not pruned, head included, of a model whose zeros were made before this training."""
    if not had_zeros(recipe, checkpoint):
        return ()
    zeros = n_zeros(checkpoint.model, head=prunes_head(recipe, checkpoint))
    return ((0, checkpoint.shape.n_params_linear - zeros),)


def had_zeros(recipe: Recipe, checkpoint: Checkpoint) -> bool:
    return bool(recipe.sparse) or has_sparsity(checkpoint.lineage) or keeps_zeros(recipe.train, checkpoint.lineage)


def prunes_head(recipe: Recipe, checkpoint: Checkpoint) -> bool:
    """Whether the head is among the weights that could be pruned, now or before."""
    return bool(recipe.sparse and recipe.sparse.head) or head_was_pruned(checkpoint.lineage)
