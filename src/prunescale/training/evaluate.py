"""The held-out loss, in nats per token."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from prunescale.training.distributed import ALONE, Ranks
from prunescale.training.held_out import HeldOut

RowLosses = Callable[[Tensor], Tensor]
"""The loss of each row of a (B, L + 1) batch of token ids, summed over the row, in nats."""


@dataclass(frozen=True)
class Measured:
    """A held-out loss, and that of each domain of the text where it has any, nats per token."""

    loss: float
    domains: dict[str, float] = field(default_factory=dict)


def measure(losses: RowLosses, held_out: HeldOut, *, batch: int, device: torch.device, ranks: Ranks = ALONE) -> Measured:
    """The mean loss over the windows of a held-out text, `batch` of them at a time."""
    per_window = losses_of_windows(losses, held_out.windows_NL, batch=batch, device=device, ranks=ranks)
    n_predicted = held_out.windows_NL.shape[1] - 1
    domains = {
        name: float(per_window[held_out.domain_N == number].mean()) / n_predicted for number, name in enumerate(held_out.names)
    }
    return Measured(float(per_window.mean()) / n_predicted, domains)


def mean_loss(losses: RowLosses, windows_NL: Tensor, *, batch: int, device: torch.device) -> float:
    """Mean loss over (N, L + 1) windows, `batch` of them at a time, in nats per token."""
    return float(losses_of_windows(losses, windows_NL, batch=batch, device=device).mean()) / (windows_NL.shape[1] - 1)


@torch.no_grad()
def losses_of_windows(losses: RowLosses, windows_NL: Tensor, *, batch: int, device: torch.device, ranks: Ranks = ALONE) -> Tensor:
    """The loss of each window, (N,) float64 on the CPU. The processes take turns at the batches, which all have the same size, since a
    compiled function is made anew for another: the last is filled up with windows that are not counted."""
    n_windows = len(windows_NL)
    batch = min(batch, n_windows)
    n_rounds = -(-n_windows // (batch * ranks.n))
    filled = functional.pad(windows_NL, (0, 0, 0, n_rounds * ranks.n * batch - n_windows))
    found = torch.zeros(len(filled), dtype=torch.float64, device=device)
    for start in range(ranks.rank * batch, len(filled), ranks.n * batch):
        found[start : start + batch] = losses(filled[start : start + batch].to(device)).double()
    return ranks.sum(found)[:n_windows].cpu()
