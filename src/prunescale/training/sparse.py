"""A model pruned while it trains: which weights, when, and how many are left (Jin et al. 2025, arXiv:2501.12486).

The weights that are pruned are zero from then on: out of the forward pass, and, since their gradients and they themselves are masked
in each step, out of training and of weight decay. The optimiser's moments are kept as they are.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import Parameter

from prunescale.errors import TrainingError
from prunescale.models import shape_of
from prunescale.recipe import SparseRecipe
from prunescale.training.distributed import Ranks, local
from prunescale.training.gradual import prunings
from prunescale.training.threshold import prune_smallest_
from prunescale.training.zeros import head_of, linear_weights


@dataclass(frozen=True)
class Sparse:
    """The weights that are pruned while a model trains, with their masks; at: the share of them to keep after some of the steps; n_linear:
    all weights of the linear layers, output projection included, pruned or not."""

    held: list[tuple[Parameter, Tensor]]
    at: dict[int, float]
    pattern: str | None
    n_linear: int
    n_prunable: int
    ranks: Ranks

    @classmethod
    def of(cls, recipe: SparseRecipe, model: Any, n_steps: int, ranks: Ranks) -> Self:
        """For a model in which nothing is pruned yet, as it is spread over the processes. Raises TrainingError for one that has zeros, and
        for rows that a pattern does not divide."""
        weights = sparse_weights(model, head=recipe.head)
        refuse_zeros(weights, ranks)
        if recipe.pattern:
            check_rows(weights, recipe.pattern)
        n_linear = shape_of(model.config).n_params_linear
        n_prunable = sum(weight.numel() for weight in weights)
        at = {pruning.step: pruning.keep for pruning in prunings(recipe, n_steps, n_prunable, n_linear)}
        held = [(weight, torch.ones_like(local(weight.detach()), dtype=torch.bool)) for weight in weights]
        return cls(held, at, recipe.pattern, n_linear, n_prunable, ranks)

    @torch.no_grad()
    def prune_(self, step: int) -> int:
        """Prune as is due after this step, in place. Back comes how many weights of the linear layers are left."""
        weights, keeps = [local(weight.detach()) for weight, _ in self.held], [keep for _, keep in self.held]
        n_kept = prune_smallest_(weights, keeps, self.at[step], pattern=self.pattern, group=self.ranks.group)
        return self.n_linear - self.n_prunable + n_kept


FEW = 1e-3
"""Share of weights that may be zero by chance, or as rows of tokens that never come."""


def refuse_zeros(weights: list[Any], ranks: Ranks) -> None:
    """What is zero already would train, and be counted as weights."""
    shards = [local(weight.detach()) for weight in weights]
    zeros = ranks.sum(torch.stack([(shard == 0).sum() for shard in shards]).sum())
    share = float(zeros) / sum(weight.numel() for weight in weights)
    if share > FEW:
        raise TrainingError(
            f"{share:.1%} of the weights that [sparse] is to prune are zero already, and it prunes dense models: leave it out, and the "
            "zeros stay as they are, or begin with the model before its pruning."
        )


def check_rows(weights: list[Any], pattern: str) -> None:
    m = int(pattern.split(":")[1])
    odd = [weight.shape[1] for weight in weights if weight.shape[1] % m]
    if odd:
        raise TrainingError(
            f"Rows of {odd[0]} weights are no multiple of the {m} of sparse.pattern {pattern}: take another pattern."
        )


def sparse_weights(model: Any, *, head: bool) -> list[Any]:
    """The weights that compete: of the linear layers in the blocks, and of the head if it is one of them.

    Raises TrainingError for a head that is the embedding too."""
    weights = linear_weights(model)
    if not head:
        return weights
    if shape_of(model.config).tied_embeddings:
        raise TrainingError(
            "The head is to be pruned, but it is the embedding too (tied), which is looked up and not multiplied: "
            "set sparse.head to false, or model.tied."
        )
    return [*weights, head_of(model)]
