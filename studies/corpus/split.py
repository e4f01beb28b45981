"""Which documents train, which validate, and which are shipped: by the hash of their ids, so that no run changes it."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True)
class Document:
    """A cleaned document, without its text."""

    source: str
    id: str
    n_bytes: int


def id_hash(purpose: str, document_id: str) -> bytes:
    """A hash that orders documents at random, in an order of its own for each purpose."""
    return hashlib.sha256(f"{purpose}{document_id}".encode()).digest()


def validation_ids(documents: Sequence[Document], fraction: float) -> set[str]:
    """The validation documents of one source: about `fraction` of its bytes, and none where a document is over twice that."""
    wanted = fraction * sum(document.n_bytes for document in documents)
    chosen, taken = set(), 0
    for document in sorted(documents, key=lambda d: id_hash("split:", d.id)):
        if taken >= wanted:
            break
        if taken + document.n_bytes <= 2 * wanted:
            chosen.add(document.id)
            taken += document.n_bytes
    return chosen


def split_for_shipping(
    documents: Sequence[Document], ship_bytes: float, held_out_bytes: float, longest_bytes: int = 60_000
) -> dict[str, str]:
    """Every document's id to "ship", "val" (held out) or "train": two small samples of the mixture, and all the rest.

    The samples have the bytes asked for, give or take half a document, and the mix of sources that all documents of at most
    `longest_bytes` have. Longer ones are never drawn, so that a small sample has many documents.
    """
    drawable = sorted((d for d in documents if d.n_bytes <= longest_bytes), key=lambda d: (d.source, id_hash("ship:", d.id)))
    n_bytes = sum(d.n_bytes for d in drawable)
    if ship_bytes + held_out_bytes > n_bytes:
        raise ValueError(f"the documents of at most {longest_bytes} bytes have {n_bytes}, not {ship_bytes + held_out_bytes:.0f}")
    held_out = _draw(drawable, held_out_bytes / n_bytes)
    rest = [d for d in drawable if d not in held_out]
    ship = _draw(rest, ship_bytes / sum(d.n_bytes for d in rest))
    parts = {d.id: "train" for d in documents} | {d.id: "ship" for d in ship} | {d.id: "val" for d in held_out}
    assert len(parts) == len(documents), "document ids must be unique"
    return parts


def _draw(documents: Iterable[Document], fraction: float) -> set[Document]:
    """The first documents of each source, until they have that fraction of the bytes of all sources so far.

    The last one is taken if more than half of it is missing; what is then too much or too little, the next source makes up.
    """
    chosen, taken, wanted = set(), 0, 0.0
    for _, of_source in groupby(documents, key=lambda d: d.source):
        of_source = list(of_source)
        wanted += fraction * sum(d.n_bytes for d in of_source)
        for document in of_source:
            if taken + document.n_bytes / 2 > wanted:
                break
            chosen.add(document)
            taken += document.n_bytes
    return chosen
