"""From the files of a source to documents of ordinary length: a dictionary is many documents, a package description none."""

from collections.abc import Iterable, Iterator

from .source import Source

HUGE_FILE_PARAGRAPHS, PIECE_PARAGRAPHS = 4000, 200
DESCRIPTIONS_PER_DOCUMENT = 12


def documents_of(source: Source, files: Iterable[dict]) -> Iterator[tuple[str, list[str]]]:
    """(document id, paragraphs), in the order of the files."""
    named = ((f"{source.name}/{file['id']}", file["p"]) for file in files)
    return _dozens(named) if source.kind == "apt" else _pieces(named)


def _pieces(files: Iterable[tuple[str, list[str]]]) -> Iterator[tuple[str, list[str]]]:
    for name, paragraphs in files:
        if len(paragraphs) <= HUGE_FILE_PARAGRAPHS:
            yield name, paragraphs
            continue
        for start in range(0, len(paragraphs), PIECE_PARAGRAPHS):
            yield f"{name}#{start // PIECE_PARAGRAPHS}", paragraphs[start : start + PIECE_PARAGRAPHS]


def _dozens(entries: Iterable[tuple[str, list[str]]]) -> Iterator[tuple[str, list[str]]]:
    """Twelve entries a document, called after the first; fewer than twelve at the end are dropped."""
    pack: list[tuple[str, list[str]]] = []
    for entry in entries:
        pack.append(entry)
        if len(pack) == DESCRIPTIONS_PER_DOCUMENT:
            yield pack[0][0], [paragraph for _, paragraphs in pack for paragraph in paragraphs]
            pack = []
