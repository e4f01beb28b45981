"""Near-duplicates: which text shares most of its 32-letter windows with text seen before.

One window in 32, chosen by its hash so that the same windows are chosen everywhere, is looked up in a table of bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WINDOW_BYTES = 32
SAMPLED_ONE_IN = 32


@dataclass(frozen=True)
class Overlap:
    """What a document shares with the text before it: sampled windows per piece, and how many of them were seen."""

    cells: np.ndarray
    sampled: np.ndarray
    seen: np.ndarray

    @property
    def document_is_duplicate(self) -> bool:
        """More than three quarters of all sampled windows were seen; fewer than four windows prove nothing."""
        return self.seen.sum() > 0.75 * max(len(self.cells), 4)

    def piece_is_duplicate(self, i: int) -> bool:
        """More than 70 % of the sampled windows that start in piece `i` were seen, of at least four."""
        return bool(self.sampled[i] >= 4 and self.seen[i] > 0.7 * self.sampled[i])


class SeenWindows:
    """The windows of all text so far, in a table of 2**table_bits cells (29 for half a gigabyte of text)."""

    def __init__(self, table_bits: int = 29):
        self._shift = np.uint64(64 - table_bits)
        self._seen = np.zeros(1 << table_bits, np.bool_)

    def overlap(self, pieces: Sequence[bytes]) -> Overlap:
        """What the pieces of one document share with what was added before."""
        hashes = window_hashes(b"".join(pieces))
        starts = np.flatnonzero(hashes % np.uint64(SAMPLED_ONE_IN) == 0)
        cells = (hashes[starts] >> self._shift).astype(np.int64)
        ends = np.cumsum([0] + [len(piece) for piece in pieces])
        owner = np.searchsorted(ends, starts, side="right") - 1
        sampled = np.bincount(owner, minlength=len(pieces))
        return Overlap(cells, sampled, np.bincount(owner, weights=self._seen[cells], minlength=len(pieces)))

    def add(self, overlap: Overlap) -> None:
        """Count the windows of this document as seen from now on."""
        self._seen[overlap.cells] = True


def window_hashes(data: bytes) -> np.ndarray:
    """A 64-bit hash of each window of `WINDOW_BYTES` bytes: polynomial, by doubling the width, then mixed."""
    h = np.frombuffer(data, np.uint8).astype(np.uint64) + np.uint64(1)
    power, width = np.uint64(0x9E3779B97F4A7C15), 1
    with np.errstate(over="ignore"):
        while width < WINDOW_BYTES and len(h) > width:
            h = h[:-width] * power + h[width:]
            power, width = power * power, width * 2
        h ^= h >> np.uint64(29)
        h = h * np.uint64(0xBF58476D1CE4E5B9)
        return h ^ (h >> np.uint64(32))
