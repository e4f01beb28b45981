"""Windows of tokens to train on, each batch a function of the seed and the number of the step: so a training that was cut off goes on with
the batch that it would have seen, and the order does not depend on how many processes share a batch.

Letters of shapes: N windows, B sequences of a batch, L positions.
"""

import copy

import numpy as np
import torch
from torch import Tensor

from prunescale.errors import DataError
from prunescale.training.tokens import Tokens, begun, widened


class Batches:
    """(B, L + 1) batches by step, counted from 1: each epoch takes the windows in a new order and, after the first, from a new starting
    point. What is left over at the end of an epoch is less than a batch, and not taken.

    Steps in their order are cheap; another epoch costs its order, and the orders before it that were never drawn.
    Raises DataError for too little text."""

    def __init__(self, tokens: Tokens, sequence_length: int, n_sequences: int, seed: int) -> None:
        n_windows = (len(tokens) - 1) // sequence_length - 1  # one less, to leave room for the starting point
        if n_windows < n_sequences:
            raise DataError(
                f"The training text has {len(tokens)} tokens, and a batch of {n_sequences} x {sequence_length} needs "
                f"{(n_sequences + 1) * sequence_length + 1} at least: give more text, or a smaller batch."
            )
        self.tokens, self.sequence_length, self.n_sequences = tokens, sequence_length, n_sequences
        self.n_windows = n_windows
        self.steps_per_epoch = n_windows // n_sequences
        self._within = torch.arange(sequence_length + 1, device=tokens.ids.device)
        # The generator as it is before each epoch that was begun, and before the next: a jump back draws one order, not all.
        self._before = [np.random.default_rng(seed)]
        self._epoch, self._first = -1, 0
        self._order = torch.zeros(0)

    def at(self, step: int) -> Tensor:
        """The batch of a step, (B, L + 1) int64, on the device that holds the tokens."""
        return self.rows(step, 0, 1)

    def rows(self, step: int, rank: int, n_ranks: int) -> Tensor:
        """The share of one of `n_ranks` processes in it, rows behind one another: all shares together are the batch."""
        if step < 1:
            raise ValueError(f"steps are counted from 1, got {step}")
        epoch, place = divmod(step - 1, self.steps_per_epoch)
        if epoch != self._epoch:
            self._begin(epoch)
        windows = self._order[place * self.n_sequences : (place + 1) * self.n_sequences].tensor_split(n_ranks)[rank]
        starts_B = self._first + windows.to(torch.int64) * self.sequence_length
        return begun(widened(self.tokens.ids[starts_B[:, None] + self._within]), self.tokens.start)

    def _begin(self, epoch: int) -> None:
        for known in range(min(epoch, len(self._before) - 1), epoch + 1):
            rng = copy.deepcopy(self._before[known])
            first = int(rng.integers(self.sequence_length)) if known else 0
            windows = np.arange(self.n_windows, dtype=np.int32 if self.n_windows < 2**31 else np.int64)
            rng.shuffle(windows)
            if known == len(self._before) - 1:
                self._before.append(rng)
        self._epoch, self._first = epoch, first
        self._order = torch.from_numpy(windows).to(self.tokens.ids.device)


def positions_of(ids_BL: Tensor, end: int) -> Tensor:
    """The position of each token within its document, (B, L) int64, from 0 again after each token `end`, which belongs to the document
    before it. A window that begins inside a document counts from its own beginning."""
    places = torch.arange(ids_BL.shape[1], device=ids_BL.device).expand_as(ids_BL)
    is_first = torch.zeros_like(ids_BL, dtype=torch.bool)
    is_first[:, 1:] = ids_BL[:, :-1] == end
    starts = torch.where(is_first, places, 0).cummax(dim=1).values
    return places - starts
