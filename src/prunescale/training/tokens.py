"""Token ids in memory or in files, and what is known of them.

Letters of shapes: N windows, L positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

UNSIGNED = 0xFFFF
"""Ids of 16 bits are held as PyTorch's int16, which every operation knows, and read as if they had no sign."""


class Domain(NamedTuple):
    """A run of tokens that belong to one part of a text. A part may have several runs, by the same name."""

    name: str
    first: int
    n_tokens: int


class StoredIds:
    """Token ids that lie where they are, such as in files that are mapped and not read: 1-D pieces, one behind the other, of int16 (read
    without a sign) or int32.

    Indexing with a slice or with a tensor of places gives int64 on the device of the pieces, as indexing a tensor of ids would. largest:
    the largest of the ids, which is known without reading them.
    """

    def __init__(self, pieces: Sequence[Tensor], largest: int) -> None:
        self.pieces, self.largest = [piece for piece in pieces if len(piece)], largest
        ends = torch.tensor([len(piece) for piece in self.pieces], dtype=torch.int64).cumsum(0)
        self.n = int(ends[-1]) if len(ends) else 0
        self.firsts = [0, *ends.tolist()]
        self.inner_ends = ends[:-1].to(self.device)

    def __len__(self) -> int:
        return self.n

    @property
    def device(self) -> torch.device:
        return self.pieces[0].device if self.pieces else torch.device("cpu")

    @property
    def nbytes(self) -> int:
        """Bytes that they take where they are."""
        return sum(piece.nbytes for piece in self.pieces)

    def to(self, place: torch.device | torch.dtype) -> "StoredIds":
        """On another device, in as many bytes: there they are read as a whole, on the CPU they stay where they are. Asked for another
        type they stay as they are too, since indexing gives int64 whatever they are kept in."""
        if isinstance(place, torch.dtype):
            return self
        return StoredIds([piece.to(place) for piece in self.pieces], self.largest)

    def __getitem__(self, places: slice | Tensor) -> Tensor:
        if isinstance(places, slice):
            return self._run(*places.indices(self.n))
        if len(self.pieces) == 1:
            return widened(self.pieces[0][places])
        found = torch.empty(places.shape, dtype=torch.int64, device=self.device)
        piece_of = torch.bucketize(places, self.inner_ends, right=True)
        for number in piece_of.unique().tolist():
            here = piece_of == number
            found[here] = widened(self.pieces[number][places[here] - self.firsts[number]])
        return found

    def _run(self, first: int, last: int, step: int) -> Tensor:
        if step != 1:
            raise ValueError(f"stored ids are taken in runs, got a step of {step}")
        starts = zip(self.pieces, self.firsts, strict=False)
        parts = [widened(piece[max(first - start, 0) : max(last - start, 0)]) for piece, start in starts]
        return parts[0] if len(parts) == 1 else torch.cat([torch.zeros(0, dtype=torch.int64, device=self.device), *parts])


def widened(ids: Tensor) -> Tensor:
    """Ids as int64."""
    return ids.to(torch.int64) & UNSIGNED if ids.dtype == torch.int16 else ids.to(torch.int64)


@dataclass(frozen=True)
class Tokens:
    """Token ids, 1-D int64 in memory or stored, and how many bytes of text they stand for (None where nobody counted). start: the token
    that a window begins with whatever stands there, for models that were made to see it before any text; None for others. end: the token
    that ends each document, if there is one. domains: the parts of the text, in the order of their tokens; none where it has no parts."""

    ids: Tensor | StoredIds
    n_bytes: int | None
    start: int | None = None
    end: int | None = None
    domains: tuple[Domain, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def bytes_per_token(self) -> float | None:
        return None if self.n_bytes is None else self.n_bytes / len(self.ids)

    @property
    def extremes(self) -> tuple[int, int]:
        """The smallest and the largest id, or a bound that files give without being read. There must be a token."""
        if isinstance(self.ids, StoredIds):
            return 0, self.ids.largest
        return int(self.ids.min()), int(self.ids.max())


def begun(windows_NL: Tensor, start: int | None) -> Tensor:
    """Windows whose first token is `start`, if there is one: a window is cut anywhere from the text, and what stands there gives way."""
    if start is None:
        return windows_NL
    windows_NL = windows_NL.clone()
    windows_NL[:, 0] = start
    return windows_NL
