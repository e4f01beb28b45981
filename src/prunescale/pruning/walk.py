"""Calibration text on its way through the blocks of a model, one block at a time.

Letters of shapes: N sequences, B of them at once, L positions, D hidden size.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prunescale.errors import DataError, PruningError
from prunescale.models import Blocks

DAMAGED = "The model computes numbers that are not finite, so it is damaged: make or load it again."


FILLED = 1 / 8
"""Of a GPU's memory, how much hidden states that wait may fill."""


class StandIn(nn.Module):
    """In the place of a block: notes how it is called, and gives back what comes in, or the state that it was given."""

    def __init__(self, attributes: dict[str, Any]) -> None:
        super().__init__()
        self.call: dict[str, Any] = {}
        self.given: Tensor | None = None
        self.__dict__.update(attributes)

    def forward(self, state_BLD: Tensor, **call: Any) -> Tensor:
        self.call = call
        return state_BLD if self.given is None else self.given


class Walk:
    """The hidden states of calibration sequences at one boundary of the blocks, and how each block wants to be called.

    states: one (B, L, D) tensor for each batch, at the input of the first block to begin with. They are on the model's device while
    they are computed with, and wait there or, where n_kept of them at once would fill too much of it, in the host's memory.
    """

    def __init__(
        self,
        blocks: Blocks,
        tokens: Tensor,
        *,
        sequence_length: int,
        batch: int = 4,
        n_kept: int = 2,
        start: int | None = None,
    ) -> None:
        self.blocks = blocks
        self.device = blocks.device
        bytes_kept = n_kept * len(tokens) * blocks.model.config.hidden_size * blocks.model.dtype.itemsize
        self.on_host = self.device.type == "cuda" and bytes_kept > FILLED * torch.cuda.mem_get_info(self.device)[1]
        self.ids = list(sequences(tokens, sequence_length, start).split(batch))
        self.calls: dict[int, list[dict[str, Any]]] = {}
        self.states = [self.entered(ids_BL) for ids_BL in self.ids]

    @property
    def n_tokens(self) -> int:
        return sum(ids_BL.numel() for ids_BL in self.ids)

    @torch.no_grad()
    def entered(self, ids_BL: Tensor) -> Tensor:
        """The input of the first block. Notes how the blocks are called for a batch of this size."""
        with stand_ins(self.blocks) as blocks:
            inner = self.blocks.model.get_submodule(self.blocks.family.blocks.rpartition(".")[0])
            seen: list[Tensor] = []
            handle = blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
            inner(input_ids=ids_BL.to(self.device), use_cache=False)
            handle.remove()
            if len(ids_BL) not in self.calls:
                self.calls[len(ids_BL)] = [block.call for block in blocks]
        return self.kept(seen[0])

    def kept(self, state_BLD: Tensor) -> Tensor:
        """The state where it waits. Copies to the host and back are queued with the device's other work, in pinned memory."""
        if not self.on_host:
            return state_BLD
        host_BLD = torch.empty(state_BLD.shape, dtype=state_BLD.dtype, pin_memory=True)
        return host_BLD.copy_(state_BLD, non_blocking=True)

    def run(self, index: int, block: nn.Module, state_BLD: Tensor) -> Tensor:
        """What a block makes of the state of one batch, on the model's device."""
        return block(state_BLD.to(self.device, non_blocking=True), **self.calls[len(state_BLD)][index])

    @torch.no_grad()
    def through(self, index: int, block: nn.Module, states: list[Tensor] | None = None) -> list[Tensor]:
        """The states (default: those of the walk) after a block. Raises PruningError where one is not finite."""
        finite = torch.ones((), dtype=torch.bool, device=self.device)
        after = []
        for state_BLD in self.states if states is None else states:
            out_BLD = self.run(index, block, state_BLD)
            finite &= out_BLD.isfinite().all()
            after.append(self.kept(out_BLD))
        if not finite:
            raise PruningError(DAMAGED)
        return after

    def logits(self, ids_BL: Tensor, state_BLD: Tensor) -> Tensor:
        """(B, L, vocabulary): what the model makes of the state behind its last block."""
        with stand_ins(self.blocks) as blocks:
            blocks[-1].given = state_BLD.to(self.device)
            logits: Tensor = self.blocks.model(input_ids=ids_BL.to(self.device), use_cache=False).logits
        return logits

    @torch.no_grad()
    def loss(self, states: list[Tensor] | None = None) -> float:
        """The mean loss, nats per token, of predicting each token from those before it, given the states behind the last block.
        One sequence at a time: logits take far more room than states. Raises PruningError where it is not finite."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        n_predicted = 0
        for ids_BL, state_BLD in zip(self.ids, self.states if states is None else states, strict=True):
            for ids_L, state_LD in zip(ids_BL, state_BLD, strict=True):
                total += next_token_loss(self.logits(ids_L[None], state_LD[None]), ids_L[None].to(self.device))
                n_predicted += len(ids_L) - 1
        if not total.isfinite():
            raise PruningError(DAMAGED)
        return float(total) / max(n_predicted, 1)


def next_token_loss(logits_BLV: Tensor, ids_BL: Tensor) -> Tensor:
    """Summed cross-entropy of each token but the first, nats, in float32."""
    return nn.functional.cross_entropy(logits_BLV[:, :-1].flatten(0, 1).float(), ids_BL[:, 1:].flatten(), reduction="sum")


def sequences(tokens: Tensor, sequence_length: int, start: int | None = None) -> Tensor:
    """(N, L) calibration sequences, one after the other; what does not fill one is left out. The first token of each gives way to
    `start`, if there is one. Raises DataError for too few tokens."""
    n_sequences = len(tokens) // sequence_length
    if n_sequences == 0:
        raise DataError(
            f"Calibration needs one sequence of {sequence_length} tokens at least, got {len(tokens)}: give more text or shorter sequences."
        )
    ids_NL = tokens[: n_sequences * sequence_length].view(n_sequences, sequence_length)
    if start is not None:
        ids_NL = ids_NL.clone()
        ids_NL[:, 0] = start
    return ids_NL


@contextmanager
def stand_ins(blocks: Blocks) -> Iterator[list[StandIn]]:
    """The model with its blocks taken out, in place, while the context lasts: what is around them runs as ever."""
    parent_path, _, name = blocks.family.blocks.rpartition(".")
    parent = blocks.model.get_submodule(parent_path)
    real = getattr(parent, name)
    replaced = [StandIn({key: value for key, value in vars(block).items() if key in STAND_IN_ATTRIBUTES}) for block in real]
    setattr(parent, name, nn.ModuleList(replaced))
    try:
        yield replaced
    finally:
        setattr(parent, name, real)


STAND_IN_ATTRIBUTES = ("attention_type", "layer_type", "layer_idx")
"""Of a block, what the model around it may read."""


@contextmanager
def recorded_inputs(block: nn.Module, paths: list[str], record: Callable[[str, Tensor], None]) -> Iterator[None]:
    """While the context lasts, `record` is told the input of the modules at these paths of a block each time they run."""
    handles = [
        block.get_submodule(path).register_forward_pre_hook(lambda _, inputs, path=path: record(path, inputs[0]))
        for path in paths
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
