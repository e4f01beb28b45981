"""The record of a training that has ended, and the history of the model that came out."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prunescale.models import Checkpoint, named_from_anywhere
from prunescale.pruning.prune import has_sparsity
from prunescale.recipe import Recipe
from prunescale.runs import Run, average_over
from prunescale.sweep.steps import Between, head_was_pruned, keeps_zeros
from prunescale.training import Curve, Tokens
from prunescale.training.counts import n_params_nonzero, n_zeros, params_by_group, sparsity, versions


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


def with_training(checkpoint: Checkpoint, run: Run, between: Sequence[Between]) -> Checkpoint:
    """The checkpoint with a run that it was trained in at the end of its history."""
    done: dict[str, Any] = {"recipe": run.recipe, "run": run.id, "loss": run.loss}
    if "sparse" in run.recipe:
        done["sparsity"] = run.inputs["sparsity"]
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
