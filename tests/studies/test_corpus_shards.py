"""Tokens and shipped text on disk: what was written comes back, numpy alone reads it, and bytes are counted right."""

import numpy as np
import pytest

pytest.importorskip("tokenizers", reason="shards are written with a tokenizer")

from studies.corpus import bpe, shards, ship_text
from studies.corpus.split import id_hash

TEXTS = [f"Document {i}: the quick brown fox jumps over {i} lazy dogs — naïve, isn't it?\n\n" * 3 for i in range(40)]
DOCUMENTS = [("even" if i % 2 == 0 else "odd", {"id": f"source/{i}", "text": text}) for i, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def tokenizer():
    return bpe.train(TEXTS, vocab_size=300)


def written(folder, tokenizer, documents=DOCUMENTS, shard_tokens=500):
    folder.mkdir()
    writer = shards.writer_for(folder, "train", tokenizer, "0" * 64, shard_tokens)
    return shards.write_split(documents, tokenizer, writer), writer.written


def test_tokens_are_the_documents_in_the_order_of_their_hashes(tmp_path, tokenizer):
    spans, _ = written(tmp_path / "a", tokenizer)
    tokens = shards.read_shards(tmp_path / "a", "train")
    ordered = sorted(DOCUMENTS, key=lambda pair: id_hash("", pair[1]["id"]))
    assert tokenizer.decode(tokens.tolist(), skip_special_tokens=False) == "".join(
        document["text"] + bpe.END_OF_TEXT for _, document in ordered
    )
    assert [span[0] for span in spans] == [source for source, _ in ordered]
    assert sum(n_tokens for _, n_tokens, _ in spans) == len(tokens)


def test_numpy_alone_reads_a_shard_and_what_it_says_of_itself(tmp_path, tokenizer):
    _, described = written(tmp_path / "a", tokenizer)
    with np.load(tmp_path / "a" / "train-00000.npz", allow_pickle=False) as shard:
        assert shard["tokens"].dtype == np.uint16
        assert shard["tokens"].shape == (500,)
        assert int(shard["vocab_size"]) == 300
        assert str(shard["split"]) == "train"
        assert str(shard["tokenizer_sha256"]) == "0" * 64
        assert int(shard["bytes"]) == described[0]["bytes"]


def test_the_bytes_of_the_shards_are_the_bytes_of_the_text(tmp_path, tokenizer):
    # Shards end in the middle of documents, and of characters; the end-of-text tokens stand for no text.
    spans, described = written(tmp_path / "a", tokenizer)
    n_bytes = sum(len(text.encode()) for text in TEXTS)
    assert sum(shard["bytes"] for shard in described) == n_bytes
    assert sum(span[2] for span in spans) == n_bytes
    assert [shard["tokens"] for shard in described[:-1]] == [500] * (len(described) - 1)


def test_neither_the_order_of_the_documents_nor_the_day_changes_a_file(tmp_path, tokenizer):
    _, first = written(tmp_path / "a", tokenizer)
    _, second = written(tmp_path / "b", tokenizer, DOCUMENTS[::-1])
    assert first == second


def test_totals_by_source(tmp_path, tokenizer):
    spans, _ = written(tmp_path / "a", tokenizer)
    totals = shards.totals_by_source(spans)
    assert {source: counts["documents"] for source, counts in totals.items()} == {"even": 20, "odd": 20}


def test_a_tokenizer_without_an_end_of_text_is_refused(tmp_path):
    from tokenizers import Tokenizer, models

    bare = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    with pytest.raises(ValueError, match="endoftext"):
        written(tmp_path / "a", bare)


def test_special_tokens_come_first(tokenizer):
    assert [tokenizer.id_to_token(i) for i in range(4)] == list(bpe.SPECIAL_TOKENS)


def test_the_sample_is_chosen_by_id():
    documents = [document for _, document in DOCUMENTS]
    assert list(bpe.sample(documents, 1.0)) == TEXTS
    half = list(bpe.sample(documents, 0.5))
    assert 0 < len(half) < len(TEXTS)
    assert set(half) == set(bpe.sample(documents[::-1], 0.5))


def test_shipped_documents_come_back(tmp_path):
    ship_text.write_documents(tmp_path / "text.txt", TEXTS)
    assert ship_text.read_documents(tmp_path / "text.txt") == TEXTS


def test_a_document_that_would_end_another_is_refused(tmp_path):
    with pytest.raises(ValueError, match="ends documents"):
        ship_text.write_documents(tmp_path / "text.txt", ["all about <|endoftext|>"])


def test_shipped_text_is_listed_with_its_licences(tmp_path):
    parts = {"ship": [("a", "naïve"), ("b", "text"), ("a", "more")], "val": [("b", "held out")]}
    ship_text.write_shipped(tmp_path, parts, {"a": "MIT", "b": "ISC", "c": "GPL"}, {"a": "same", "b": "same", "c": "other"})
    assert ship_text.listing(parts["ship"], {"a": "MIT", "b": "ISC"}) == [
        {"source": "a", "licence": "MIT", "documents": 2, "bytes": 10},
        {"source": "b", "licence": "ISC", "documents": 1, "bytes": 4},
    ]
    licences = (tmp_path / "LICENCES.txt").read_text()
    assert licences.startswith("a, b\n")
    assert "other" not in licences
