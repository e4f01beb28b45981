"""Which paragraphs of a document stay: prose in English, or source code, that was not there before."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from .formats.paragraph import CODE, blocks
from .near_duplicates import SeenWindows

FUNCTION_WORDS = frozenset(
    """the of to and a in is that for it as with on be this are or by not from can if an you at have has was will
    which when all but one may use used other your they he his her their were been its there no must more only do does any
    than then into should such these would also we so i my me him she who what out up about some them how""".split()  # noqa: SIM905
)
LEAST_PARAGRAPH_LETTERS = 50  # below it a heading, kept only before a longer paragraph
LONGEST_HEADING_CHARS = 200
LEAST_BLOCK_LETTERS = 200  # of source code; below it a block, such as imports, may be like another
LEAST_NEW_SHARE = 0.5  # of a file of source code: with more holes than that it isn't worth reading
LEAST_DOCUMENT_LETTERS = 200
LEAST_DOCUMENT_CHARS = 300

# Letters of ASCII in lower case, and every byte beyond ASCII; case, digits, spaces and punctuation don't count.
_LOWER = bytes(byte + 32 if 65 <= byte <= 90 else byte for byte in range(256))
_NOT_LETTERS = bytes(byte for byte in range(256) if not (65 <= byte <= 90 or 97 <= byte <= 122 or byte >= 128))


@dataclass(frozen=True)
class Paragraph:
    """A paragraph and its letters, by which duplicates are known; a heading goes with none."""

    text: str
    letters: bytes
    is_listing: bool

    @classmethod
    def of(cls, raw: str) -> "Paragraph":
        """From what an extractor made."""
        text = raw.removeprefix(CODE).strip()
        letters = text.encode("utf-8", "ignore").translate(_LOWER, _NOT_LETTERS)
        return cls(text, letters, raw.startswith(CODE))


class Cleaner:
    """Cleans documents one after the other and remembers what it has seen; earlier text wins.

    `chars` counts the characters that came in and out, and those that were dropped, by reason.
    """

    def __init__(self, longest_listing_chars: int = 800, table_bits: int = 29):
        self.chars: Counter[str] = Counter()
        self._longest_listing_chars = longest_listing_chars
        self._seen_paragraphs: set[bytes] = set()
        self._seen_windows = SeenWindows(table_bits)

    def text_of(self, raw_paragraphs: Iterable[str]) -> str | None:
        """The text that stays of a document, paragraphs parted by an empty line; None if too little does."""
        kept = self._new_paragraphs(raw_paragraphs)
        if not kept:
            return None
        if sum(len(paragraph.letters) for paragraph in kept) < LEAST_DOCUMENT_LETTERS:
            return self._dropped("short", kept)
        kept = self._without_near_duplicates(kept)
        if kept is None:
            return None
        text = "\n\n".join(paragraph.text for paragraph in kept)
        if not is_english_prose(text):
            self.chars["not_prose_or_not_english"] += len(text)
            return None
        self.chars["chars_out"] += len(text)
        return text

    def code_of(self, raw_blocks: Iterable[str]) -> str | None:
        """The text that stays of a file of source code, blocks parted by an empty line; None if less than half of it does."""
        all_blocks = [block for block in map(Paragraph.of, raw_blocks) if block.text]
        n_chars = sum(len(block.text) for block in all_blocks)
        self.chars["chars_in"] += n_chars
        kept = [block for block in all_blocks if len(block.letters) < LEAST_BLOCK_LETTERS or not self._was_seen(block.letters)]
        self.chars["exact_duplicate"] += n_chars - sum(len(block.text) for block in kept)
        if sum(len(block.letters) for block in kept) < LEAST_DOCUMENT_LETTERS:
            return self._dropped("short", kept)
        kept = self._without_near_duplicates(kept) or []
        text = "\n\n".join(block.text for block in kept)
        if len(text) < LEAST_NEW_SHARE * n_chars:
            return self._dropped("rest_of_duplicate", kept)
        self.chars["chars_out"] += len(text)
        return text

    def see(self, text: str) -> None:
        """Count a text, paragraphs parted by empty lines, as seen: what repeats it is dropped from now on."""
        paragraphs = [Paragraph.of(raw) for raw in blocks(text)]
        for paragraph in paragraphs:
            self._was_seen(paragraph.letters)
        self._seen_windows.add(self._seen_windows.overlap([paragraph.letters for paragraph in paragraphs]))

    def _new_paragraphs(self, raw_paragraphs: Iterable[str]) -> list[Paragraph]:
        """The paragraphs worth keeping, each with up to two of the headings right before it."""
        kept: list[Paragraph] = []
        headings: list[Paragraph] = []
        for paragraph in map(Paragraph.of, raw_paragraphs):
            self.chars["chars_in"] += len(paragraph.text)
            reason = self._reason_to_drop(paragraph)
            if reason == "heading":
                headings += [replace(paragraph, letters=b"")] if 0 < len(paragraph.text) < LONGEST_HEADING_CHARS else []
                continue
            if reason:
                self.chars[reason] += len(paragraph.text)
            else:
                kept += [*headings[-2:], paragraph]
            if reason != "code":  # a listing that goes leaves the heading to what follows it
                headings = []
        return kept

    def _reason_to_drop(self, paragraph: Paragraph) -> str:
        """Empty if the paragraph stays, and then it counts as seen."""
        text, letters = paragraph.text, paragraph.letters
        if paragraph.is_listing and not 8 <= len(text) <= self._longest_listing_chars:
            return "code"
        if len(letters) < LEAST_PARAGRAPH_LETTERS:
            return "heading"
        if not paragraph.is_listing and len(letters) < 0.55 * len(text):
            return "symbols"
        return "exact_duplicate" if self._was_seen(letters) else ""

    def _was_seen(self, letters: bytes) -> bool:
        """Whether a paragraph of these letters was there before; from now on it was."""
        key = hashlib.blake2b(letters, digest_size=8).digest()
        was_seen = key in self._seen_paragraphs
        self._seen_paragraphs.add(key)
        return was_seen

    def _without_near_duplicates(self, kept: list[Paragraph]) -> list[Paragraph] | None:
        overlap = self._seen_windows.overlap([paragraph.letters for paragraph in kept])
        if overlap.document_is_duplicate:
            return self._dropped("near_duplicate_document", kept)
        duplicates = {i for i in range(len(kept)) if overlap.piece_is_duplicate(i)}
        self.chars["near_duplicate"] += sum(len(kept[i].text) for i in duplicates)
        self._seen_windows.add(overlap)
        return [paragraph for i, paragraph in enumerate(kept) if i not in duplicates]

    def _dropped(self, reason: str, paragraphs: list[Paragraph]) -> None:
        self.chars[reason] += sum(len(paragraph.text) for paragraph in paragraphs)


def is_english_prose(text: str) -> bool:
    """At least 300 characters, 16 % function words and 90 % ASCII, by its first 20,000 characters."""
    start = text[:20000]
    words = re.findall(r"[A-Za-z']+", start.lower())
    function_words = sum(word in FUNCTION_WORDS for word in words) / max(len(words), 1)
    ascii_share = len(start.encode("ascii", "ignore")) / max(len(start), 1)
    return len(text) >= LEAST_DOCUMENT_CHARS and function_words >= 0.16 and ascii_share >= 0.9
