"""Which blocks to drop: depth pruning, each method in a few lines.

A method looks at the model's blocks and a number of them to drop, and says which. Letters of shapes: K blocks.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from prunescale.errors import PruningError
from prunescale.models import Blocks
from prunescale.pruning.boundaries import block_angles
from prunescale.pruning.plan import Calibration, Method, Request, refuse_options
from prunescale.pruning.walk import DAMAGED
from prunescale.shape import ModelShape


@dataclass(frozen=True)
class DepthChoice:
    """Blocks to drop, in order, counted from 0, and the scores that led to it: one for each block, or for each place where a run
    of blocks could begin. The lowest score goes first."""

    blocks: tuple[int, ...]
    scores: Tensor


Choose = Callable[[Blocks, Calibration, int], DepthChoice]


def block_influence(blocks: Blocks, calibration: Calibration, n_drop: int) -> DepthChoice:
    """The blocks of least influence: one minus the mean cosine of a block's input and output (ShortGPT, Men et al. 2024,
    arXiv:2403.03853, eq. 1)."""
    cosine_K, _ = block_angles(blocks, calibration, apart=1)
    return lowest(1 - cosine_K, n_drop)


def contiguous(blocks: Blocks, calibration: Calibration, n_drop: int) -> DepthChoice:
    """The run of n_drop blocks whose input and output are nearest in angle (Gromov et al. 2024, arXiv:2403.17887, eq. 7; theirs
    compares the last position of a sequence, ours all positions)."""
    _, angle = block_angles(blocks, calibration, apart=n_drop)
    first = int(angle.argmin())
    return DepthChoice(tuple(range(first, first + n_drop)), angle)


def perplexity(blocks: Blocks, calibration: Calibration, n_drop: int) -> DepthChoice:
    """The blocks whose absence, one at a time, raises the loss least (Shortened LLaMA, Kim et al. 2024, arXiv:2402.02834, their
    criterion "PPL"; its logarithm has the same order). A score is the loss without the block minus that of the whole model, nats
    per token.

    Each block is read once: the whole model and the models without an earlier block go through it one after the other. So K + 1
    times the hidden states of the calibration text are kept, and a block is computed (K^2 + K) / 2 times. Little text will do:
    the paper's code takes ten sequences of 128 tokens.
    """
    walk = calibration.walk(blocks, n_kept=len(blocks) + 2)
    without: list[list[Tensor]] = []
    for index in range(len(blocks)):
        with blocks.resident(index) as block:
            for left_out, states in enumerate(without):
                without[left_out] = walk.through(index, block, states)
            without.append(walk.states)
            walk.states = walk.through(index, block)
    loss_K = torch.tensor([walk.loss(states) for states in without], dtype=torch.float64)
    return lowest(loss_K - walk.loss(), n_drop)


@torch.no_grad()
def block_magnitude(blocks: Blocks, calibration: Calibration, n_drop: int) -> DepthChoice:
    """The blocks of the smallest sum of |W| over their linear layers (Shortened LLaMA, Kim et al. 2024, arXiv:2402.02834, their
    criterion "magnitude"). No text is read."""
    sums = []
    for index in range(len(blocks)):
        with blocks.resident(index) as block:
            weights = [block.get_submodule(part.path).weight for part in blocks.family.linears]
            sums.append(sum(float(weight.abs().sum(dtype=torch.float64)) for weight in weights))
    return lowest(torch.tensor(sums, dtype=torch.float64), n_drop)


def last_blocks(blocks: Blocks, calibration: Calibration, n_drop: int) -> DepthChoice:
    """The last blocks but for the very last, which always stays: the simple strategy that Gromov et al. 2024, arXiv:2403.17887,
    compare theirs with. No text is read. The scores are ranks."""
    n_blocks = len(blocks)
    return lowest(torch.tensor([*range(n_blocks - 2, -1, -1), n_blocks - 1], dtype=torch.float64), n_drop)


def lowest(scores_K: Tensor, n_drop: int) -> DepthChoice:
    """The blocks of the lowest scores; of equal scores the later block goes. Raises PruningError for one that is not finite."""
    if not scores_K.isfinite().all():
        raise PruningError(DAMAGED)
    last_first = torch.argsort(scores_K.flip(0), stable=True)
    return DepthChoice(tuple(sorted((len(scores_K) - 1 - last_first[:n_drop]).tolist())), scores_K)


def blocks_for_rate(request: Request) -> int:
    """How many blocks to drop so that the pruning rate is nearest to the one asked for.

    Raises PruningError for a rate that rounds to no block or to all of them.
    """
    shape = request.shape
    if shape.n_layers == 1:
        raise PruningError("The model has one block, and depth pruning leaves one at least: use a deeper model.")
    n_drop = nearest_blocks(shape, request.n_params_wanted)
    if not 0 < n_drop < shape.n_layers:
        which = "no block" if n_drop <= 0 else "every block"
        lowest, highest = rate_after(request, 1), rate_after(request, shape.n_layers - 1)
        raise PruningError(
            f"A pruning rate of {request.rate:g} rounds to {which} of {shape.n_layers}: "
            f"with this model give a rate from {lowest:.3f} (one block) to {highest:.3f} (all but one)."
        )
    return n_drop


def nearest_blocks(shape: ModelShape, n_params_left: float) -> int:
    """How many blocks to drop so that the parameters outside embeddings and head come nearest to a number; it may be none, or all."""
    return round((shape.n_params_non_embedding - n_params_left) / shape.n_params_block)


def rate_after(request: Request, n_drop: int) -> float:
    """The pruning rate once `n_drop` blocks more are gone."""
    left = request.shape.n_params_non_embedding - n_drop * request.shape.n_params_block
    return 1 - left / request.n_params_base


@dataclass
class DepthPlan:
    """Some blocks are left out, all else stays."""

    config: Any
    choice: DepthChoice
    n_layers: int
    facts: Mapping[str, Any] = field(init=False)
    importance: Mapping[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.facts = {"blocks_dropped": self.choice.blocks}
        self.importance = {"blocks": self.choice.scores.float()}

    def block_tensors(self, blocks: Blocks) -> Iterator[dict[str, Tensor]]:
        for index in range(self.n_layers):
            if index not in self.choice.blocks:
                with blocks.resident(index) as block:
                    yield {name: value.detach().clone() for name, value in block.named_parameters()}

    def ends(self, blocks: Blocks) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in blocks.ends().items()}


def plan_depth(choose: Choose, blocks: Blocks, calibration: Calibration, request: Request) -> DepthPlan:
    """The plan to drop as many blocks as come nearest to the rate, chosen by `choose`."""
    refuse_options(request, axes=False, pattern=False, scope=False)
    choice = choose(blocks, calibration, blocks_for_rate(request))
    return DepthPlan(config_without(blocks, choice.blocks), choice, len(blocks))


def config_without(blocks: Blocks, dropped: tuple[int, ...]) -> Any:
    """The configuration of a model without these blocks."""
    config = copy.deepcopy(blocks.model.config)
    keep = [index for index in range(len(blocks)) if index not in dropped]
    config.num_hidden_layers = len(keep)
    for setting in blocks.family.per_block_settings:
        values = getattr(config, setting, None)
        if values is not None:
            setattr(config, setting, [values[index] for index in keep])
    return config


KIM = "Kim et al. 2024, arXiv:2402.02834"
GROMOV = "Gromov et al. 2024, arXiv:2403.17887"

DEPTH: dict[str, Method] = {
    name: Method("depth", summary, source, partial(plan_depth, choose), calibrated)
    for name, choose, summary, source, calibrated in (
        (
            "block-influence",
            block_influence,
            "blocks that turn the hidden state least",
            "Men et al. 2024, arXiv:2403.03853",
            True,
        ),
        ("contiguous", contiguous, "the run of blocks that turns it least", GROMOV, True),
        ("perplexity", perplexity, "blocks whose absence raises the loss least", KIM, True),
        ("block-magnitude", block_magnitude, "blocks of the smallest weights", KIM, False),
        ("last-blocks", last_blocks, "the last blocks but one, as a baseline", GROMOV, False),
    )
}
