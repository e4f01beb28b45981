"""A corpus made into shards once: its documents tokenized, put in an order drawn from a seed, some of them set aside to measure on."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prunescale.errors import DataError
from prunescale.training.documents import Document, documents
from prunescale.training.shards import Index, ShardWriter, new_shards
from prunescale.training.shuffle import PARTS, Aside
from prunescale.training.tokenizing import Encoded, Encoder

TOLD_EVERY = 256
"""Documents from one word of progress to the next."""


@dataclass(frozen=True)
class SetAside:
    """Which share of the documents is not to be trained on, and the folder that they go to."""

    share: float
    folder: Path


def tokenize_corpus(
    sources: Sequence[str],
    encoder: Encoder,
    folder: Path,
    *,
    field: str = "text",
    seed: int = 0,
    held_out: SetAside | None = None,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] = lambda n_documents, n_tokens: None,
) -> tuple[Index, Index | None]:
    """Write the documents of some sources as shards into a new folder, in an order that the seed draws, and those set aside into another,
    domain by domain. Both appear when they are complete.

    Which documents are set aside is decided by what is in them, so that of two that are alike either both are or none is. limit: how many
    tokens are enough; the document with the last of them is the last. on_progress is told the documents and tokens so far.

    On the way the tokens lie once more beside the folder. Raises DataError for sources without text, for bad rows, and for folders that
    are there already."""
    with ExitStack() as stack:
        places = [stack.enter_context(new_shards(place)) for place in (folder, *([held_out.folder] if held_out else []))]
        writers = [ShardWriter(place, encoder) for place in places]
        asides = [aside_of(writer) for writer in writers]
        domains: dict[str | None, int] = {}
        rng = np.random.default_rng(seed)
        n_documents = n_tokens = 0
        for encoded in encoder.encoded(every_document(sources, field)):
            is_held_out = held_out is not None and draw(encoded, seed) < held_out.share
            part = domains.setdefault(encoded.domain, len(domains)) if is_held_out else int(rng.integers(PARTS))
            asides[is_held_out].add(part, encoded.ids)
            writers[is_held_out].count(1, encoded.n_bytes)
            n_documents, n_tokens = n_documents + 1, n_tokens + len(encoded.ids)
            if n_documents % TOLD_EVERY == 0:
                on_progress(n_documents, n_tokens)
            if limit and n_tokens >= limit:
                break
        on_progress(n_documents, n_tokens)
        refuse_none(writers, sources)
        for part in range(PARTS):
            put_all(writers[0], asides[0].taken(part, rng), None)
        for domain, part in domains.items():
            put_all(writers[1], asides[1].taken(part, rng), domain)
        indexes = [writer.close(sources=sources, seed=seed) for writer in writers]
    return indexes[0], indexes[1] if held_out else None


def every_document(sources: Sequence[str], field: str) -> Iterator[Document]:
    return (document for source in sources for document in documents(source, field=field))


def aside_of(writer: ShardWriter) -> Aside:
    """Beside the unfinished shards, and gone with what is left there."""
    place = writer.folder.with_name("aside")
    place.mkdir()
    return Aside(place, writer.dtype)


def draw(encoded: Encoded, seed: int) -> float:
    """A number from 0 to 1 that is the same for documents of the same tokens."""
    digest = hashlib.blake2b(encoded.ids.tobytes(), digest_size=8, key=str(seed).encode()).digest()
    return int.from_bytes(digest, "little") / 2**64


def put_all(writer: ShardWriter, pieces: Iterator[np.ndarray], domain: str | None) -> None:
    for ids in pieces:
        writer.put(ids, domain)


def refuse_none(writers: Sequence[ShardWriter], sources: Sequence[str]) -> None:
    counts = [writer.n_documents for writer in writers]
    if not sum(counts):
        raise DataError(f"{', '.join(sources)} is empty: there is no document with text in it.")
    if not all(counts):
        what = "was left to train on" if not counts[0] else "was set aside"
        raise DataError(f"Of {sum(counts)} documents none {what}: give another share, or more text.")
