"""One recipe from beginning to end: load, measure, prune, train, and the record of it all."""

import math
import platform
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers

from prunescale import __version__
from prunescale.errors import DataError, ModelError
from prunescale.models import Checkpoint, load, named_from_anywhere
from prunescale.pruning import prune
from prunescale.recipe import Recipe, TrainRecipe
from prunescale.runs import Point, Run
from prunescale.training import Curve, Tokens, held_out_windows, loss_function, mean_loss, read_tokens, train_

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
    measured on the model that it came from, unless `loss_before` gives it (nats per token, on the same held-out text).
    """
    progress = progress or Progress()
    progress.stage("loading")
    base = load(recipe.base, device=device)
    refuse_long_sequences(base, recipe.train.sequence_length)
    vocab_size = base.model.config.vocab_size
    tokens = read_tokens(recipe.train.data, base.tokenizer, vocab_size)
    held_out = read_tokens(recipe.train.held_out, base.tokenizer, vocab_size)
    checkpoint = base
    if recipe.prune:
        progress.stage("pruning")
        calibration = tokens.ids[: recipe.prune.calibration_tokens]
        checkpoint, _ = prune(
            base,
            method=recipe.prune.method,
            rate=recipe.prune.rate,
            calibration=calibration,
            sequence_length=recipe.train.sequence_length,
            base=named_from_anywhere(recipe.base),
        )
    if loss_before is None:
        progress.stage("measuring the loss before pruning")
        loss_before = loss_before_pruning(base, recipe.train, held_out, device)
    del base
    progress.stage("training")
    curve = train_(
        checkpoint.model, tokens, held_out, recipe.train, device=device, on_step=progress.step, on_point=progress.point
    )
    run = record(recipe, checkpoint, curve, held_out, loss_before)
    history = [*checkpoint.lineage.get("training", []), {"recipe": recipe.to_dict(), "run": run.id, "loss": run.loss}]
    return run, replace(checkpoint, lineage={**checkpoint.lineage, "training": history})


def refuse_long_sequences(checkpoint: Checkpoint, sequence_length: int) -> None:
    """Raise DataError for sequences beyond what a model was made for: it would read them without a word, and badly."""
    longest = checkpoint.model.config.max_position_embeddings
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


def record(recipe: Recipe, checkpoint: Checkpoint, curve: Curve, held_out: Tokens, loss_before: float | None) -> Run:
    """The record of a training run that has ended."""
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
        flops=float(shape.flops_per_token(recipe.train.sequence_length) * n_tokens),
        seconds=curve.seconds,
        tokens_per_second=curve.tokens_per_second,
        peak_memory_bytes=curve.peak_memory_bytes,
        device=curve.device,
        versions=versions(),
        points=curve.points,
    )


def n_params_nonzero(model: Any) -> int:
    return sum(int(torch.count_nonzero(parameter)) for parameter in model.parameters())


def versions() -> dict[str, str]:
    return {
        "prunescale": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
