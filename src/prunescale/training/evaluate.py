"""The held-out loss, in nats per token."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

LossFunction = Callable[[Tensor], Tensor]
"""Summed loss of a (B, L + 1) batch of token ids, in nats."""


def summed_loss(model: Any) -> LossFunction:
    """The loss of predicting each token of a batch but the first of each row, summed; in float32 whatever the model computes in."""

    def loss(ids_BL: Tensor) -> Tensor:
        logits = model(input_ids=ids_BL[:, :-1], use_cache=False).logits
        return functional.cross_entropy(logits.float().flatten(0, 1), ids_BL[:, 1:].flatten(), reduction="sum")

    return loss


@torch.no_grad()
def mean_loss(loss: LossFunction, windows_NL: Tensor, *, batch: int, device: torch.device) -> float:
    """Mean loss over (N, L + 1) windows, `batch` of them at a time, in nats per token."""
    total = torch.zeros((), dtype=torch.float64, device=device)
    for ids_BL in windows_NL.split(batch):
        total += loss(ids_BL.to(device)).double()
    return float(total) / (windows_NL.shape[0] * (windows_NL.shape[1] - 1))
