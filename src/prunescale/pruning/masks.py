"""From scores to masks: which weights stay, by rows, by matrix, by n of every m, and how much each layer loses of a whole model.

Scores are finite and not negative, and the lowest go. Of equal scores the earlier stays, in the order of rows and then of columns,
so that counts are exact and a mask is the same everywhere.

Letters of shapes: O outputs (rows), I inputs, M weights of a group, G groups, S layers.
"""

import re
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from prunescale.errors import PruningError

N_BINS = 1 << 15
"""Sign, which is 0, exponent and the first 7 bits of the fraction: the upper half of a float32, in which each bfloat16 has a bin."""

FIRST_NOT_FINITE = 0x7F80
"""The bin of infinity; those of NaN are above it."""

CHUNK = 1 << 24
"""Scores looked at together, to bound what is needed besides a matrix and its mask."""


@dataclass(frozen=True)
class Pattern:
    """n_kept of every m weights stay that follow one another in a row: 2:4 is what NVIDIA's sparse tensor cores compute with."""

    n_kept: int
    m: int

    def __post_init__(self) -> None:
        if not 0 < self.n_kept < self.m:
            raise PruningError(f"An n:m pattern such as 2:4 keeps n of every m weights, with 0 < n < m; got {self}.")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "2:4". Raises PruningError where it isn't of this form."""
        found = re.fullmatch(r"([0-9]+):([0-9]+)", text)
        if not found:
            raise PruningError(f"An n:m pattern reads like 2:4, with 0 < n < m; got {text!r}.")
        return cls(int(found[1]), int(found[2]))

    @property
    def sparsity(self) -> float:
        return 1 - self.n_kept / self.m

    def __str__(self) -> str:
        return f"{self.n_kept}:{self.m}"

    def check_row_length(self, length: int) -> None:
        """Raises PruningError where rows of this length can't be cut into groups of m."""
        if length % self.m:
            raise PruningError(f"{self} sparsity needs a row length divisible by {self.m}, got {length}")


def keep_n_of_m(scores_OI: Tensor, pattern: Pattern) -> Tensor:
    """The pattern's n highest of every m scores. Raises PruningError where m does not divide the length of a row."""
    pattern.check_row_length(scores_OI.shape[-1])
    keep_OI = torch.empty_like(scores_OI, dtype=torch.bool, memory_format=torch.contiguous_format)
    groups_GM, keep_GM = scores_OI.reshape(-1, pattern.m), keep_OI.view(-1, pattern.m)
    at_once = max(1, CHUNK // pattern.m**2)  # as keep_highest compares all pairs
    for some_gM, keep_gM in zip(groups_GM.split(at_once), keep_GM.split(at_once), strict=True):
        keep_gM.copy_(keep_highest(some_gM.T.contiguous(), pattern.n_kept).T)
    return keep_OI


def keep_highest(scores_MG: Tensor, n_kept: int) -> Tensor:
    """Of each column the n_kept highest. It is a rank by comparison of all pairs: a few kernels without a sort, a copy to the CPU or
    a shape that depends on values, so it can be captured in a CUDA graph."""
    m = len(scores_MG)
    earlier_MM1 = torch.ones(m, m, dtype=torch.bool, device=scores_MG.device).triu(1)[:, :, None]
    one_M1G, other_1MG = scores_MG[:, None], scores_MG[None]
    beats_MMG = torch.where(earlier_MM1, one_M1G >= other_1MG, one_M1G > other_1MG)
    return beats_MMG.sum(0) < n_kept


def keep_of_rows(scores_OI: Tensor, sparsity: float) -> Tensor:
    """The highest of each row, which loses round(sparsity * I) weights. Wanda compares the weights of an output with each other and
    no others (arXiv:2306.11695, section 3)."""
    check_sparsity(sparsity)
    row_length = scores_OI.shape[1]
    n_kept = row_length - round(sparsity * row_length)
    keep_OI = torch.zeros_like(scores_OI, dtype=torch.bool, memory_format=torch.contiguous_format)
    at_once = max(1, CHUNK // row_length)
    for some_oI, keep_oI in zip(scores_OI.split(at_once), keep_OI.split(at_once), strict=True):
        best_first_oI = some_oI.sort(dim=1, descending=True, stable=True).indices
        keep_oI.scatter_(1, best_first_oI[:, :n_kept], True)
    return keep_OI


def keep_of_matrix(scores_OI: Tensor, n_removed: int) -> Tensor:
    """The highest of the whole matrix, which loses n_removed weights. Raises PruningError where it has fewer."""
    if not 0 <= n_removed <= scores_OI.numel():
        raise PruningError(f"{n_removed} weights cannot go of a matrix of {scores_OI.numel()}.")
    if n_removed == 0:
        return torch.ones_like(scores_OI, dtype=torch.bool, memory_format=torch.contiguous_format)
    scores_N = scores_OI.reshape(-1)
    threshold = kth_lowest(scores_N, n_removed)
    n_ties_removed = n_removed - int((scores_N < threshold).sum())
    keep_N = scores_N >= threshold
    ties = (scores_N == threshold).nonzero().view(-1)
    keep_N[ties[len(ties) - n_ties_removed :]] = False
    return keep_N.view(scores_OI.shape)


def kth_lowest(scores_N: Tensor, k: int) -> Tensor:
    """The k-th lowest score, counted from 1. Two steps of a radix selection: the bin that holds it, from a histogram, and a sort of
    the few scores in that bin. A sort of all would need 12 bytes of indices and copies a score, and `torch.kthvalue` gives a GPU's
    one row to one of its processors."""
    up_to = bin_counts(scores_N).cumsum(0)
    bin_of_k = int(torch.searchsorted(up_to, k))
    n_before = int(up_to[bin_of_k - 1]) if bin_of_k else 0
    candidates = torch.cat([part[bins(part) == bin_of_k] for part in scores_N.split(CHUNK)])
    return candidates.sort().values[k - 1 - n_before]


def bins(scores: Tensor) -> Tensor:
    """The upper 16 bits of each score as a float32, which for scores that are not negative grow as they do; minus zero is zero."""
    return (scores.float().contiguous().view(torch.int32) >> 16) & (N_BINS - 1)


def bin_counts(scores_N: Tensor) -> Tensor:
    """How many scores each bin has. Raises PruningError where some are not finite."""
    counts = torch.zeros(N_BINS, dtype=torch.int64, device=scores_N.device)
    for part in scores_N.split(CHUNK):
        counts += torch.bincount(bins(part), minlength=N_BINS)
    if counts[FIRST_NOT_FINITE:].any():
        raise PruningError("Scores of weights are not all finite, so the model is damaged: make or load it again.")
    return counts


class ScoreHistogram:
    """How the scores of a model's layers are spread, added up as the layers come by, so that one threshold can be set over all of
    them without all of their scores in memory: 256 KiB a layer."""

    def __init__(self) -> None:
        self._counts: dict[str, Tensor] = {}

    def add(self, name: str, scores: Tensor) -> None:
        """Scores of a layer, of any shape; those of one layer may come in parts. Raises PruningError where they are not finite."""
        counts = bin_counts(scores.reshape(-1)).cpu()
        self._counts[name] = self._counts[name] + counts if name in self._counts else counts

    def allot(self, sparsity: float, *, most: float = 0.99) -> dict[str, int]:
        """How many weights each layer loses so that one threshold over all of them removes round(sparsity * total).

        The bin with the threshold is shared out in proportion to what each layer has in it, by largest remainder, so the sum is
        exact; within the bin, scores differ by less than 1/128. `keep_of_matrix` makes the masks.

        most: the share that a layer can lose; the others make up for it. A layer without weights lets neither signal nor gradient
        through, so that no training brings it back (layer collapse: Tanaka et al. 2020, arXiv:2006.05467, section 3).
        Raises PruningError where that leaves too little to remove.
        """
        check_sparsity(sparsity)
        counts_SB = torch.stack(list(self._counts.values()))
        sizes_S = counts_SB.sum(1)
        n_removed = round(sparsity * int(sizes_S.sum()))
        caps_S = torch.tensor([int(most * size) for size in sizes_S.tolist()])
        if n_removed > int(caps_S.sum()):
            raise PruningError(
                f"A sparsity of {sparsity:g} over all layers would leave some layer less than {1 - most:.2g} of its weights: "
                f"give {int(caps_S.sum()) / int(sizes_S.sum()):.3f} at most."
            )
        to_go_SB = counts_SB.cumsum(1).minimum(caps_S[:, None])  # by threshold: what goes in all bins up to this
        bin_of_threshold = int(torch.searchsorted(to_go_SB.sum(0), n_removed))
        before_S = to_go_SB[:, bin_of_threshold - 1] if bin_of_threshold else torch.zeros_like(caps_S)
        in_bin_S = to_go_SB[:, bin_of_threshold] - before_S
        shares = shared_out(n_removed - int(before_S.sum()), in_bin_S.tolist())
        return {name: before + share for name, before, share in zip(self._counts, before_S.tolist(), shares, strict=True)}


def shared_out(n: int, weights: list[int]) -> list[int]:
    """n in whole numbers in proportion to weights, whose sum is n at least, by largest remainder: of equal remainders the first
    is rounded up. None gets more than its weight."""
    total = sum(weights)
    if n == 0:
        return [0] * len(weights)
    shares = [n * weight // total for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda index: -(n * weights[index] % total))
    for index in by_remainder[: n - sum(shares)]:
        shares[index] += 1
    return shares


def check_sparsity(sparsity: float) -> None:
    if not 0 <= sparsity < 1:
        raise PruningError(f"A sparsity is the share of zeros, from 0 to below 1; got {sparsity:g}.")
