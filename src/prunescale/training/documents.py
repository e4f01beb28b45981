"""Documents out of files, one after the other: text files, JSON lines, Parquet, saved data sets, folders of these, and data sets of the
Hugging Face Hub.

What is held at once is a block of a file or a batch of rows: a file may be larger than the memory, a document may not.
"""

import codecs
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from prunescale import embedded
from prunescale.errors import DataError
from prunescale.training.rows import TextAndDomain, arrow_files, hub_rows, is_saved_dataset, json_rows, parquet_rows, saved_rows

DOCUMENT_END = "<|endoftext|>"
"""Parts the documents of a text file from one another."""

HUB = "hf:"
"""A source that begins so is a data set of the Hugging Face Hub: hf:OWNER/NAME, hf:OWNER/NAME/CONFIG@SPLIT."""

BLOCK_BYTES = 2**20


class Document(NamedTuple):
    """A text, and the part of the corpus that it belongs to, if that has a name."""

    text: str
    domain: str | None = None


def documents(source: str | Path, *, field: str = "text") -> Iterator[Document]:
    """The documents of a file, a folder or a data set of the Hub, in the order in which they stand there; blank ones are left out.

    field: where a row has its text. A document's domain is what its row says; where it says nothing, the name of its file in a folder of
    several. Raises DataError for what cannot be read, a bad row by its file and number."""
    if str(source).startswith(HUB):
        yield from with_text(hub_rows(str(source).removeprefix(HUB), field), None)
        return
    places = places_of(source)
    for place in places:
        stem = place.name.partition(".")[0] if len(places) > 1 else None
        yield from with_text(reader_of(place)(place, field), stem)


def with_text(rows: Iterator[TextAndDomain], otherwise: str | None) -> Iterator[Document]:
    return (Document(text, domain or otherwise) for text, domain in rows if text.strip())


def text_rows(file: Path, field: str) -> Iterator[TextAndDomain]:
    """The documents of a text file, parted by DOCUMENT_END, without the empty lines around them."""
    parts: list[str] = []  # of the document whose end was not seen yet
    tail = ""
    for block in text_blocks(file):
        *ended, tail = (tail + block).split(DOCUMENT_END)
        for text in ended:
            yield "".join([*parts, text]).strip("\n"), None
            parts = []
        n_sure = max(0, len(tail) - len(DOCUMENT_END) + 1)  # what follows may be the beginning of an end
        parts.append(tail[:n_sure])
        tail = tail[n_sure:]
    yield "".join([*parts, tail]).strip("\n"), None


def text_blocks(file: Path) -> Iterator[str]:
    """A file of UTF-8 in blocks of characters, with its ends of lines as \\n."""
    lines = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")(), translate=True)
    n_read = 0
    try:
        with open(file, "rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                n_read += len(block)
                yield lines.decode(block)
            yield lines.decode(b"", final=True)
    except UnicodeDecodeError as error:
        place = n_read - len(error.object) + error.start
        raise DataError(
            f"{file} is no UTF-8 text ({error.reason} at byte {place}): convert it, or tokenize it to an .npz."
        ) from error
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): make it readable.") from error


Reader = Callable[[Path, str], Iterator[TextAndDomain]]

READERS: dict[str, Reader] = {
    ".txt": text_rows,
    ".jsonl": json_rows,
    ".jsonl.gz": json_rows,
    ".parquet": parquet_rows,
}
"""By how the name of a file ends."""

KINDS = "a .txt, .jsonl, .jsonl.gz or .parquet file, or a folder of them"


def reader_of(place: Path) -> Reader:
    """What reads a file, or a saved data set. A file of another name is taken for text."""
    return saved_rows if is_saved_dataset(place) else READERS[ending_of(place) or ".txt"]


def ending_of(file: Path) -> str | None:
    return next((ending for ending in READERS if file.name.endswith(ending)), None)


def places_of(source: str | Path) -> list[Path]:
    """The files of a source that hold documents, in the order of their names; a saved data set counts as one.

    Raises DataError where there is nothing."""
    if str(source).startswith(embedded.PREFIX):
        source = embedded.text_file(str(source).removeprefix(embedded.PREFIX))
    place = Path(source).expanduser()
    if not place.exists():
        raise DataError(f"There is no text at {source}: give {KINDS}.")
    if place.is_file() or is_saved_dataset(place):
        return [place]
    if not place.is_dir():
        raise DataError(f"{source} is no ordinary file: give {KINDS}.")
    found = sorted(file for file in place.iterdir() if file.is_file() and ending_of(file) and not file.name.startswith("."))
    if not found:
        raise DataError(f"The folder {source} holds no text: give {KINDS}.")
    return found


def files_of(source: str | Path) -> list[Path]:
    """All files that are read for a source, for whom wants to know whether they have changed. Raises DataError as `places_of` does."""
    return [file for place in places_of(source) for file in (arrow_files(place) if place.is_dir() else [place])]
