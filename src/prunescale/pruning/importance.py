"""What each unit of a model's width is worth: the scores of width pruning, each method in a few lines. The lowest go first.

A unit of "ffn" is a channel of a feed-forward; of "heads" a key and value head with its query heads, or a query head where all share
one key and value head; of "hidden" an entry of the residual stream, the same in all blocks. Scores are float32 on the CPU, (K, F),
(K, U) and (D,).

Magnitude and Taylor score single weights, and a unit gets the L2 norm of the scores of the weights that would go with it: in the linear
layers with their biases and, for "hidden", in embedding and head. Norms have no part in it. Wanda looks at the weights that read a unit.

Letters of shapes: B sequences at once, L positions, D hidden size, F feed-forward channels, U units of heads, K blocks, O outputs
(rows), I inputs (columns), V vocabulary.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prunescale.errors import PruningError
from prunescale.models import Blocks, Part, shape_of
from prunescale.models.families import Axis
from prunescale.pruning.cut import axis_sizes
from prunescale.pruning.plan import Calibration
from prunescale.pruning.sizes import head_units
from prunescale.pruning.statistics import squared_norms
from prunescale.pruning.walk import DAMAGED, Walk, next_token_loss, recorded_inputs
from prunescale.shape import ModelShape


def importances(blocks: Blocks, calibration: Calibration, method: str) -> dict[str, Tensor]:
    """The scores of a method's units under "ffn", "heads" and "hidden". Raises PruningError where one is not finite."""
    scores = {name: score.float().cpu() for name, score in SCORES[method](blocks, calibration).items()}
    if not all(score.isfinite().all() for score in scores.values()):
        raise PruningError(DAMAGED)
    return scores


@torch.no_grad()
def activation_scores(blocks: Blocks, calibration: Calibration) -> dict[str, Tensor]:
    """How large what comes from a unit is (Minitron, Muralidharan et al. 2024, arXiv:2407.14679): of an FFN channel the
    size of its activation, as the down projection reads it; of heads the L2 norm of their attention outputs together, before the
    output projection; of a hidden channel the size of what attention and feed-forward read, which is a norm's output, but for
    OLMo 2, where it is the residual stream itself. Sizes are averaged over the positions of a sequence, and the L2 norm is taken
    over sequences, as NVIDIA's code does (MegatronL2NormHook of Model-Optimizer). Those of hidden channels are summed over both
    inputs of each block and over blocks.
    """
    shape, family = shape_of(blocks.model.config), blocks.family
    readers = {group[0].path: group[0].columns for group in family.inputs}
    walk = calibration.walk(blocks)
    found = UnitSums(shape)
    for index in range(len(blocks)):
        squares: dict[str, Tensor] = {}

        def record(path: str, input_BLI: Tensor, squares: dict[str, Tensor] = squares) -> None:
            size_BLU = input_BLI.float().abs()
            if readers[path] == "query":
                size_BLU = input_BLI.float().unflatten(-1, (head_units(shape), -1)).norm(dim=-1)
            square_U = size_BLU.mean(1).square().sum(0)
            squares[path] = squares[path] + square_U if path in squares else square_U

        with blocks.resident(index) as block, recorded_inputs(block, list(readers), record):
            walk.states = walk.through(index, block)
        for path, square_U in squares.items():
            found.add_units(UNITS_OF_AXIS[readers[path]], square_U.sqrt())
        found.end_block()
    return found.sums


@torch.no_grad()
def wanda_scores(blocks: Blocks, calibration: Calibration) -> dict[str, Tensor]:
    """How much the linear layers of the blocks make of a unit: the L2 norm, over the weights that read it, of |W| times the L2 norm of
    the input over all tokens, which is the score of a weight in Wanda (Sun et al. 2023, arXiv:2306.11695, eq. 1).

    So FFN channels are scored by the columns of the down projection and heads by those of the output projection, as in the baseline
    Wanda-sp of FLAP (An et al. 2024, arXiv:2312.11983), which has the sum in place of the norm; hidden channels by the columns of all
    that reads the residual stream. Weights that write a unit are left out: with those of queries and keys, heads of SmolLM2-135M were
    chosen far worse."""
    readers = {group[0].path: group for group in blocks.family.inputs}
    walk = calibration.walk(blocks)
    found = UnitSums(shape_of(blocks.model.config))
    for index in range(len(blocks)):
        squares: dict[str, Tensor | None] = dict.fromkeys(readers)

        def record(path: str, input_BLI: Tensor, squares: dict[str, Tensor | None] = squares) -> None:
            squares[path] = squared_norms(squares[path], input_BLI.flatten(0, -2))

        with blocks.resident(index) as block:
            with recorded_inputs(block, list(readers), record):
                walk.states = walk.through(index, block)
            for path, square_I in squares.items():
                assert square_I is not None
                for part, weight_OI, _ in weights(block, readers[path]):
                    found.add_entries(part.columns, weight_OI.float().square().sum(0) * square_I)
        found.end_block()
    return found.norms


@torch.no_grad()
def magnitude_scores(blocks: Blocks, calibration: Calibration) -> dict[str, Tensor]:
    """The size of each weight, so that a unit gets the L2 norm of its weights (for filters Li et al. 2017, arXiv:1608.08710, with the L1
    norm; LLM-Pruner, Ma et al. 2023, arXiv:2305.11627, has the L2 norm as a baseline). The text is not used."""
    found = UnitSums(shape_of(blocks.model.config))
    for index in range(len(blocks)):
        with blocks.resident(index) as block:
            for part, weight_OI, bias_O in weights(block, blocks.family.linears):
                found.add(part, weight_OI.float(), None if bias_O is None else bias_O.float())
        found.end_block()
    for part, weight_VD in end_weights(blocks):
        found.add(part, weight_VD.float())
    return found.norms


@torch.enable_grad()
def taylor_scores(blocks: Blocks, calibration: Calibration) -> dict[str, Tensor]:
    """Of each weight w dL/dw, to first order what the loss L, the mean over all calibration tokens, changes by without it. A unit's
    squared norm is the importance of a set of weights of Molchanov et al. 2019 (arXiv:1906.10771). LLM-Pruner (Ma et al. 2023,
    arXiv:2305.11627) brought such scores to language models, with sums in place of norms.

    Needs room for the states at all boundaries of the blocks, and for the gradients of one block, and of embedding and head, on the
    device. Each block is computed twice.
    """
    family, shape = blocks.family, shape_of(blocks.model.config)
    walk = calibration.walk(blocks, n_kept=len(blocks) + 3)
    n_predicted = sum(ids_BL[:, 1:].numel() for ids_BL in walk.ids)
    boundaries = [walk.states]
    for index in range(len(blocks)):
        with blocks.resident(index) as block:
            boundaries.append(walk.through(index, block, boundaries[-1]))
    slopes, head_slope_VD = loss_slopes(walk, boundaries.pop())
    found = UnitSums(shape)
    for index in reversed(range(len(blocks))):
        with blocks.resident(index, own=True) as block:
            slopes, of_weights = block_slopes(walk, index, block, boundaries.pop(), slopes)
            for part, weight_OI, bias_O in weights(block, family.linears):
                of_weight_OI = weight_OI.float() * of_weights[f"{part.path}.weight"] / n_predicted
                of_bias_O = None if bias_O is None else bias_O.float() * of_weights[f"{part.path}.bias"] / n_predicted
                found.add(part, of_weight_OI, of_bias_O)
            del of_weights
        found.end_block()
    embedding_slope_VD = embedding_slope(walk, slopes)
    if shape.tied_embeddings:
        embedding_slope_VD += head_slope_VD
    for part, weight_VD in end_weights(blocks):
        slope_VD = embedding_slope_VD if part == family.embedding else head_slope_VD
        found.add(part, weight_VD.float() * slope_VD / n_predicted)
    return {name: score.flip(0) if name != "hidden" else score for name, score in found.norms.items()}


def loss_slopes(walk: Walk, states: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The gradient of the loss summed over tokens: with respect to the states behind the last block, and to the head's weight, in
    float32. One sequence at a time."""
    blocks = walk.blocks
    head = blocks.model.get_submodule(blocks.family.head.path)
    of_head_VD = torch.zeros(head.weight.shape, dtype=torch.float32, device=walk.device)
    slopes = []
    with followed(head.weight):
        for ids_BL, state_BLD in zip(walk.ids, states, strict=True):
            of_batch = []
            for ids_1L, state_1LD in zip(ids_BL.split(1), state_BLD.split(1), strict=True):
                state_1LD = state_1LD.to(walk.device).detach().requires_grad_()
                loss = next_token_loss(walk.logits(ids_1L, state_1LD), ids_1L.to(walk.device))
                of_state_1LD, of_weight_VD = torch.autograd.grad(loss, [state_1LD, head.weight])
                of_head_VD += of_weight_VD
                of_batch.append(of_state_1LD)
            slopes.append(walk.kept(torch.cat(of_batch)))
    return slopes, of_head_VD


def block_slopes(
    walk: Walk, index: int, block: nn.Module, states: list[Tensor], slopes: list[Tensor]
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """From the gradient with respect to a block's output to those with respect to its input and, summed over batches in float32,
    its parameters by name. states: the block's input. The block is recomputed."""
    parameters = dict(block.named_parameters())
    of_parameters = {name: torch.zeros_like(value, dtype=torch.float32) for name, value in parameters.items()}
    block.requires_grad_(True)
    before = []
    for state_BLD, slope_BLD in zip(states, slopes, strict=True):
        state_BLD = state_BLD.to(walk.device).detach().requires_grad_()
        out_BLD = walk.run(index, block, state_BLD)
        of_state_BLD, *of_batch = torch.autograd.grad(out_BLD, [state_BLD, *parameters.values()], slope_BLD.to(walk.device))
        for total, of_one in zip(of_parameters.values(), of_batch, strict=True):
            total += of_one
        before.append(walk.kept(of_state_BLD))
    return before, of_parameters


def embedding_slope(walk: Walk, slopes: list[Tensor]) -> Tensor:
    """The gradient with respect to the embedding's weight, in float32, from that with respect to the input of the first block."""
    embedding = walk.blocks.model.get_submodule(walk.blocks.family.embedding.path)
    of_weight_VD = torch.zeros(embedding.weight.shape, dtype=torch.float32, device=walk.device)
    with followed(embedding.weight):
        for ids_BL, slope_BLD in zip(walk.ids, slopes, strict=True):
            state_BLD = embedding(ids_BL.to(walk.device))
            of_weight_VD += torch.autograd.grad(state_BLD, embedding.weight, slope_BLD.to(walk.device))[0]
    return of_weight_VD


@contextmanager
def followed(parameter: nn.Parameter) -> Iterator[None]:
    """While the context lasts, gradients can be asked for with respect to a parameter that may not be one's own."""
    before = parameter.requires_grad
    parameter.requires_grad_(True)
    try:
        yield
    finally:
        parameter.requires_grad_(before)


UNITS_OF_AXIS: Mapping[Axis | None, str] = {"ffn": "ffn", "query": "heads", "key_value": "heads", "hidden": "hidden"}
"""The axis that a user names for that of a parameter."""


class UnitSums:
    """Sums over what belongs to each unit, block after block."""

    def __init__(self, shape: ModelShape) -> None:
        self.sizes = axis_sizes(shape)
        self.n_units = {"ffn": shape.ffn_size, "heads": head_units(shape), "hidden": shape.hidden_size}
        self.shared: tuple[Axis, ...] = ("key_value",) if shape.n_kv_heads == 1 else ()
        self.of_blocks: dict[str, list[Tensor]] = {"ffn": [], "heads": []}
        self.of_block: dict[str, Tensor] = {}
        self.hidden: Tensor | None = None

    def add(self, part: Part, of_weight_OI: Tensor, of_bias_O: Tensor | None = None) -> None:
        """Add the squared score of each weight and bias of a linear layer, or an embedding, to the units that they would go with."""
        square_OI = of_weight_OI.square()
        of_row_O = square_OI.sum(1) if of_bias_O is None else square_OI.sum(1) + of_bias_O.square()
        self.add_entries(part.columns, square_OI.sum(0))
        for axis, of_entry in zip(part.rows, of_row_O.split([self.sizes[axis] for axis in part.rows]), strict=True):
            self.add_entries(axis, of_entry)

    def add_entries(self, axis: Axis | None, of_entry: Tensor) -> None:
        """Add what belongs to each entry along an axis. What no unit has to itself counts for none."""
        if axis in UNITS_OF_AXIS and axis not in self.shared:
            name = UNITS_OF_AXIS[axis]
            self.add_units(name, of_entry.view(self.n_units[name], -1).sum(1))

    def add_units(self, name: str, of_unit: Tensor) -> None:
        if name == "hidden":
            self.hidden = of_unit if self.hidden is None else self.hidden + of_unit
        else:
            self.of_block[name] = self.of_block[name] + of_unit if name in self.of_block else of_unit

    def end_block(self) -> None:
        """What is added from now on belongs to another block."""
        for name, of_unit in self.of_block.items():
            self.of_blocks[name].append(of_unit)
        self.of_block = {}

    @property
    def sums(self) -> dict[str, Tensor]:
        assert self.hidden is not None
        return {**{name: torch.stack(rows) for name, rows in self.of_blocks.items()}, "hidden": self.hidden}

    @property
    def norms(self) -> dict[str, Tensor]:
        """The roots of the sums."""
        return {name: sums.sqrt() for name, sums in self.sums.items()}


def weights(block: Any, parts: tuple[Part, ...]) -> Iterator[tuple[Part, Tensor, Tensor | None]]:
    """The linear layers among these parts of a block with their weights and biases."""
    for part in parts:
        module = block.get_submodule(part.path)
        yield part, module.weight.detach(), None if module.bias is None else module.bias.detach()


def end_weights(blocks: Blocks) -> Iterator[tuple[Part, Tensor]]:
    """Embedding and head, of which the head is left out where it is the embedding."""
    ends = blocks.ends()
    for part in (blocks.family.embedding, blocks.family.head):
        if f"{part.path}.weight" in ends:
            yield part, ends[f"{part.path}.weight"]


SCORES: dict[str, Callable[[Blocks, Calibration], dict[str, Tensor]]] = {
    "width-activation": activation_scores,
    "width-wanda": wanda_scores,
    "width-magnitude": magnitude_scores,
    "width-taylor": taylor_scores,
}
