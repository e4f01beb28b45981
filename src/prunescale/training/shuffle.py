"""Documents put aside in files, to be read again in a drawn order with little memory.

Each document goes to one of PARTS files at random, and later each file is permuted: every order of all documents is then equally likely
(Rao 1961 and Sandelius 1962), however many there are, and nothing has to be known of them before.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

PARTS = 64

HELD_TOKENS = 2**24
"""Tokens that wait in memory before they are written."""

READ_TOKENS = 2**20


class Aside:
    """Token ids of documents, by the number of the file that they are kept in, in a folder that is there."""

    def __init__(self, folder: Path, dtype: np.dtype) -> None:
        self.folder, self.dtype = folder, dtype
        self.waiting: dict[int, list[np.ndarray]] = {}
        self.n_waiting = 0

    def add(self, part: int, ids: np.ndarray) -> None:
        self.waiting.setdefault(part, []).append(ids)
        self.n_waiting += len(ids)
        if self.n_waiting >= HELD_TOKENS:
            self._write()

    def _write(self) -> None:
        for part, documents in self.waiting.items():
            with open(self._ids_file(part), "ab") as stream:
                stream.write(np.concatenate(documents).astype(self.dtype, copy=False).tobytes())
            with open(self._lengths_file(part), "ab") as stream:
                stream.write(np.array([len(ids) for ids in documents], np.int64).tobytes())
        self.waiting, self.n_waiting = {}, 0

    def taken(self, part: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """The ids of a part's documents in a drawn order, about READ_TOKENS at once. Its files are gone afterwards."""
        self._write()
        if not self._lengths_file(part).is_file():
            return
        lengths = np.fromfile(self._lengths_file(part), np.int64)
        ends = lengths.cumsum()
        ids = np.memmap(self._ids_file(part), self.dtype, mode="r") if ends[-1] else np.zeros(0, self.dtype)
        chosen: list[np.ndarray] = []
        n_chosen = 0
        for number in rng.permutation(len(lengths)):
            chosen.append(ids[ends[number] - lengths[number] : ends[number]])
            n_chosen += len(chosen[-1])
            if n_chosen >= READ_TOKENS:
                yield np.concatenate(chosen)
                chosen, n_chosen = [], 0
        if chosen:
            yield np.concatenate(chosen)
        del ids, chosen
        self._ids_file(part).unlink()
        self._lengths_file(part).unlink()

    def _ids_file(self, part: int) -> Path:
        return self.folder / f"{part}.ids"

    def _lengths_file(self, part: int) -> Path:
        return self.folder / f"{part}.lengths"
