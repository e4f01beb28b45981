"""SparseGPT (Frantar & Alistarh 2023, arXiv:2301.00774): weights go column by column, and those to their right make up for them.

Inputs X of a layer have the Hessian H = X^T X. Of the inputs from p on, with the inverse Hessian H_p^-1, the weight p of a row costs
w_p² / [H_p^-1]_pp when it goes, and the weights after it then best change by -w_p / [H_p^-1]_pp · [H_p^-1]_p: (eq. 3). The order
is the same for all rows, so one Cholesky factor holds all these inverses: H^-1 = U^T U with U upper triangular has
[H_p^-1]_pp = U_pp² and [H_p^-1]_p: / [H_p^-1]_pp = U_p: / U_pp (section 3.3).

Weights are worked on transposed, inputs first, so that a column of the layer lies in memory in one piece.

Letters of shapes: O outputs (rows), I inputs, C inputs of one column block.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from prunescale.errors import PruningError
from prunescale.pruning.masks import Pattern, keep_highest, keep_of_matrix
from prunescale.pruning.precision import tf32


class ColumnBlock(NamedTuple):
    """Columns of a layer that lie side by side, with room for what is decided of them."""

    weight_CO: Tensor
    goes_CO: Tensor
    """What goes: known before, or with a pattern filled m columns at a time, by the weights that they have by then."""
    lost_CO: Tensor
    """Filled with each weight that goes, as it was when it went, and zero for those that stay."""
    change_CC: Tensor
    """U_p: / U_pp"""
    per_root_cost_C: Tensor
    """1 / U_pp"""


ColumnStep = Callable[[ColumnBlock, Pattern | None], None]
"""`prune_columns_`, or a `GraphedColumns`, which does the same."""


def prune_columns_(columns: ColumnBlock, pattern: Pattern | None) -> None:
    """The inner loop of Algorithm 1 on one block of columns, in place: a column loses what goes of it, and those to its right in the
    block change. Two kernels a column; with a pattern ten more for every m columns."""
    weight_CO, goes_CO, lost_CO, change_CC, per_root_cost_C = columns
    for c in range(len(weight_CO)):
        if pattern is not None and c % pattern.m == 0:
            group = slice(c, c + pattern.m)
            root_cost_MO = (weight_CO[group] * per_root_cost_C[group, None]).abs()
            torch.logical_not(keep_highest(root_cost_MO, pattern.n_kept), out=goes_CO[group])
        torch.mul(weight_CO[c], goes_CO[c], out=lost_CO[c])
        weight_CO[c + 1 :].addr_(change_CC[c, c + 1 :], lost_CO[c], alpha=-1)
    weight_CO.masked_fill_(goes_CO, 0)


class GraphedColumns:
    """`prune_columns_` as CUDA graphs, one for each shape and pattern that comes, so that its hundreds of small kernels are launched
    at once. To be made once and used for all layers of a model: a capture takes longer than the kernels of several blocks.

    Each graph keeps buffers of some 10 bytes for each weight of a block of columns, as long as this object lives.
    """

    def __init__(self) -> None:
        self._captured: dict[tuple[object, ...], tuple[torch.cuda.CUDAGraph, ColumnBlock]] = {}

    def __call__(self, columns: ColumnBlock, pattern: Pattern | None) -> None:
        weight_CO = columns.weight_CO
        key = (weight_CO.shape, weight_CO.dtype, weight_CO.device, pattern)
        if key not in self._captured:
            self._captured[key] = captured(columns, pattern)
        graph, buffers = self._captured[key]
        for buffer, tensor in zip(buffers, columns, strict=True):
            buffer.copy_(tensor)
        graph.replay()
        for buffer, tensor in zip(buffers[:3], columns[:3], strict=True):  # those that are written
            tensor.copy_(buffer)


def captured(columns: ColumnBlock, pattern: Pattern | None) -> tuple[torch.cuda.CUDAGraph, ColumnBlock]:
    """A graph of `prune_columns_`, and the buffers that it works on, which are shaped as the columns given."""
    buffers = ColumnBlock(*(tensor.clone(memory_format=torch.contiguous_format) for tensor in columns))
    with torch.cuda.device(columns.weight_CO.device):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            prune_columns_(buffers, pattern)  # a first run outside the capture loads the kernels
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
            prune_columns_(buffers, pattern)
    return graph, buffers


@torch.no_grad()
@tf32(False)
def sparsegpt_(
    weight_OI: Tensor,
    hessian_II: Tensor,
    *,
    removed: Pattern | int,
    block: int = 128,
    damping: float = 0.01,
    step: ColumnStep = prune_columns_,
) -> Tensor:
    """Prune a layer's weight in place, those that stay changed to make up for those that go, and return the mask of those that stay
    (Algorithm 1 of arXiv:2301.00774).

    hessian_II: X^T X over all calibration tokens, at any scale; it stays as it is. Inputs that are always zero lose their weights.
    removed: a pattern, or how many weights go, which are spread evenly over blocks of columns; within a block the cheapest go.
    block: columns after which the rest of the matrix gets its changes; with a number of weights, also those compared with each other.
    damping: added to the diagonal, as a share of its mean over inputs that are not always zero. step: on a GPU, one
    `GraphedColumns` for all layers.

    With a pattern, rows do not know of each other, so layers with the same input can be stacked by rows and share the factor of their
    Hessian. With a number they would be compared with each other: each needs its own call.

    Works in float32, or float64 where the weight is, and never in TF32: the products between blocks are O·I² floating-point operations
    (0.8e12 for 4096 × 14336), less than the 4/3·I³ (3.9e12) of the Hessian's factor.

    Raises PruningError where m does not divide the length of a row, and where the Hessian cannot be inverted.
    """
    n_inputs = weight_OI.shape[1]
    pattern = removed if isinstance(removed, Pattern) else None
    if pattern is not None:
        pattern.check_row_length(n_inputs)
        block = max(block - block % pattern.m, pattern.m)
    dtype = torch.promote_types(weight_OI.dtype, torch.float32)
    weight_IO = weight_OI.T.to(dtype, copy=True, memory_format=torch.contiguous_format)
    weight_IO[hessian_II.diagonal() == 0] = 0
    goes_IO = torch.zeros_like(weight_IO, dtype=torch.bool)
    change_II = inverse_factor(hessian_II.to(dtype), damping)
    per_root_cost_I = change_II.diagonal().reciprocal()
    change_II *= per_root_cost_I[:, None]
    for start in range(0, n_inputs, block):
        stop = min(start + block, n_inputs)
        here = slice(start, stop)
        lost_CO = torch.empty_like(weight_IO[here])
        columns = ColumnBlock(weight_IO[here], goes_IO[here], lost_CO, change_II[here, here], per_root_cost_I[here])
        if isinstance(removed, int):
            n_here = removed * stop // n_inputs - removed * start // n_inputs
            root_cost_CO = (columns.weight_CO * columns.per_root_cost_C[:, None]).abs()
            columns.goes_CO.copy_(~keep_of_matrix(root_cost_CO.T, n_here).T)
        step(columns, pattern)
        weight_IO[stop:].addmm_(change_II[here, stop:].T, lost_CO, alpha=-1)
    weight_OI.copy_(weight_IO.T)
    return goes_IO.T.logical_not().contiguous()


@torch.no_grad()
@tf32(False)
def inverse_factor(hessian_II: Tensor, damping: float) -> Tensor:
    """U, upper triangular, with U^T U the inverse of the damped Hessian; inputs that are always zero count as one on the diagonal.

    The paper's code inverts H by a Cholesky factor and then factors the inverse. Here H is factored from its last input backwards,
    H = R R^T with R upper triangular, and U = R^-1, since U^T U = (R R^T)^-1: the same U, since only one has a positive diagonal, at
    half the operations.

    Where the damped H is not positive definite, for rounding, damping is raised tenfold, up to three times; then PruningError.
    """
    diagonal_I = hessian_II.diagonal()
    if not diagonal_I.isfinite().all():
        raise PruningError("Inputs of the layer are not all finite, so the model is damaged: make or load it again.")
    dead_I = diagonal_I == 0
    mean = diagonal_I.sum() / (~dead_I).sum().clamp(min=1)
    identity_II = torch.eye(len(hessian_II), dtype=hessian_II.dtype, device=hessian_II.device)
    for attempt in range(4):
        backwards_II = hessian_II.flip(0, 1)
        backwards_II.diagonal().add_(damping * 10**attempt * mean + dead_I.flip(0))
        lower_II, failed = torch.linalg.cholesky_ex(backwards_II)
        if not failed:
            return torch.linalg.solve_triangular(lower_II, identity_II, upper=False).flip(0, 1).contiguous()
    raise PruningError(
        f"The Hessian of the layer's inputs is not positive definite, even with {damping * 1000:g} times its mean diagonal added: "
        "use more calibration text, or check that the model is sound."
    )
