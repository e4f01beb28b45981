"""What pruning methods need to know of a model at work: how much each block turns the hidden state that goes through it.

Letters of shapes: B sequences, L positions, D hidden size, K blocks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from prunescale.errors import DataError, PruningError
from prunescale.models import Family


@torch.inference_mode()
def block_angles(model: Any, family: Family, tokens: Tensor, *, sequence_length: int, batch: int = 4) -> tuple[Tensor, Tensor]:
    """How far the hidden states at the boundaries of the blocks turn away from one another, over calibration tokens.

    Boundary 0 is the input of the first block, boundary K the output of the last. Two symmetric (K+1, K+1) matrices come back,
    in float64: the mean over all positions of the cosine between the states at two boundaries, and the mean of the angle between
    them, in units of pi. Raises DataError where the tokens do not fill one sequence, PruningError where the model computes what is not
    a number.
    """
    n_sequences = len(tokens) // sequence_length
    if n_sequences == 0:
        raise DataError(
            f"Calibration needs one sequence of {sequence_length} tokens at least, got {len(tokens)}: give more text or shorter sequences."
        )
    sequences = tokens[: n_sequences * sequence_length].view(n_sequences, sequence_length)
    device = next(model.parameters()).device
    cosine_sum: Tensor | float = 0.0
    angle_sum: Tensor | float = 0.0
    with recorded_boundaries(model, family) as boundaries:
        for ids_BL in sequences.split(batch):
            boundaries.clear()
            logits = model(input_ids=ids_BL.to(device), use_cache=False, logits_to_keep=1).logits
            if not (logits.isfinite().all() and all(state.isfinite().all() for state in boundaries)):
                raise PruningError("The model computes numbers that are not finite, so it is damaged: make or load it again.")
            cosine_KKN = pairwise_cosines(boundaries)
            cosine_sum += cosine_KKN.double().sum(-1)
            angle_sum += torch.acos(cosine_KKN.clamp(-1, 1)).double().sum(-1) / torch.pi
    n_positions = n_sequences * sequence_length
    assert isinstance(cosine_sum, Tensor)
    assert isinstance(angle_sum, Tensor)
    return (cosine_sum / n_positions).cpu(), (angle_sum / n_positions).cpu()


@contextmanager
def recorded_boundaries(model: Any, family: Family) -> Iterator[list[Tensor]]:
    """A list that each forward pass fills with the (B, L, D) states at the K + 1 boundaries of the blocks."""
    blocks = list(model.get_submodule(family.blocks))
    boundaries: list[Tensor] = []
    handles = [block.register_forward_pre_hook(lambda _, inputs: boundaries.append(inputs[0])) for block in blocks]
    handles.append(blocks[-1].register_forward_hook(lambda _, inputs, output: boundaries.append(output)))
    try:
        yield boundaries
    finally:
        for handle in handles:
            handle.remove()


def pairwise_cosines(states: list[Tensor]) -> Tensor:
    """(K+1, K+1, positions) cosines between the (B, L, D) states at all pairs of boundaries."""
    unit_KND = torch.stack([torch.nn.functional.normalize(state.float().flatten(0, 1), dim=-1) for state in states])
    return torch.einsum("knd,jnd->kjn", unit_KND, unit_KND)
