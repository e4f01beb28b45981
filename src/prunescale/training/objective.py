"""What a model is trained to make small, and what is measured: the loss of predicting each next token, and the distance from a teacher.

Letters of shapes: B sequences of a batch, L positions, D hidden size, N tokens of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prunescale.errors import TrainingError
from prunescale.models import shape_of
from prunescale.recipe import DistillRecipe
from prunescale.training.batches import positions_of
from prunescale.training.cross_entropy import cross_entropies, summed_cross_entropy, summed_distillation
from prunescale.training.forward import hidden_states, is_llama_shaped, rms_norm, same_document, states_after_blocks
from prunescale.training.zeros import head_of


@dataclass(frozen=True)
class Computing:
    """How a model is computed. dtype: of products. document_end: the token that ends documents, where tokens are to attend to those of
    their own document only. recompute: blocks anew in the backward pass, for memory."""

    dtype: torch.dtype
    document_end: int | None = None
    recompute: bool = False

    def positions(self, ids_BL: Tensor) -> Tensor | None:
        return None if self.document_end is None else positions_of(ids_BL, self.document_end)


@dataclass(frozen=True)
class Teacher:
    """A model to learn from. blocks: for each block of the student, which block of the teacher it is, counted from 0; only asked for where
    states are compared."""

    model: Any
    recipe: DistillRecipe
    blocks: Sequence[int] = ()


def summed_loss(model: Any, ids_BL: Tensor, how: Computing) -> Tensor:
    """The loss of predicting each token of a batch but the first of each row, summed, in nats."""
    before_BL, next_BL = ids_BL[:, :-1], ids_BL[:, 1:]
    states = hidden_states(
        model, before_BL, dtype=how.dtype, positions_BL=how.positions(before_BL), recompute=how.recompute and model.training
    )
    return summed_cross_entropy(states.flatten(0, 1), head_of(model), next_BL.flatten())


@torch.no_grad()
def row_losses(model: Any, ids_BL: Tensor, how: Computing) -> Tensor:
    """The same for each row, (B,) float32, without gradients."""
    before_BL, next_BL = ids_BL[:, :-1], ids_BL[:, 1:]
    states = hidden_states(model, before_BL, dtype=how.dtype, positions_BL=how.positions(before_BL))
    return cross_entropies(states.flatten(0, 1), head_of(model), next_BL.flatten()).view(next_BL.shape).sum(1)


def summed_loss_with_teacher(model: Any, ids_BL: Tensor, how: Computing, teacher: Teacher) -> Tensor:
    """(1 - weight) of the loss with the text, weight of the divergence from the teacher's distribution, and, where wanted, the distance
    from its states, summed over the tokens, in nats."""
    before_BL, next_BL = ids_BL[:, :-1], ids_BL[:, 1:]
    recipe, positions = teacher.recipe, how.positions(before_BL)
    if recipe.hidden:
        mask = None if positions is None else same_document(positions)
        each = list(states_after_blocks(model, before_BL, how.dtype, mask, how.recompute))
        with torch.no_grad():
            wanted = list(states_after_blocks(teacher.model, before_BL, how.dtype, mask))
            teacher_states = rms_norm(wanted[-1], teacher.model.model.norm)
        states = rms_norm(each[-1], model.model.norm)
        distance = recipe.hidden * summed_distance(each, [wanted[block] for block in teacher.blocks])
    else:
        with torch.no_grad():
            teacher_states = hidden_states(teacher.model, before_BL, dtype=how.dtype, positions_BL=positions)
        states = hidden_states(model, before_BL, dtype=how.dtype, positions_BL=positions, recompute=how.recompute)
        distance = torch.zeros((), device=ids_BL.device)
    divergence = summed_distillation(
        states.flatten(0, 1),
        head_of(model),
        next_BL.flatten(),
        teacher_states.flatten(0, 1),
        head_of(teacher.model).detach(),
        recipe.weight,
        recipe.temperature,
    )
    return divergence + distance


def summed_distance(states: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """The squared distance of states (B, L, D) from those wanted, relative to the square of these, summed over tokens and averaged over
    the pairs."""
    relative = [
        ((x.float() - y.float()).square().sum(-1) / y.float().square().sum(-1)).sum() for x, y in zip(states, wanted, strict=True)
    ]
    return torch.stack(relative).mean()


def teacher_for(
    model: Any, teacher: Any, recipe: DistillRecipe, kept_blocks: Sequence[int] | None, sequence_length: int
) -> Teacher:
    """The teacher of a model, if it can be one. kept_blocks: which blocks of it the model has kept, all if None.

    Raises TrainingError for another vocabulary, and where states are to be compared that have no counterpart."""
    ours, theirs = shape_of(model.config), shape_of(teacher.config)
    if ours.vocab_size != theirs.vocab_size:
        raise TrainingError(
            f"The teacher knows {theirs.vocab_size} tokens and the model {ours.vocab_size}: distillation compares the two distributions "
            "token by token; give a teacher with the same tokenizer."
        )
    blocks = list(range(theirs.n_layers) if kept_blocks is None else kept_blocks)
    if recipe.hidden:
        alike = is_llama_shaped(model, sequence_length) and is_llama_shaped(teacher, sequence_length)
        if not alike or ours.hidden_size != theirs.hidden_size or len(blocks) != ours.n_layers:
            raise TrainingError(
                f"The states of {ours.n_layers} blocks of width {ours.hidden_size} cannot be compared with the teacher's "
                f"{theirs.n_layers} of width {theirs.hidden_size}: leave distill.hidden out; it is for models of the Llama kind that "
                "lost blocks or single weights."
            )
    return Teacher(teacher.eval().requires_grad_(False), recipe, blocks)
