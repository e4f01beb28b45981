"""Weights that are zero stay zero while a model trains: what pruning took out must not grow back.

The gradient of such a weight is made zero before the norm of the gradients is taken, so that clipping goes by the weights that
train; its weight is made zero after the step, whatever the optimiser's moments, from before it was pruned, did to it.

Where the model is spread over processes, masks are of this process's shards, and looked up in the parameters as they are then.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from prunescale.errors import TrainingError
from prunescale.models import family_of
from prunescale.training.distributed import ALONE, Ranks, local

Held = Sequence[tuple[Parameter, Tensor]]
"""Weights, and for each of them a mask of its shard here, True where it trains: one byte a weight."""


def held_zeros(model: Any, ranks: Ranks = ALONE, *, head: bool = False) -> list[tuple[Parameter, Tensor]]:
    """The weights of the linear layers in the blocks that have zeros, each with its mask. One zero is enough: with one threshold
    for a whole model, a layer may have lost next to nothing. Embeddings, norms and biases train whole, and so does the head, whose
    rows of tokens that never come are often zero, unless it was pruned and is to be held too.

    Raises TrainingError where there is no zero at all."""
    weights = [*linear_weights(model), *([head_of(model)] if head else [])]
    masks = [(weight, local(weight.detach()) != 0) for weight in weights]
    n_zeros = ranks.sum(torch.stack([(~keep).sum() for _, keep in masks]))  # of all processes: a shard without zeros is held too
    held = [(weight, keep) for (weight, keep), n in zip(masks, n_zeros.tolist(), strict=True) if n]
    if not held:
        raise TrainingError(
            "The zeros of the model are to be kept, but no weight of the linear layers in its blocks is zero: "
            "prune it by a method that makes zeros, or set train.keep_zeros to off."
        )
    return held


def linear_weights(model: Any) -> list[Parameter]:
    """The weights of the linear layers in the blocks."""
    family = family_of(model.config)
    return [block.get_submodule(part.path).weight for block in model.get_submodule(family.blocks) for part in family.linears]


def head_of(model: Any) -> Parameter:
    """The weights of the output projection, those of the embedding where they are tied."""
    return model.get_output_embeddings().weight


@torch.no_grad()
def mask_gradients_(held: Held) -> None:
    """Make the gradients of weights that are held at zero zero."""
    multiply_([(weight.grad, keep) for weight, keep in held if weight.grad is not None])


@torch.no_grad()
def mask_weights_(held: Held) -> None:
    """Make weights that are held at zero zero."""
    multiply_(held)


def multiply_(pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    pairs = [(local(values), keep) for values, keep in pairs if keep.numel()]
    if pairs:
        torch._foreach_mul_([values for values, _ in pairs], [keep for _, keep in pairs])
