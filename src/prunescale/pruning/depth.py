"""Which blocks to drop: depth pruning, each method in a few lines.

A method takes the matrices of `calibrate.block_angles` and a number of blocks, and says which to drop.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from prunescale.errors import PruningError
from prunescale.shape import ModelShape


@dataclass(frozen=True)
class DepthChoice:
    """Blocks to drop, in order, counted from 0, and the scores that led to it: one for each block, or for each place where a run
    of blocks could begin. The lowest score goes first."""

    blocks: tuple[int, ...]
    scores: tuple[float, ...]


def block_influence(cosine_KK: Tensor, angle_KK: Tensor, n_drop: int) -> DepthChoice:
    """The blocks of least influence: one minus the mean cosine of a block's input and output (ShortGPT, Men et al. 2024,
    arXiv:2403.03853, eq. 1). Of equal scores the later block goes."""
    scores = 1 - cosine_KK.diagonal(1)
    last_first = torch.argsort(scores.flip(0), stable=True)
    blocks = sorted((len(scores) - 1 - last_first[:n_drop]).tolist())
    return DepthChoice(tuple(blocks), tuple(scores.tolist()))


def contiguous(cosine_KK: Tensor, angle_KK: Tensor, n_drop: int) -> DepthChoice:
    """The run of n_drop blocks whose input and output are nearest in angle (Gromov et al. 2024, arXiv:2403.17887, eq. 7; theirs
    compares the last position of a sequence, ours all positions)."""
    scores = angle_KK.diagonal(n_drop)
    first = int(scores.argmin())
    return DepthChoice(tuple(range(first, first + n_drop)), tuple(scores.tolist()))


METHODS: dict[str, Callable[[Tensor, Tensor, int], DepthChoice]] = {
    "block-influence": block_influence,
    "contiguous": contiguous,
}


def blocks_for_rate(shape: ModelShape, rate: float) -> int:
    """How many blocks to drop so that the share of parameters removed, outside embeddings and head, is nearest to `rate`.

    Raises PruningError for a rate outside (0, 1), and for one that rounds to no block or to all of them.
    """
    if not 0 < rate < 1:
        raise PruningError(f"A pruning rate lies strictly between 0 and 1, got {rate:g}.")
    if shape.n_layers == 1:
        raise PruningError("The model has one block, and depth pruning leaves one at least: use a deeper model.")
    n_drop = round(rate / rate_of_blocks(shape, 1))
    if not 0 < n_drop < shape.n_layers:
        which = "no block" if n_drop == 0 else "every block"
        lowest, highest = rate_of_blocks(shape, 1), rate_of_blocks(shape, shape.n_layers - 1)
        raise PruningError(
            f"A pruning rate of {rate:g} rounds to {which} of {shape.n_layers}: "
            f"with this model give a rate from {lowest:.3f} (one block) to {highest:.3f} (all but one)."
        )
    return n_drop


def rate_of_blocks(shape: ModelShape, n_drop: int) -> float:
    """The pruning rate of dropping `n_drop` blocks: share of the parameters outside embeddings and head."""
    per_block = (shape.n_params_non_embedding - shape.hidden_size) // shape.n_layers  # all but the norm at the end
    return n_drop * per_block / shape.n_params_non_embedding
