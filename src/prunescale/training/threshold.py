"""One magnitude threshold for all weights of a model: exact, at any size, and the same however the weights are spread.

Floats that are not negative are ordered as their bits are, read as whole numbers. So the k-th smallest is found digit by digit: how
many weights have each of the 2,048 possible highest digits, then, of those with the digit that the k-th falls into, each second, and
each third. The counts of processes that hold shards are added up. Nothing is sorted or put together, and no count is limited to 2^31.
Since counting digits is slow on a GPU, it is done for the few weights that a sample leaves in question.
On one CPU the weights are put together after all, since NumPy then finds the k-th many times faster than they can be counted.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed

DIGITS = ((21, 11), (10, 11), (0, 10))
"""Of the 32 bits of a float: where each digit begins, and how many bits it has. The sign is 0."""

AT_ONCE = 2**26
"""Weights counted in one go: what that takes beside the magnitudes of the largest tensor is 0.8 GB at most."""

EVERY = 100
"""One of so many weights is looked at to know about where the threshold lies."""


def magnitude_threshold(
    magnitudes: Callable[[], Iterator[Tensor]], n_below: int, device: torch.device, group: Any = None
) -> Tensor:
    """The magnitude that has `n_below` others below it or equal to it, in the order of size: a float32 on `device`. `magnitudes` gives the
    tensors anew each time it is called, float32 and not negative; those of the other processes of `group` count too. What is not a
    number counts as larger than infinity."""
    if device.type == "cpu" and group is None:
        return by_partition(magnitudes(), n_below)
    return by_digits(*narrowed(magnitudes, n_below, device, group), device, group)


def by_partition(magnitudes: Iterator[Tensor], n_below: int) -> Tensor:
    """That of one process on a CPU, in 8 bytes a weight."""
    bits = np.concatenate([tensor.flatten().view(torch.int32).numpy() for tensor in magnitudes])
    bits.partition(n_below)
    return torch.from_numpy(bits[n_below : n_below + 1].copy()).view(torch.float32)[0]


def narrowed(
    magnitudes: Callable[[], Iterator[Tensor]], n_below: int, device: torch.device, group: Any = None
) -> tuple[Callable[[], Iterator[Tensor]], int]:
    """The same question asked of fewer magnitudes: of those between two that a sample says the wanted one lies between, less than a
    hundredth as a rule. Where it does not lie there, the question as it was."""
    low_and_high = bracket(magnitudes, n_below, device, group)
    n_lower = torch.zeros((), dtype=torch.int64, device=device)
    within = []
    for size in magnitudes():
        n_lower += (size < low_and_high[0]).sum()
        within.append(size[(size >= low_and_high[0]) & (size <= low_and_high[1])])
    below, n_within = (total(count, group) for count in (n_lower, n_lower.new_tensor(sum(map(len, within)))))
    if below <= n_below < below + n_within:
        return lambda: iter(within), n_below - below
    return magnitudes, n_below


def bracket(magnitudes: Callable[[], Iterator[Tensor]], n_below: int, device: torch.device, group: Any) -> Tensor:
    """Two magnitudes, (2,), around the wanted one, very likely. Over processes they are the lowest and the highest of what each finds
    for its own shards, since the rank of all lies between theirs."""
    parts, n_local = [], 0
    for size in magnitudes():
        parts.append(size.flatten()[::EVERY].clone())  # a view would keep all of the magnitudes
        n_local += size.numel()
    sample = torch.cat(parts).sort().values
    n, share = len(sample), n_below / total(torch.tensor(n_local, device=device), group)
    margin = 5 * math.sqrt(n * share * (1 - share)) + 1  # standard errors of a rank in a sample
    none = [torch.inf, -torch.inf]  # of a process without weights
    places = [max(0, int(n * share - margin)), min(n - 1, math.ceil(n * share + margin))]
    found = sample[torch.tensor(places, device=device)] if n else torch.tensor(none, device=device)
    if group is not None:
        distributed.all_reduce(found[:1], distributed.ReduceOp.MIN, group=group)
        distributed.all_reduce(found[1:], distributed.ReduceOp.MAX, group=group)
    return found


def by_digits(magnitudes: Callable[[], Iterator[Tensor]], n_below: int, device: torch.device, group: Any = None) -> Tensor:
    """That of any number of processes, on any device."""
    prefix, rank = 0, n_below
    for place, n_bits in DIGITS:
        counts = torch.zeros(2**n_bits + 1, dtype=torch.int64, device=device)
        for tensor in magnitudes():
            for part in tensor.flatten().split(AT_ONCE):
                bits = part.view(torch.int32)
                digit = (bits >> place) & (2**n_bits - 1)
                if place != DIGITS[0][0]:  # what begins otherwise is counted apart, and not used
                    digit = torch.where(bits >> (place + n_bits) == prefix, digit, 2**n_bits)
                counts += torch.bincount(digit, minlength=2**n_bits + 1)
        if group is not None:
            distributed.all_reduce(counts, group=group)
        reached = counts[:-1].cumsum(0)
        digit_of_rank = int(torch.searchsorted(reached, rank, right=True))
        rank -= int(reached[digit_of_rank] - counts[digit_of_rank])
        prefix = (prefix << n_bits) + digit_of_rank
    return torch.tensor([prefix], dtype=torch.int32, device=device).view(torch.float32)[0]


@torch.no_grad()
def prune_smallest_(
    weights: Sequence[Tensor], keeps: Sequence[Tensor], keep_share: float, *, pattern: str | None = None, group: Any = None
) -> int:
    """Prune the smallest weights of all tensors together, in place, until `keep_share` of them is left: masks become False and weights
    zero. What was pruned before stays so. Weights as large as the threshold stay, as in the authors' code. With a pattern n:m the n
    largest of every m in a row are safe. Back comes how many weights are left, those of the other processes of `group` included.

    The weights may be shards, as long as rows are whole."""
    device = weights[0].device
    n_weights = total(torch.tensor(sum(weight.numel() for weight in weights), device=device), group)
    n_below = n_weights - int(keep_share * n_weights)

    def magnitudes() -> Iterator[Tensor]:
        return (magnitude(weight, pattern) for weight in weights)

    if 0 < n_below < n_weights:
        threshold = magnitude_threshold(magnitudes, n_below, device, group)
        for weight, keep, size in zip(weights, keeps, magnitudes(), strict=True):
            keep &= ~(size < threshold)  # what is not a number stays, to be seen
            weight.masked_fill_(~keep, 0)
    return total(torch.stack([keep.sum() for keep in keeps]).sum(), group)


def magnitude(weight_OI: Tensor, pattern: str | None) -> Tensor:
    """|W| in float32; infinite for the n largest of every m in a row, where a pattern n:m makes them safe. Of equal ones the first are."""
    size = weight_OI.float().abs()
    if pattern is None or not size.numel():
        return size
    n_kept, m = map(int, pattern.split(":"))
    groups = size.view(len(size), -1, m)
    safe = groups.sort(dim=-1, descending=True, stable=True).indices[..., :n_kept]
    return groups.scatter(-1, safe, torch.inf).view_as(size)


def total(count: Tensor, group: Any) -> int:
    if group is not None:
        distributed.all_reduce(count, group=group)
    return int(count)
