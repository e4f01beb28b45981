"""The text that the package ships: plain files of documents, a list of what they are, and the licences they came under."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from .bpe import END_OF_TEXT

FILES = {"ship": "post-training.txt", "val": "held-out.txt"}
_SEPARATOR = f"\n{END_OF_TEXT}\n"


def write_documents(path: Path, texts: Iterable[str]) -> None:
    """Documents in UTF-8, a line `<|endoftext|>` after each."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for text in texts:
            if END_OF_TEXT in text:
                raise ValueError(f"a document holds {END_OF_TEXT}, which ends documents: {text[:80]!r}")
            file.write(text + _SEPARATOR)


def read_documents(path: Path) -> list[str]:
    """The documents of such a file."""
    return path.read_text(encoding="utf-8").split(_SEPARATOR)[:-1]


def listing(documents: Iterable[tuple[str, str]], reasons: Mapping[str, str]) -> list[dict]:
    """Source, licence, documents and bytes of text, from (source, text) pairs and why each source's licence permits it."""
    n_documents: Counter[str] = Counter()
    n_bytes: Counter[str] = Counter()
    for source, text in documents:
        n_documents[source] += 1
        n_bytes[source] += len(text.encode())
    return [
        {"source": source, "licence": reasons[source], "documents": n_documents[source], "bytes": n_bytes[source]}
        for source in sorted(n_documents)
    ]


def write_shipped(
    folder: Path, parts: Mapping[str, list[tuple[str, str]]], reasons: Mapping[str, str], licence_texts: Mapping[str, str]
) -> dict:
    """Write the files of `FILES`, `shipped-text.json` and `LICENCES.txt` into `folder`; returns the listing.

    `parts` has (source, text) pairs for "ship" and "val"; `licence_texts` the packages' own texts by source.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for part, documents in parts.items():
        write_documents(folder / FILES[part], (text for _, text in documents))
    listings = {FILES[part]: listing(documents, reasons) for part, documents in parts.items()}
    (folder / "shipped-text.json").write_text(json.dumps(listings, indent=1) + "\n")
    used = {source for documents in parts.values() for source, _ in documents}
    (folder / "LICENCES.txt").write_text(_joined_licences({source: licence_texts[source] for source in used}), encoding="utf-8")
    return listings


def _joined_licences(texts: Mapping[str, str]) -> str:
    """Each different text once, below the names of the sources that came under it."""
    sources_of: dict[str, list[str]] = {}
    for source in sorted(texts):
        sources_of.setdefault(texts[source].strip(), []).append(source)
    return "\n\n\n".join(f"{', '.join(sources)}\n{'=' * 80}\n\n{text}" for text, sources in sources_of.items()) + "\n"
