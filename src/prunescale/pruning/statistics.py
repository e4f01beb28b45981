"""What the linear layers of a block read: gathered while calibration text goes through, once for layers with the same input.

Letters of shapes: T tokens, I inputs.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from prunescale.models import Part
from prunescale.pruning.precision import tf32
from prunescale.pruning.walk import Walk, recorded_inputs

Gather = Callable[[Tensor | None, Tensor], Tensor]
"""A statistic so far (None at first) and the (T, I) inputs of one batch to the statistic with them."""


def squared_norms(so_far_I: Tensor | None, input_TI: Tensor) -> Tensor:
    """The sum of squares of each input, in float32."""
    sums_I = torch.linalg.vector_norm(input_TI, dim=0, dtype=torch.float32).square_()
    return sums_I if so_far_I is None else so_far_I.add_(sums_I)


def hessian(so_far_II: Tensor | None, input_TI: Tensor) -> Tensor:
    """X^T X, in float32."""
    if so_far_II is None:
        so_far_II = torch.zeros(input_TI.shape[1], input_TI.shape[1], dtype=torch.float32, device=input_TI.device)
    # A bfloat16 number is a TF32 number: the products are exact, and only their sum is rounded, to float32.
    with tf32(input_TI.dtype == torch.bfloat16):
        input_TI = input_TI.float()
        return so_far_II.addmm_(input_TI.T, input_TI)


def input_statistics(
    walk: Walk, index: int, block: nn.Module, inputs: tuple[tuple[Part, ...], ...], gather: Gather
) -> list[Tensor]:
    """A statistic of each of the inputs that the linear layers of a block read, over all tokens of the walk."""
    paths = [group[0].path for group in inputs]
    statistics: dict[str, Tensor | None] = dict.fromkeys(paths)

    def record(path: str, input_BLI: Tensor) -> None:
        statistics[path] = gather(statistics[path], input_BLI.flatten(0, -2))

    with recorded_inputs(block, paths, record), torch.no_grad():
        for state_BLD in walk.states:
            walk.run(index, block, state_BLD)
    return [statistic for statistic in statistics.values() if statistic is not None]
