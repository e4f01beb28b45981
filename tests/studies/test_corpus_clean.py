"""The cleaner: what goes, what stays, and that what was seen doesn't come again."""

import random

import numpy as np
import pytest

from studies.corpus.clean import Cleaner, is_english_prose
from studies.corpus.documents import documents_of
from studies.corpus.formats.paragraph import CODE
from studies.corpus.near_duplicates import WINDOW_BYTES, SeenWindows, window_hashes
from studies.corpus.sources import Source

WORDS = """the of and to in that it is was for on are with as his they be at one have this from or had by hot but some what
there we can out other were all your when up use word how said an each she which do their time if will way about many""".split()  # noqa: SIM905


def prose(seed: int, n_words: int = 80) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=n_words))


@pytest.fixture
def cleaner() -> Cleaner:
    return Cleaner(table_bits=16)  # small; 2^16 cells hold the few windows of these texts


def test_prose_stays_as_it_is(cleaner):
    assert cleaner.text_of([prose(1), prose(2)]) == prose(1) + "\n\n" + prose(2)


def test_the_same_letters_are_the_same_paragraph(cleaner):
    cleaner.text_of([prose(1), prose(2)])
    again = prose(1).upper().replace(" ", "  ") + "!"
    assert cleaner.text_of([again, prose(3), prose(4)]) == prose(3) + "\n\n" + prose(4)
    assert cleaner.chars["exact_duplicate"] == len(again)


def test_a_document_that_is_mostly_known_goes(cleaner):
    known = [prose(seed) for seed in range(4)]
    cleaner.text_of(known)
    edited = [paragraph + " at the end" for paragraph in known]
    assert cleaner.text_of(edited) is None
    assert cleaner.chars["near_duplicate_document"] == sum(map(len, edited))


def test_a_paragraph_that_is_mostly_known_goes(cleaner):
    cleaner.text_of([prose(1, 400), prose(2, 400)])
    new = [prose(seed, 400) for seed in (3, 4, 5)]
    assert cleaner.text_of([prose(1, 400) + " and so on", *new]) == "\n\n".join(new)


def test_headings_stay_only_right_before_a_paragraph(cleaner):
    text = cleaner.text_of(["One", "Two", "Three", prose(1), "Four", CODE + "x" * 900, prose(2), "Five"])
    assert text.split("\n\n") == ["Two", "Three", prose(1), "Four", prose(2)]


def test_a_heading_goes_with_what_followed_it(cleaner):
    cleaner.text_of([prose(1), prose(2)])
    assert cleaner.text_of(["Again", prose(1), prose(3), prose(4)]) == prose(3) + "\n\n" + prose(4)


def test_long_listings_go_and_short_ones_stay(cleaner):
    short = "for name in names: print(name, file=output, end=separator, flush=True)"
    text = cleaner.text_of([prose(1), CODE + short, prose(2), CODE + 20 * short])
    assert text.split("\n\n") == [prose(1), short, prose(2)]
    assert cleaner.chars["code"] == 20 * len(short)


def test_symbols_and_short_documents_go(cleaner):
    assert cleaner.text_of(["0x1f 0x2e | " * 20 + "abc" * 20, "A heading"]) is None
    assert cleaner.text_of(["only some sixty letters of a document that is really very short"]) is None
    assert cleaner.chars["symbols"]
    assert cleaner.chars["short"]


def test_what_comes_in_goes_out_or_is_counted(cleaner):
    paragraphs = [prose(1), prose(1), CODE + "y" * 900, "{" * 100 + "abc" * 30, prose(2)]
    text = cleaner.text_of(paragraphs)
    dropped = sum(n for reason, n in cleaner.chars.items() if reason not in ("chars_in", "chars_out"))
    assert cleaner.chars["chars_in"] == cleaner.chars["chars_out"] + dropped - len("\n\n") * text.count("\n\n")


def test_english_prose_is_known_by_its_function_words():
    assert is_english_prose(prose(1))
    assert not is_english_prose(prose(1)[:299])
    assert not is_english_prose("lorem ipsum dolor sit amet " * 20)
    assert not is_english_prose("это the of and это очень " * 30)


def test_window_hashes_against_the_plain_sum():
    # By hand, for windows of 32 bytes: sum of (byte + 1) * power^(31 - i), modulo 2^64, then the mixing.
    data = bytes(range(97, 123)) * 3
    power, mask = 0x9E3779B97F4A7C15, 2**64 - 1

    def slow(window: bytes) -> int:
        h = sum((byte + 1) * pow(power, len(window) - 1 - i, 2**64) for i, byte in enumerate(window)) & mask
        h ^= h >> 29
        h = h * 0xBF58476D1CE4E5B9 & mask
        return h ^ (h >> 32)

    windows = [data[i : i + WINDOW_BYTES] for i in range(len(data) - WINDOW_BYTES + 1)]
    np.testing.assert_array_equal(window_hashes(data), np.array([slow(w) for w in windows], np.uint64))


def test_overlap_counts_the_windows_of_each_piece():
    seen = SeenWindows(table_bits=20)
    old, new = prose(1, 2000).encode(), prose(2, 2000).encode()
    seen.add(seen.overlap([old]))
    overlap = seen.overlap([old, new])
    assert overlap.sampled.sum() == len(overlap.cells)
    # All windows of the old piece were seen but those that run into the new one.
    assert 0 <= overlap.sampled[0] - overlap.seen[0] <= WINDOW_BYTES
    assert overlap.piece_is_duplicate(0)
    assert not overlap.piece_is_duplicate(1)


def test_huge_files_become_pieces_and_descriptions_dozens():
    book = Source("book", "deb", "")
    files = [{"id": "a", "p": ["x"] * 4000}, {"id": "b", "p": ["y"] * 4001}]
    documents = list(documents_of(book, files))
    assert [name for name, _ in documents[:3]] == ["book/a", "book/b#0", "book/b#1"]
    assert [len(paragraphs) for _, paragraphs in documents] == [4000] + [200] * 20 + [1]

    descriptions = Source("descriptions", "apt", "")
    files = [{"id": f"package{i}", "p": [str(i)]} for i in range(30)]
    documents = list(documents_of(descriptions, files))
    assert [name for name, _ in documents] == ["descriptions/package0", "descriptions/package12"]
    assert documents[1][1] == [str(i) for i in range(12, 24)]
