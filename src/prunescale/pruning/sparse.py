"""Which weights to make zero: unstructured and n:m pruning of the linear layers in the blocks, one block at a time.

Each block sees the calibration text as the pruned blocks before it pass it on, as in the code of both papers. Embeddings, head,
norms and biases stay.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from prunescale.errors import PruningError
from prunescale.models import Blocks, Part
from prunescale.pruning.masks import Pattern, ScoreHistogram, keep_n_of_m, keep_of_matrix, keep_of_rows
from prunescale.pruning.plan import Calibration, Method, Request, refuse_options
from prunescale.pruning.scores import magnitude_scores, wanda_scores
from prunescale.pruning.sparsegpt import GraphedColumns, inverse_factor, prune_columns_, sparsegpt_
from prunescale.pruning.statistics import Gather, hessian, input_statistics, squared_norms
from prunescale.shape import ModelShape

LAYER, GLOBAL = "layer", "global"
SCOPES = (LAYER, GLOBAL)

Removed = Pattern | int
"""What a layer loses: n of every m, or so many weights."""


class Magnitude:
    """The smallest weights go (Han et al. 2015, arXiv:1506.02626); within a layer, all of its weights compete."""

    gather: Gather | None = None

    def scores(self, weight_OI: Tensor, statistic: Tensor | None) -> Tensor:
        return magnitude_scores(weight_OI)

    def prune_(self, weights: Sequence[Tensor], statistic: Tensor | None, removed: Sequence[Removed]) -> list[Tensor]:
        """Make weights of layers with the same input zero, in place, and return which stay."""
        keeps = []
        for weight_OI, gone in zip(weights, removed, strict=True):
            keep_OI = self.keep(self.scores(weight_OI, statistic), gone)
            weight_OI.mul_(keep_OI)
            keeps.append(keep_OI)
        return keeps

    def keep(self, scores_OI: Tensor, removed: Removed) -> Tensor:
        return keep_n_of_m(scores_OI, removed) if isinstance(removed, Pattern) else keep_of_matrix(scores_OI, removed)


class Wanda(Magnitude):
    """The weights of the smallest |W| times the norm of their input go (Sun et al. 2023, arXiv:2306.11695); within a layer, those of
    one output compete, with scope global all."""

    gather = staticmethod(squared_norms)

    def __init__(self, scope: str) -> None:
        self.by_rows = scope == LAYER

    def scores(self, weight_OI: Tensor, statistic: Tensor | None) -> Tensor:
        assert statistic is not None
        return wanda_scores(weight_OI.float(), statistic.sqrt())

    def keep(self, scores_OI: Tensor, removed: Removed) -> Tensor:
        if self.by_rows and isinstance(removed, int):
            return keep_of_rows(scores_OI, removed / scores_OI.numel())
        return super().keep(scores_OI, removed)


class SparseGPT:
    """SparseGPT (Frantar & Alistarh 2023, arXiv:2301.00774): the weights that stay make up for those that go."""

    gather = staticmethod(hessian)

    def __init__(self, device: torch.device) -> None:
        self.step = GraphedColumns() if device.type == "cuda" else prune_columns_

    def scores(self, weight_OI: Tensor, statistic: Tensor | None) -> Tensor:
        """What each weight of the dense layer costs when it goes: w² / U_pp², and nothing where its input is always zero."""
        assert statistic is not None
        root_costs_OI = weight_OI.float() / inverse_factor(statistic, damping=0.01).diagonal()
        return root_costs_OI.square_().masked_fill_(statistic.diagonal() == 0, 0)

    def prune_(self, weights: Sequence[Tensor], statistic: Tensor | None, removed: Sequence[Removed]) -> list[Tensor]:
        assert statistic is not None
        if not isinstance(removed[0], Pattern):  # the weights of one matrix compete, and not with another's
            return [
                sparsegpt_(weight_OI, statistic, removed=gone, step=self.step)
                for weight_OI, gone in zip(weights, removed, strict=True)
            ]
        together_OI = torch.cat(list(weights))
        keep_OI = sparsegpt_(together_OI, statistic, removed=removed[0], step=self.step)
        rows = [len(weight_OI) for weight_OI in weights]
        for weight_OI, part_OI in zip(weights, together_OI.split(rows), strict=True):
            weight_OI.copy_(part_OI)
        return list(keep_OI.split(rows))


Rule = Magnitude | SparseGPT


@dataclass
class SparsePlan:
    """Some weights of each linear layer in the blocks become zero. removed: for each block, what each of its linear layers loses."""

    config: Any
    rule: Rule
    calibration: Calibration
    removed: list[dict[str, Removed]]
    importance: dict[str, Tensor] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @torch.no_grad()
    def block_tensors(self, blocks: Blocks) -> Iterator[dict[str, Tensor]]:
        walk = self.calibration.walk(blocks) if self.rule.gather else None
        zeros: dict[str, list[float]] = {part.path: [] for part in blocks.family.linears}
        n_zeros = n_weights = 0
        for index, removed in enumerate(self.removed):
            with blocks.resident(index, own=True) as block:
                statistics = gathered(self.rule, walk, index, block, blocks)
                for group, statistic in zip(blocks.family.inputs, statistics, strict=True):
                    weights = weights_of(block, group)
                    keeps = self.rule.prune_(weights, statistic, [removed[part.path] for part in group])
                    for part, keep_OI in zip(group, keeps, strict=True):
                        gone = keep_OI.numel() - int(keep_OI.sum())
                        zeros[part.path].append(gone / keep_OI.numel())
                        n_zeros, n_weights = n_zeros + gone, n_weights + keep_OI.numel()
                del statistics
                if walk and index + 1 < len(self.removed):
                    walk.states = walk.through(index, block)
                yield {name: parameter.detach() for name, parameter in block.named_parameters()}
        self.facts |= {"n_zeros": n_zeros, "sparsity": n_zeros / n_weights}
        self.importance |= {f"sparsity.{path}": torch.tensor(shares) for path, shares in zeros.items()}

    def ends(self, blocks: Blocks) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in blocks.ends().items()}


def gathered(rule: Rule, walk: Any, index: int, block: nn.Module, blocks: Blocks) -> Sequence[Tensor | None]:
    """The statistics that a rule needs of the inputs of a block's linear layers; None for each where it needs none."""
    if rule.gather is None:
        return [None] * len(blocks.family.inputs)
    return input_statistics(walk, index, block, blocks.family.inputs, rule.gather)


def weights_of(block: nn.Module, parts: Sequence[Part]) -> list[Tensor]:
    return [block.get_parameter(f"{part.path}.weight").data for part in parts]


def plan_sparse(
    rule_of: Callable[[str, torch.device], Rule], blocks: Blocks, calibration: Calibration, request: Request
) -> SparsePlan:
    """The plan to make zero what a rule says. Raises PruningError for a rate that the linear layers can't reach, rows that a pattern
    does not divide, and a scope that is none."""
    refuse_options(request, axes=False)
    scope = request.scope or LAYER
    if scope not in SCOPES:
        raise PruningError(f"A scope is {' or '.join(SCOPES)}, got {scope!r}.")
    rule = rule_of(scope, blocks.device)
    if request.pattern is None:
        removed = removed_by_number(rule, scope, blocks, calibration, sparsity_for(request))
    elif request.scope == GLOBAL:
        raise PruningError(
            f"A pattern takes the same share of each layer, so the scope global has no meaning for {request.pattern}."
        )
    else:
        removed = removed_by_pattern(Pattern.parse(request.pattern), blocks)
    return SparsePlan(copy.deepcopy(blocks.model.config), rule, calibration, removed)


def sizes_of_linears(blocks: Blocks) -> Iterator[tuple[int, str, torch.Size]]:
    """Block, path and (O, I) of each linear layer in the blocks."""
    for index, block in enumerate(blocks.model.get_submodule(blocks.family.blocks)):
        for part in blocks.family.linears:
            yield index, part.path, block.get_submodule(part.path).weight.shape


def removed_by_pattern(pattern: Pattern, blocks: Blocks) -> list[dict[str, Removed]]:
    removed: list[dict[str, Removed]] = [{} for _ in range(len(blocks))]
    for index, path, (_, row_length) in sizes_of_linears(blocks):
        if row_length % pattern.m:
            raise PruningError(
                f"{pattern} sparsity needs a row length divisible by {pattern.m}, got {row_length} in {path}: "
                "choose another pattern, or prune without one."
            )
        removed[index][path] = pattern
    return removed


def removed_by_number(
    rule: Rule, scope: str, blocks: Blocks, calibration: Calibration, sparsity: float
) -> list[dict[str, Removed]]:
    """How many weights each layer loses: the same share of each, or as one threshold over the scores of all of the dense model says."""
    removed: list[dict[str, Removed]] = [{} for _ in range(len(blocks))]
    if scope == LAYER:
        for index, path, size in sizes_of_linears(blocks):
            removed[index][path] = round(sparsity * size.numel())
        return removed
    for name, n_removed in score_histogram(rule, blocks, calibration).allot(sparsity).items():
        index_text, _, path = name.partition(" ")
        removed[int(index_text)][path] = n_removed
    return removed


@torch.no_grad()
def score_histogram(rule: Rule, blocks: Blocks, calibration: Calibration) -> ScoreHistogram:
    """The scores of all linear layers of the dense model, by "BLOCK PATH"."""
    histogram = ScoreHistogram()
    walk = calibration.walk(blocks) if rule.gather else None
    for index in range(len(blocks)):
        with blocks.resident(index) as block:
            for group, statistic in zip(blocks.family.inputs, gathered(rule, walk, index, block, blocks), strict=True):
                for part, weight_OI in zip(group, weights_of(block, group), strict=True):
                    histogram.add(f"{index} {part.path}", rule.scores(weight_OI, statistic))
            if walk and index + 1 < len(blocks):
                walk.states = walk.through(index, block)
    return histogram


def sparsity_for(request: Request) -> float:
    """The share of zeros among the weights of the linear layers in the blocks that the rate asks for.

    Raises PruningError where not even all of them would do, or where there is nothing to do."""
    n_weights = n_weights_of(request.shape)
    sparsity = (request.shape.n_params_non_embedding - request.n_params_wanted) / n_weights
    if not 0 < sparsity < 0.99:
        highest = rate_of_sparsity(request.shape, request.n_params_base, 0.99)
        raise PruningError(
            f"A pruning rate of {request.rate:g} is {sparsity:.1%} of the weights of the linear layers: give {highest:.3f} at most."
        )
    return sparsity


def rate_of_sparsity(shape: ModelShape, n_params_base: int, sparsity: float) -> float:
    """The pruning rate once this share of the weights of the linear layers in the blocks is zero."""
    return 1 - (shape.n_params_non_embedding - sparsity * n_weights_of(shape)) / n_params_base


def n_weights_of(shape: ModelShape) -> int:
    """Weights of the linear layers in the blocks: what can become zero."""
    return shape.n_weights_attention + shape.n_weights_ffn


SPARSE: dict[str, Method] = {
    "magnitude": Method(
        "sparse",
        "the smallest weights",
        "Han et al. 2015, arXiv:1506.02626",
        partial(plan_sparse, lambda scope, device: Magnitude()),
        calibrated=False,
    ),
    "wanda": Method(
        "sparse",
        "the smallest weights times the norm of their input",
        "Sun et al. 2023, arXiv:2306.11695",
        partial(plan_sparse, lambda scope, device: Wanda(scope)),
    ),
    "sparsegpt": Method(
        "sparse",
        "the cheapest weights, for which the others make up",
        "Frantar and Alistarh 2023, arXiv:2301.00774",
        partial(plan_sparse, lambda scope, device: SparseGPT(device)),
    ),
}
