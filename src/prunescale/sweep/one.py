"""One recipe from beginning to end: load, measure, prune, train, and the record of it all."""

import math
import platform
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers

from prunescale import __version__
from prunescale.errors import DataError, ModelError
from prunescale.models import Checkpoint, ModelFolder, load, named_from_anywhere
from prunescale.recipe import Recipe, TrainRecipe
from prunescale.runs import Point, Run
from prunescale.sweep.steps import Between, has_sparsity, is_gone, keeps_zeros, pruned, rates_of_steps, train_between_
from prunescale.training import Curve, Tokens, held_out_windows, linear_weights, loss_function, mean_loss, read_tokens, train_

EVALUATED_AT_ONCE = 8192
"""Tokens of a batch when a model is only measured."""


@dataclass(frozen=True)
class Progress:
    """Who is told what while a recipe runs: `stage` gets a few words when a new stage begins, `step` the tokens trained on so
    far, `point` each measurement."""

    stage: Callable[[str], None] = lambda words: None
    step: Callable[[int], None] = lambda n_tokens: None
    point: Callable[[Point], None] = lambda point: None


def run_recipe(
    recipe: Recipe, *, device: torch.device, loss_before: float | None = None, progress: Progress | None = None
) -> tuple[Run, Checkpoint]:
    """Do what a recipe says. Back come the record of the run and the trained model; nothing is written anywhere.

    The loss before pruning is measured on the recipe's base. Where the base was pruned earlier, by `prunescale prune`, it is
    measured on the model that it came from, unless `loss_before` gives it (nats per token, on the same held-out text). Where the
    recipe prunes in several steps, the curve is that of the training after the last of them, and `progress.step` and
    `progress.point` are told of no other.
    """
    progress = progress or Progress()
    progress.stage("loading")
    base = load(recipe.base, device=device)
    refuse_long_sequences(base, recipe.train.sequence_length)
    vocab_size = base.model.config.vocab_size
    tokens = read_tokens(recipe.train.data, base.tokenizer, vocab_size)
    held_out = read_tokens(recipe.train.held_out, base.tokenizer, vocab_size)
    checkpoint = base
    rates = rates_of_steps(recipe.prune, base.lineage, base.shape) if recipe.prune else []
    if rates:
        progress.stage("pruning")
        checkpoint = pruned(base, recipe, rates[0], tokens)
    if loss_before is None:
        progress.stage("measuring the loss before pruning")
        loss_before = loss_before_pruning(base, recipe.train, held_out, device)
    del base
    between = []
    for step, rate in enumerate(rates[1:], start=1):
        if is_gone(rate, checkpoint.lineage):
            continue
        progress.stage(f"training after step {step} of {len(rates)}")
        between.append(train_between_(checkpoint, recipe, step, tokens, held_out, device))
        progress.stage(f"pruning, step {step + 1} of {len(rates)}")
        checkpoint = pruned(checkpoint, recipe, rate, tokens)
    progress.stage("training")
    curve = train_(
        checkpoint.model,
        tokens,
        held_out,
        recipe.train,
        device=device,
        keep_zeros=keeps_zeros(recipe.train, checkpoint.lineage),
        on_step=progress.step,
        on_point=progress.point,
    )
    run = record(recipe, checkpoint, curve, held_out, loss_before, between)
    return run, with_training(checkpoint, run, between)


def with_training(checkpoint: Checkpoint, run: Run, between: Sequence[Between]) -> Checkpoint:
    """The checkpoint with a run that it was trained in at the end of its history."""
    done: dict[str, Any] = {"recipe": run.recipe, "run": run.id, "loss": run.loss}
    if between:
        done["between"] = [asdict(training) for training in between]
    history = [*checkpoint.lineage.get("training", []), done]
    return replace(checkpoint, lineage={**checkpoint.lineage, "training": history})


def refuse_long_sequences(checkpoint: Checkpoint | ModelFolder, sequence_length: int) -> None:
    """Raise DataError for sequences beyond what a model was made for: it would read them without a word, and badly."""
    longest = checkpoint.config.max_position_embeddings
    if sequence_length > longest:
        raise DataError(
            f"Sequences of {sequence_length} tokens are too long for {checkpoint.name}, which was made for {longest}: "
            f"give a sequence length of {longest} or less."
        )


def held_out_loss(
    checkpoint: Checkpoint, held_out: Tokens, *, sequence_length: int, limit: int | None, device: torch.device
) -> float:
    """The loss of a model as it is, nats per token, over the first `limit` tokens; products in bfloat16 on a GPU, as in training.

    Raises DataError for too little text, ModelError for a loss that is not a number."""
    windows = held_out_windows(held_out, sequence_length, limit)
    loss = loss_function(checkpoint.model, device)
    mean = mean_loss(loss, windows, batch=max(1, EVALUATED_AT_ONCE // sequence_length), device=device)
    if not math.isfinite(mean):
        raise ModelError(f"The held-out loss of {checkpoint.name} is {mean}: the model is damaged; make or load it again.")
    return mean


def loss_before_pruning(base: Checkpoint, train: TrainRecipe, held_out: Tokens, device: torch.device) -> float:
    pruned_earlier = base.lineage.get("pruning")
    original = load(pruned_earlier["base"], device=device) if pruned_earlier else base
    return held_out_loss(original, held_out, sequence_length=train.sequence_length, limit=train.held_out_tokens, device=device)


def record(
    recipe: Recipe,
    checkpoint: Checkpoint,
    curve: Curve,
    held_out: Tokens,
    loss_before: float | None,
    between: Sequence[Between] = (),
) -> Run:
    """The record of a training run that has ended. Its points and speed are those of the last training, its cost is that of all."""
    shape = checkpoint.shape
    pruning = checkpoint.lineage.get("pruning", {})
    rate = pruning.get("rate", 0.0)
    method = pruning.get("method")
    base = pruning.get("base", named_from_anywhere(recipe.base))
    short = Path(base).name
    n_tokens = curve.points[-1].n_tokens
    return Run(
        id=uuid.uuid4().hex[:12],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        kind="post-training",
        name=f"{short} {method} {rate:.3f}" if method else f"{short} unpruned",
        recipe=recipe.to_dict(),
        recipe_hash=recipe.hash,
        base=base,
        pruning_method=method,
        pruning_rate=rate,
        n_params_before=pruning.get("n_params_before", shape.n_params_non_embedding),
        n_params_non_embedding=shape.n_params_non_embedding,
        n_params_embedding=shape.n_params_embedding,
        n_params_head=shape.n_params_head,
        n_params_attention=shape.n_params_attention,
        n_params_ffn=shape.n_params_ffn,
        n_params_norm=shape.n_params_norm,
        n_params_linear=shape.n_params_linear,
        n_params_total=shape.n_params_total,
        n_params_nonzero=n_params_nonzero(checkpoint.model),
        loss_before=loss_before,
        n_tokens_pretrain=checkpoint.lineage.get("pretraining", {}).get("n_tokens"),
        bytes_per_token=held_out.bytes_per_token,
        sequence_length=recipe.train.sequence_length,
        flops=shape.flops_per_token(recipe.train.sequence_length) * n_tokens + sum((done.flops for done in between), 0.0),
        seconds=curve.seconds + sum(done.seconds for done in between),
        tokens_per_second=curve.tokens_per_second,
        peak_memory_bytes=curve.peak_memory_bytes,
        device=curve.device,
        versions=versions(),
        inputs=inputs(recipe, checkpoint, between),
        points=curve.points,
    )


def inputs(recipe: Recipe, checkpoint: Checkpoint, between: Sequence[Between]) -> dict[str, float]:
    """What laws may read beyond the fields of every run: the sparsity at the end of the training, where there were zeros to keep or
    to lose, and what was spent between the steps of a pruning that was asked for in several."""
    had_zeros = has_sparsity(checkpoint.lineage) or keeps_zeros(recipe.train, checkpoint.lineage)
    found = {"sparsity": sparsity(checkpoint.model)} if had_zeros else {}
    if recipe.prune and recipe.prune.steps:
        found["n_prunings"] = len(between) + 1.0
        found["n_tokens_between"] = float(sum(done.n_tokens for done in between))
        found["flops_between"] = sum((done.flops for done in between), 0.0)
    return found


def sparsity(model: Any) -> float:
    """The share of zeros among the weights of the linear layers in the blocks."""
    weights = linear_weights(model)
    return 1 - sum(int(torch.count_nonzero(weight)) for weight in weights) / sum(weight.numel() for weight in weights)


def n_params_nonzero(model: Any) -> int:
    return sum(int(torch.count_nonzero(parameter)) for parameter in model.parameters())


def versions() -> dict[str, str]:
    return {
        "prunescale": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
