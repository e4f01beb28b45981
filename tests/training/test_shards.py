import json
import warnings
from collections import Counter

import numpy as np
import pytest
import torch

from prunescale.errors import DataError
from prunescale.training import (
    Encoder,
    SetAside,
    StoredIds,
    end_of_document,
    read_shards,
    read_tokens,
    refuse_damaged,
    tokenize_corpus,
)
from prunescale.training import cache as cache_module
from prunescale.training import shuffle as shuffle_module
from prunescale.training import spans as spans_module
from prunescale.training.shards import ShardWriter, new_shards
from prunescale.training.tokenizing import Encoded

VOCABULARY = 257


@pytest.fixture(autouse=True)
def kept(tmp_path_factory, monkeypatch):
    """The folder in which tokens are kept."""
    folder = tmp_path_factory.mktemp("kept")
    monkeypatch.setenv("PRUNESCALE_CACHE", str(folder))
    return folder / "tokens"


@pytest.fixture
def encoder(tokenizer):
    return Encoder(tokenizer, end_of_document(tokenizer))


@pytest.fixture
def corpus(tmp_path):
    """300 different documents of 1 to 20 letters in a file of JSON lines, a third of them of each domain."""
    rng = np.random.default_rng(0)
    rows = [
        {"text": "".join(rng.choice(list("abcdef"), rng.integers(1, 16))) + f"{number:03}", "domain": "xyz"[number % 3]}
        for number in range(300)
    ]
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file, rows


def of_ids(ids, tokenizer) -> list[str]:
    """The documents that ids stand for."""
    *found, rest = tokenizer.decode(ids[:].tolist()).split("<|endoftext|>")
    assert rest == ""
    return found


def write(folder, encoder, documents, **options):
    with new_shards(folder) as unfinished:
        writer = ShardWriter(unfinished, encoder, **options)
        for ids, domain in documents:
            writer.add(Encoded(np.array(ids, encoder.dtype), 10, domain))
        return writer.close(sources=["here"])


def test_numpy_alone_reads_the_shards(encoder, tokenizer, tmp_path):
    documents = [([5, 6, 0], None), ([7] * 8 + [0], None), ([250, 0], None)]
    index = write(tmp_path / "out", encoder, documents, shard_tokens=5)
    files = sorted((tmp_path / "out").glob("*.npy"))
    arrays = [np.load(file) for file in files]
    assert [file.name for file in files] == ["tokens-00000.npy", "tokens-00001.npy", "tokens-00002.npy"]
    assert [array.dtype for array in arrays] == [np.uint16] * 3
    assert [len(array) for array in arrays] == [5, 5, 4]
    assert np.concatenate(arrays).tolist() == [token for ids, _ in documents for token in ids]
    assert (index.n_tokens, index.n_documents, index.n_bytes, index.largest, index.end) == (14, 3, 30, 250, 0)
    tokens = read_shards(tmp_path / "out", tokenizer)
    assert tokens.ids[:].tolist() == np.concatenate(arrays).tolist()
    assert (tokens.n_bytes, tokens.end, tokens.extremes) == (30, 0, (0, 250))
    refuse_damaged(tmp_path / "out")


def test_a_large_vocabulary_takes_32_bits(tmp_path):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"a": 0, "b": 70_000}, unk_token="a"))
    encoder = Encoder(PreTrainedTokenizerFast(tokenizer_object=inner), None)
    assert encoder.vocab_size == 70_001
    write(tmp_path / "out", encoder, [([0, 70_000], None)])
    assert np.load(tmp_path / "out" / "tokens-00000.npy").dtype == np.uint32
    assert read_shards(tmp_path / "out", encoder.tokenizer).ids[:].tolist() == [0, 70_000]


def test_shards_are_mapped_in_silence_and_never_changed(encoder, tokenizer, tmp_path):
    write(tmp_path / "out", encoder, [([1, 2, 3, 0], None)])
    before = (tmp_path / "out" / "tokens-00000.npy").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokens = read_shards(tmp_path / "out", tokenizer)
    tokens.ids.pieces[0][0] = 9
    assert (tmp_path / "out" / "tokens-00000.npy").read_bytes() == before


def test_half_a_folder_is_none(encoder, tmp_path):
    def interrupted():
        yield [1, 2, 0], None
        assert len(list(tmp_path.iterdir())) == 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", encoder, interrupted(), shard_tokens=1)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(encoder, tmp_path):
    write(tmp_path / "out", encoder, [([1], None)])
    with pytest.raises(DataError, match="exists already and is never overwritten"):
        write(tmp_path / "out", encoder, [([1], None)])
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"Tokens cannot be written to .*file"):
        write(tmp_path / "file" / "out", encoder, [([1], None)])


def test_a_damaged_shard_is_named(encoder, tokenizer, tmp_path):
    write(tmp_path / "out", encoder, [([1, 2, 3, 4, 5, 0], None)], shard_tokens=4)
    second = tmp_path / "out" / "tokens-00001.npy"
    whole = second.read_bytes()

    def message(read) -> str:
        with pytest.raises(DataError) as caught:
            read()
        return str(caught.value)

    second.write_bytes(whole[:-1])
    assert f"{second} has 131 bytes where 132 were written" in message(lambda: read_shards(tmp_path / "out", tokenizer))
    second.write_bytes(whole[:-1] + b"\x07")
    read_shards(tmp_path / "out", tokenizer)  # of the right size: only reading it shows
    assert f"{second} has another checksum" in message(lambda: refuse_damaged(tmp_path / "out"))
    second.write_bytes(b"\0" * 132)
    assert f"{second} is damaged" in message(lambda: read_shards(tmp_path / "out", tokenizer))
    second.unlink()
    assert f"{second} is missing" in message(lambda: read_shards(tmp_path / "out", tokenizer))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "is of format 'other' 1"),
        ({"version": 2}, "is of format 'prunescale tokens' 2"),
        ({"n_tokens": 7}, "speaks of 7 tokens and its shards have 3"),
        ({"more": 1}, "has others than it should"),
        ({"domains": [["a", 0, 9]]}, "has spans of 9 tokens, and there are 3"),
        ({"domains": [["a", 1, 1], ["b", 0, 1]]}, "has a span of b at 0, inside the one before it"),
    ],
)
def test_an_index_that_says_something_else(encoder, tokenizer, tmp_path, change, words):
    write(tmp_path / "out", encoder, [([1, 2, 0], None)])
    file = tmp_path / "out" / "index.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(DataError, match=words):
        read_tokens(tmp_path / "out", tokenizer, VOCABULARY)
    file.write_text("{")
    with pytest.raises(DataError, match="is no index of tokens, or a damaged one"):
        read_tokens(tmp_path / "out", tokenizer, VOCABULARY)


def test_tokens_of_another_tokenizer_are_refused(encoder, tokenizer, tmp_path):
    from transformers import PreTrainedTokenizerFast

    write(tmp_path / "out", encoder, [([1, 2, 0], None)])
    other = PreTrainedTokenizerFast(tokenizer_object=type(tokenizer._tokenizer).from_str(tokenizer._tokenizer.to_str()))
    read_tokens(tmp_path / "out", other, VOCABULARY)  # another object with the same vocabulary
    other.add_tokens(["<new>"])
    with pytest.raises(DataError, match="has the tokens of another tokenizer, of 257 entries"):
        read_tokens(tmp_path / "out", other, 258)
    write(tmp_path / "large", encoder, [([256, 0], None)])
    with pytest.raises(DataError, match="has the token 256, the model knows 200"):
        read_tokens(tmp_path / "large", tokenizer, 200)


def test_a_corpus_is_permuted_by_its_seed(encoder, tokenizer, tmp_path, corpus, monkeypatch):
    monkeypatch.setattr(shuffle_module, "HELD_TOKENS", 50)  # so that it is written in many goes
    file, rows = corpus
    told = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        tokenize_corpus([str(file)], encoder, tmp_path / name, seed=seed, on_progress=lambda *done: told.append(done))
    found = {name: of_ids(read_tokens(tmp_path / name, tokenizer, VOCABULARY).ids, tokenizer) for name in "abc"}
    as_read = [row["text"] for row in rows]
    assert found["a"] == found["b"] != found["c"]
    assert found["a"] != as_read
    assert Counter(found["a"]) == Counter(found["c"]) == Counter(as_read)
    index = json.loads((tmp_path / "a" / "index.json").read_text())
    assert index["n_bytes"] == sum(len(text) for text in as_read)
    assert told[:2] == [(256, told[0][1]), (300, index["n_tokens"])]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c", "corpus.jsonl"]


def test_every_order_is_as_likely(encoder, tmp_path, tokenizer):
    # 6 orders of three documents over 300 seeds: 50 each are expected, and chi squared is below 20.5 with a chance of 0.999.
    (tmp_path / "t.txt").write_text("<|endoftext|>".join("abc"))
    counts: Counter[str] = Counter()
    for seed in range(300):
        tokenize_corpus([str(tmp_path / "t.txt")], encoder, tmp_path / str(seed), seed=seed)
        counts["".join(of_ids(read_shards(tmp_path / str(seed), tokenizer).ids, tokenizer))] += 1
    assert len(counts) == 6
    assert sum((n - 50) ** 2 / 50 for n in counts.values()) < 20.5


def test_documents_are_set_aside_by_domain(encoder, tokenizer, tmp_path, corpus):
    file, rows = corpus
    both = [str(file), str(file)]  # each document is there twice
    aside = SetAside(0.2, tmp_path / "held-out")
    _, index = tokenize_corpus(both, encoder, tmp_path / "train", held_out=aside)
    train, held_out = (read_tokens(tmp_path / name, tokenizer, VOCABULARY) for name in ("train", "held-out"))
    trained, kept = set(of_ids(train.ids, tokenizer)), set(of_ids(held_out.ids, tokenizer))
    assert not trained & kept
    assert trained | kept == {row["text"] for row in rows}
    assert index.n_documents == 2 * len(kept)
    assert 30 < len(kept) < 90  # 60 are expected, with a standard deviation of 7
    assert train.domains == ()
    assert {domain.name for domain in held_out.domains} == {"x", "y", "z"}
    domain_of = {row["text"]: row["domain"] for row in rows}
    for name, first, n_tokens in held_out.domains:
        assert {domain_of[text] for text in of_ids(held_out.ids[first : first + n_tokens], tokenizer)} == {name}


def test_a_corpus_ends_where_enough_was_read(encoder, tmp_path, corpus):
    file, rows = corpus
    index, none = tokenize_corpus([str(file)], encoder, tmp_path / "out", limit=100)
    lengths = np.cumsum([len(row["text"]) + 1 for row in rows])
    assert index.n_tokens == lengths[np.searchsorted(lengths, 100)]
    assert none is None


def test_a_corpus_without_documents(encoder, tmp_path):
    (tmp_path / "t.txt").write_text(" \n")
    with pytest.raises(DataError, match="is empty: there is no document with text in it"):
        tokenize_corpus([str(tmp_path / "t.txt")], encoder, tmp_path / "out")
    (tmp_path / "t.txt").write_text("one")
    with pytest.raises(DataError, match="Of 1 documents none was set aside: give another share"):
        tokenize_corpus([str(tmp_path / "t.txt")], encoder, tmp_path / "out", held_out=SetAside(1e-9, tmp_path / "held-out"))
    assert [path.name for path in tmp_path.iterdir()] == ["t.txt"]


def test_large_text_is_tokenized_once(tokenizer, tmp_path, kept, monkeypatch):
    file = tmp_path / "t.txt"
    file.write_text("never odd or even<|endoftext|>\n" * 20)
    plain = read_tokens(file, tokenizer, VOCABULARY)
    assert not kept.exists()
    monkeypatch.setattr(cache_module, "KEPT_BYTES", 100)
    first = read_tokens(file, tokenizer, VOCABULARY)
    assert isinstance(first.ids, StoredIds)
    assert torch.equal(first.ids[:], plain.ids)
    assert (first.n_bytes, first.start, first.end) == (plain.n_bytes, plain.start, plain.end)
    (folder,) = (path for path in kept.iterdir() if path.is_dir())

    def never(*_: object) -> None:
        raise AssertionError("tokenized again")

    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "encoded", never)
        assert torch.equal(read_tokens(file, tokenizer, VOCABULARY).ids[:], plain.ids)
    file.write_text("never odd or even<|endoftext|>\n" * 19 + "never even or odd<|endoftext|>\n")
    changed = read_tokens(file, tokenizer, VOCABULARY)
    assert not torch.equal(changed.ids[:], plain.ids)
    assert sum(path.is_dir() for path in kept.iterdir()) == 2
    assert (folder / "index.json").is_file()


def test_what_cannot_be_kept_is_tokenized_each_time(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "KEPT_BYTES", 10)
    (tmp_path / "file").touch()
    monkeypatch.setenv("PRUNESCALE_CACHE", str(tmp_path / "file"))
    (tmp_path / "t.txt").write_text("more than ten letters")
    assert isinstance(read_tokens(tmp_path / "t.txt", tokenizer, VOCABULARY).ids, torch.Tensor)


def test_the_tokenizers_settings_of_its_last_call_change_nothing(tokenizer, encoder):
    # encode_batch truncates and pads as the tokenizer was told last, unlike transformers.
    from prunescale.training.documents import Document
    from prunescale.training.tokenizing import tokenizer_hash

    before = tokenizer_hash(tokenizer)
    tokenizer(["a", "long text"], truncation=True, max_length=3)
    assert tokenizer.backend_tokenizer.truncation is not None
    assert tokenizer_hash(tokenizer) == before
    (found,) = encoder.encoded([Document("long text")])
    assert len(found.ids) == len("long text") + 1


def test_too_many_domains_are_not_noted(monkeypatch):
    monkeypatch.setattr(spans_module, "MOST_RUNS", 3)
    runs = spans_module.Runs()
    for name in ("a", "a", None, "b"):
        runs.add(name, 2)
    assert runs.domains() == (("a", 0, 4), ("other", 4, 2), ("b", 6, 2))
    runs.add("c", 1)
    assert runs.domains() == ()
    assert runs.n_tokens == 9
