"""Token shards: `.npz` files that numpy alone reads, each a run of the mixture.

A shard holds `tokens` (uint16, one-dimensional), and what they are: `split`, `vocab_size`, `tokenizer_sha256` of the
tokenizer's file, and `bytes`, the bytes of text that they stand for: loss in nats per token, times tokens, over bytes and
log 2, is bits per byte.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from .bpe import END_OF_TEXT, token_bytes
from .split import id_hash

BATCH_DOCUMENTS = 512
LARGEST_VOCABULARY = 2**16


@dataclass
class ShardWriter:
    """Collects token ids and writes a shard whenever enough have come; `written` describes the shards so far."""

    folder: Path
    split: str
    bytes_of_token: np.ndarray
    tokenizer_sha256: str
    shard_tokens: int = 10_000_000
    written: list[dict] = field(default_factory=list)
    _waiting: list[np.ndarray] = field(default_factory=list)
    _n_waiting: int = 0

    def add(self, ids: np.ndarray) -> None:
        """Append token ids (uint16)."""
        self._waiting.append(ids)
        self._n_waiting += len(ids)
        if self._n_waiting >= self.shard_tokens:
            self._write_full()

    def close(self) -> None:
        """Write what is left, in a last and shorter shard."""
        self._write_full()
        if self._n_waiting:
            self._write(self._waiting[0])

    def _write_full(self) -> None:
        """Write the full shards, and keep the rest as the one array that waits."""
        tokens = np.concatenate([np.zeros(0, np.uint16), *self._waiting])
        while len(tokens) >= self.shard_tokens:
            self._write(tokens[: self.shard_tokens])
            tokens = tokens[self.shard_tokens :]
        self._waiting, self._n_waiting = [tokens], len(tokens)

    def _write(self, tokens: np.ndarray) -> None:
        path = self.folder / f"{self.split}-{len(self.written):05d}.npz"
        n_bytes = int(self.bytes_of_token[tokens].sum())
        np.savez_compressed(
            path,
            tokens=tokens.astype("<u2"),
            bytes=n_bytes,
            split=self.split,
            vocab_size=len(self.bytes_of_token),
            tokenizer_sha256=self.tokenizer_sha256,
        )
        data = path.read_bytes()
        self.written.append(
            {
                "file": path.name,
                "tokens": len(tokens),
                "bytes": n_bytes,
                "file_bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        )


def write_split(documents: Iterable[tuple[str, dict]], tokenizer: Tokenizer, writer: ShardWriter) -> list[tuple[str, int, int]]:
    """Tokenize (source, document) pairs in the order of their ids' hashes, `<|endoftext|>` after each.

    Returns (source, tokens, bytes of text) of each document in that order.
    """
    end = tokenizer.token_to_id(END_OF_TEXT)
    if end is None or tokenizer.get_vocab_size() > LARGEST_VOCABULARY:
        raise ValueError(f"the tokenizer needs {END_OF_TEXT} and at most {LARGEST_VOCABULARY} entries, to fit uint16")
    ordered = sorted(documents, key=lambda pair: id_hash("", pair[1]["id"]))
    spans = []
    for start in range(0, len(ordered), BATCH_DOCUMENTS):
        batch = ordered[start : start + BATCH_DOCUMENTS]
        encodings = tokenizer.encode_batch([document["text"] for _, document in batch], add_special_tokens=False)
        for (source, document), encoding in zip(batch, encodings, strict=True):
            writer.add(np.array([*encoding.ids, end], np.uint16))
            spans.append((source, len(encoding.ids) + 1, len(document["text"].encode())))
    writer.close()
    return spans


def totals_by_source(spans: Iterable[tuple[str, int, int]]) -> dict[str, dict[str, int]]:
    """Documents, tokens and bytes of each source in a split."""
    totals: dict[str, Counter[str]] = {}
    for source, n_tokens, n_bytes in spans:
        totals.setdefault(source, Counter()).update(documents=1, tokens=n_tokens, bytes=n_bytes)
    return {source: dict(counts) for source, counts in totals.items()}


def read_shards(folder: Path, split: str) -> np.ndarray:
    """All tokens of a split, in order."""
    return np.concatenate([np.load(path)["tokens"] for path in sorted(folder.glob(f"{split}-*.npz"))])


def writer_for(folder: Path, split: str, tokenizer: Tokenizer, tokenizer_sha256: str, shard_tokens: int) -> ShardWriter:
    """A writer of shards of `split` in `folder`, for the ids of `tokenizer`."""
    return ShardWriter(folder, split, token_bytes(tokenizer), tokenizer_sha256, shard_tokens)
