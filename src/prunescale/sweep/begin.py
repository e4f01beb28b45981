"""What a training begins with: a model loaded or made, pruned in as many steps as its recipe says, and its loss before.

In the folder of a run it is kept, that of each step too, so that nothing is done twice where the run is cut off:

    start/, begun.json      the model that the training begins with, where it was pruned for it, and what is known before
    between/2/              the same of the training after the second step, with its measurements and checkpoints, until the next begins
"""

import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from prunescale.errors import DataError, ModelError
from prunescale.models import (
    Checkpoint,
    ModelFolder,
    load,
    made_from_nothing,
    read_folder,
    save,
    skeleton_of,
    weights_to_load,
)
from prunescale.recipe import Recipe, TrainRecipe
from prunescale.sweep.steps import Between, is_gone, pruned, rates_of_steps, train_between_
from prunescale.training import (
    ALONE,
    Machine,
    Progress,
    RunFolder,
    Tokens,
    held_out_set,
    loss_function,
    mean_loss,
    read_tokens,
)

EVALUATED_AT_ONCE = 8192
"""Tokens of a batch when a model is only measured."""

BETWEEN = "between"


@dataclass(frozen=True)
class Begun:
    """What a training begins with: the model, pruned or made from nothing where the recipe says so; the text; the loss before pruning; and
    the trainings between the steps of the pruning."""

    checkpoint: Checkpoint
    tokens: Tokens
    held_out: Tokens
    loss_before: float | None
    between: tuple[Between, ...] = ()


def begun(recipe: Recipe, machine: Machine, loss_before: float | None, folder: RunFolder | None, progress: Progress) -> Begun:
    """As it is kept in the folder of a run, where it is. Of several processes the first does the pruning and the measuring, and keeps what
    came out for the others."""
    if not folder:
        return made_ready(recipe, machine, loss_before, None, progress)
    if machine.ranks.is_first and not folder.begun():
        start = made_ready(recipe, replace(machine, ranks=ALONE), loss_before, folder, progress)
        keep(start, folder, is_pruned=recipe.prune is not None)
        shutil.rmtree(folder.path / BETWEEN, ignore_errors=True)
        if machine.ranks.n == 1:
            return start
        del start
    machine.ranks.wait()
    return kept_start(recipe, machine, folder)


def made_ready(
    recipe: Recipe, machine: Machine, loss_before: float | None, folder: RunFolder | None, progress: Progress
) -> Begun:
    """Load or make the model of a recipe, measure its loss before, and prune it in steps with trainings between; from the step that it had
    come to, where it was cut off."""
    if folder and (cut_off := steps_kept(folder)):
        first = cut_off[-1]
        kept = folder_of_step(folder, recipe, first)
        start, rates = kept_start(recipe, machine, kept), (kept.begun() or {})["rates"]
    else:
        first = 1
        start, rates = first_pruned(recipe, machine, loss_before, progress)
    for step in range(first, len(rates)):
        if is_gone(rates[step], start.checkpoint.lineage):
            continue
        place = folder_of_step(folder, recipe, step) if folder else None
        if place and not place.begun():
            keep(start, place, is_pruned=True, rates=rates)
        if place:
            forget_steps_before(step, place)
        progress.stage(f"training after step {step} of {len(rates)}")
        done = train_between_(start.checkpoint, recipe, step, start.tokens, start.held_out, replace(machine, ranks=ALONE), place)
        progress.stage(f"pruning, step {step + 1} of {len(rates)}")
        checkpoint = pruned(start.checkpoint, recipe, rates[step], start.tokens)
        start = replace(start, checkpoint=checkpoint, between=(*start.between, done))
    return start


def first_pruned(
    recipe: Recipe, machine: Machine, loss_before: float | None, progress: Progress
) -> tuple[Begun, Sequence[float | None]]:
    """After the first step, or with the model as it is where it is not to be pruned; and the rates of all steps."""
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
    return Begun(checkpoint, tokens, held_out, loss_before), rates


def keep(start: Begun, folder: RunFolder, *, is_pruned: bool, rates: Sequence[float | None] = ()) -> None:
    """Put what a training begins with into its folder."""
    if is_pruned:
        shutil.rmtree(folder.start, ignore_errors=True)  # of a process that was killed before it had said that it is whole
        save(start.checkpoint, folder.start, dtype=torch.float32)
    facts: dict[str, Any] = {
        "loss_before": start.loss_before,
        "between": [asdict(done) for done in start.between],
        "dtype": str(start.checkpoint.dtype).removeprefix("torch."),
    }
    folder.begin(facts | ({"rates": list(rates)} if rates else {}))


def kept_start(recipe: Recipe, machine: Machine, folder: RunFolder) -> Begun:
    """What `keep` has put there. Files of the model are float32 there, whatever they were in the base."""
    kept = folder.begun() or {}
    checkpoint = loaded(folder.start, machine) if recipe.prune else base_of(recipe, machine)
    dtype = getattr(torch, str(kept.get("dtype")), None)  # older folders have none
    if isinstance(dtype, torch.dtype):
        checkpoint = replace(checkpoint, dtype=dtype)
    between = tuple(Between(**done) for done in kept["between"])
    return Begun(checkpoint, *texts(recipe, checkpoint), kept["loss_before"], between)


def folder_of_step(folder: RunFolder, recipe: Recipe, step: int) -> RunFolder:
    return RunFolder(folder.path / BETWEEN / f"{step}", identity(recipe) | {"step": step})


def steps_kept(folder: RunFolder) -> list[int]:
    """The steps after which a training had begun."""
    places = [file.parent.name for file in (folder.path / BETWEEN).glob("*/begun.json")]
    return sorted(int(name) for name in places if name.isdecimal())


def forget_steps_before(step: int, place: RunFolder) -> None:
    for other in place.path.parent.iterdir():
        if other.name.isdecimal() and int(other.name) < step:
            shutil.rmtree(other)


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


def identity(recipe: Recipe) -> dict[str, Any]:
    """What tells the folder of one run from that of another."""
    return {"format": "prunescale run 1", "recipe_hash": recipe.hash, "recipe": recipe.to_dict()}


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
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
) -> float:
    """The loss of a model as it is, nats per token, over the windows that a training measures on, `limit` tokens of them; products in
    bfloat16 on a GPU where nothing else is said, as in training.

    Raises DataError for too little text, ModelError for a loss that is not a number."""
    windows = held_out_set(held_out, sequence_length, limit).windows_NL
    loss = loss_function(checkpoint.model, device, dtype=dtype, document_end=held_out.end if documents_apart else None)
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
        dtype=train.dtype,
    )
