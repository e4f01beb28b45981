"""The split: sizes, mix, and that training, held-out and shipped text never share a document."""

import random

import pytest

from studies.corpus.split import Document, split_for_shipping, validation_ids


def documents(n: int = 2000, seed: int = 0) -> list[Document]:
    """Three sources of documents of about 3, 6 and 12 kB: a seventh, two and four sevenths of the bytes."""
    rng = random.Random(seed)
    mean = {"small": 3000, "middle": 6000, "large": 12000}
    return [Document(s, f"{s}/{i}", int(rng.uniform(0.5, 1.5) * mean[s])) for s in mean for i in range(n // 3)]


def bytes_of(docs, part_of, part, source=None):
    return sum(d.n_bytes for d in docs if part_of[d.id] == part and source in (None, d.source))


def test_parts_have_the_bytes_asked_for_and_the_mix_of_the_whole():
    docs = documents()
    part_of = split_for_shipping(docs, ship_bytes=1_000_000, held_out_bytes=200_000)
    assert len(part_of) == len(docs)
    for part, wanted in (("ship", 1_000_000), ("val", 200_000)):
        # Half of the longest document is the most that the last one drawn can be off.
        assert bytes_of(docs, part_of, part) == pytest.approx(wanted, abs=9000)
        for source, share in (("small", 1 / 7), ("middle", 2 / 7), ("large", 4 / 7)):
            # Up to a document at either end of the source, and 3 % that the random lengths move the shares.
            assert bytes_of(docs, part_of, part, source) == pytest.approx(share * wanted, abs=18000 + 0.03 * wanted)


def test_the_split_depends_on_ids_not_on_order():
    docs = documents()
    shuffled = random.Random(1).sample(docs, len(docs))
    assert split_for_shipping(docs, 5e5, 1e5) == split_for_shipping(shuffled, 5e5, 1e5)


def test_long_documents_are_never_drawn():
    docs = [*documents(300), Document("novel", "novel/1", 60_001), Document("novel", "novel/2", 10_000_000)]
    part_of = split_for_shipping(docs, 5e5, 1e5)
    assert part_of["novel/1"] == part_of["novel/2"] == "train"


def test_more_than_there_is_is_an_error():
    with pytest.raises(ValueError, match="at most 60000 bytes have"):
        split_for_shipping(documents(30), ship_bytes=1e9, held_out_bytes=1)


def test_ids_must_be_unique():
    with pytest.raises(AssertionError, match="unique"):
        split_for_shipping([*documents(300), *documents(300)], 1e5, 1e4)


def test_validation_documents_are_about_the_fraction_of_the_bytes():
    docs = [d for d in documents() if d.source == "middle"]
    total = sum(d.n_bytes for d in docs)
    taken = sum(d.n_bytes for d in docs if d.id in validation_ids(docs, 0.01))
    assert 0.01 <= taken / total <= 0.02


def test_a_source_of_few_long_documents_has_no_validation_document():
    assert validation_ids([Document("novel", str(i), 1_000_000) for i in range(3)], 0.01) == set()
