import logging

import numpy as np
import pytest
import torch

from prunescale.errors import AssetError, DataError
from prunescale.training import Batches, held_out_windows, read_tokens

VOCABULARY = 257


def write(file, content):
    file.write_bytes(content)
    return file


def test_documents_are_parted_and_ended(tokenizer, tmp_path):
    # The tiny vocabulary has one token a byte: "a" is 66, "b" is 67, ... and 0 ends a document.
    file = write(tmp_path / "t.txt", "ab<|endoftext|>\n\nc\n<|endoftext|> \n <|endoftext|>ä".encode())
    tokens = read_tokens(file, tokenizer, VOCABULARY)
    a, b, c = tokenizer.convert_tokens_to_ids(list("abc"))
    assert tokens.ids.tolist() == [a, b, 0, c, 0, *tokenizer("ä")["input_ids"], 0]
    assert tokens.ids.dtype == torch.int64
    assert tokens.n_bytes == 2 + 1 + 2  # "ä" has two; neither the ends nor the lines around them count
    assert tokens.bytes_per_token == 5 / 8


def test_the_end_is_put_where_it_is_also_the_unknown_token(tokenizer, tmp_path):
    # As in GPT-2 and SmolLM2. A comparison with the unknown token's id left the ends out.
    from transformers import PreTrainedTokenizerFast

    double = PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, unk_token="<|endoftext|>")
    assert read_tokens(write(tmp_path / "t.txt", b"a<|endoftext|>b"), double, VOCABULARY).ids.tolist()[1::2] == [0, 0]


def test_no_end_is_put_where_the_tokenizer_has_none(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"?": 0, "a": 1, "b": 2}, unk_token="?"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    words = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="?")
    assert read_tokens(write(tmp_path / "t.txt", b"a b<|endoftext|>b c"), words, 3).ids.tolist() == [1, 2, 2, 0]


def test_a_text_longer_than_the_tokenizer_expects_is_read_in_silence(tokenizer, tmp_path, monkeypatch):
    from transformers import PreTrainedTokenizerFast

    said = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", said.append)
    monkeypatch.setattr(logging.getLogger("transformers"), "handlers", [handler])
    short = PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, eos_token="<|endoftext|>", model_max_length=4)
    assert len(read_tokens(write(tmp_path / "t.txt", b"more than four"), short, VOCABULARY)) == 15
    assert said == []


def test_token_files_and_folders_of_them(tokenizer, tmp_path):
    np.savez(tmp_path / "train-00001.npz", tokens=np.array([3, 4], dtype=np.uint16), bytes=5)
    np.savez(tmp_path / "train-00000.npz", tokens=np.array([1, 2], dtype=np.int32), bytes=6)
    np.savez(tmp_path / "val-00000.npz", tokens=np.array([9]))
    one = read_tokens(tmp_path / "train-00001.npz", tokenizer, VOCABULARY)
    assert (one.ids.tolist(), one.n_bytes) == ([3, 4], 5)
    every = read_tokens(tmp_path, tokenizer, VOCABULARY)
    assert (every.ids.tolist(), every.n_bytes) == ([1, 2, 3, 4], 11)
    uncounted = read_tokens(str(tmp_path / "val-00000.npz"), tokenizer, VOCABULARY)
    assert (uncounted.n_bytes, uncounted.bytes_per_token) == (None, None)
    np.savez(tmp_path / "train-00002.npz", tokens=np.array([5]))
    assert read_tokens(tmp_path, tokenizer, VOCABULARY).n_bytes is None  # the sum of what was counted would be too small


def test_our_own_text_by_name(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("prunescale.embedded.ROOT", tmp_path)
    with pytest.raises(AssetError, match="no embedded text 'poems': choose post-training or held-out"):
        read_tokens("embedded:poems", tokenizer, VOCABULARY)
    with pytest.raises(AssetError, match=r"missing, .*held-out\.txt: install prunescale again"):
        read_tokens("embedded:held-out", tokenizer, VOCABULARY)
    (tmp_path / "text").mkdir()
    write(tmp_path / "text" / "held-out.txt", b"abc")
    assert len(read_tokens("embedded:held-out", tokenizer, VOCABULARY)) == 4


def refused(path, tokenizer) -> str:
    with pytest.raises(DataError) as caught:
        read_tokens(path, tokenizer, VOCABULARY)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_text_that_is_missing(tokenizer, tmp_path):
    assert "There is no text at" in refused(tmp_path / "none.txt", tokenizer)
    assert "holds no train-*.npz" in refused(tmp_path, tokenizer)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty: text is needed"),
        (b" \n\t\n", "is empty"),
        (b"<|endoftext|>\n<|endoftext|>", "is empty"),
        (b"caf\xe9 noir", "is no UTF-8 text (invalid continuation byte at byte 3)"),
    ],
)
def test_text_that_is_none(tokenizer, tmp_path, content, words):
    assert words in refused(write(tmp_path / "t.txt", content), tokenizer)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"other": np.arange(3)}, "an array 'tokens' is needed"),
        ({"tokens": np.array([1, "a"], dtype=object)}, "an array 'tokens' is needed"),
        ({"tokens": np.arange(3), "bytes": np.arange(2)}, "no token file"),
        ({"tokens": np.array([1.5, 2.0])}, "of type float64 and shape (2,): one row of whole numbers"),
        ({"tokens": np.zeros((2, 2), dtype=int)}, "shape (2, 2)"),
        ({"tokens": np.array(3)}, "shape ()"),
        ({"tokens": np.array([], dtype=np.int32)}, "is empty"),
        ({"tokens": np.array([5, 257])}, "has the token 257, the model knows 257"),
        ({"tokens": np.array([5, -1])}, "has the token -1"),
    ],
)
def test_token_files_that_hold_something_else(tokenizer, tmp_path, arrays, words):
    np.savez(tmp_path / "t.npz", **arrays)
    assert words in refused(tmp_path / "t.npz", tokenizer)


def test_token_files_that_are_damaged(tokenizer, tmp_path):
    np.savez_compressed(tmp_path / "t.npz", tokens=np.random.default_rng(0).integers(0, 200, 5000))
    content = (tmp_path / "t.npz").read_bytes()
    np.save(tmp_path / "array.npy", np.arange(3))
    damaged = {
        "empty": b"",
        "short": content[:300],
        "text": b"hello",
        "array": (tmp_path / "array.npy").read_bytes(),
        "hole": content[:200] + b"\xff" * 200 + content[400:],
    }
    for name, content in damaged.items():
        assert "is no token file, or a damaged one" in refused(write(tmp_path / f"{name}.npz", content), tokenizer)


def test_other_files_of_tokens_in_a_folder_are_domains(tokenizer, tmp_path):
    np.savez(tmp_path / "web.npz", tokens=np.array([1, 2, 3]), bytes=5)
    np.savez(tmp_path / "code.npz", tokens=np.array([4, 5]), bytes=6)
    tokens = read_tokens(tmp_path, tokenizer, VOCABULARY)
    assert (tokens.ids.tolist(), tokens.n_bytes) == ([4, 5, 1, 2, 3], 11)
    assert tokens.domains == (("code", 0, 2), ("web", 2, 3))


def test_files_and_rows_name_domains(tokenizer, tmp_path):
    (tmp_path / "web.txt").write_text("ab<|endoftext|>c")
    (tmp_path / "code.jsonl").write_text('{"text": "d"}\n{"text": "e", "domain": "c"}\n')
    tokens = read_tokens(tmp_path, tokenizer, VOCABULARY)
    assert tokenizer.decode(tokens.ids) == "d<|endoftext|>e<|endoftext|>ab<|endoftext|>c<|endoftext|>"
    assert tokens.domains == (("code", 0, 2), ("c", 2, 2), ("web", 4, 5))


def test_spans_beside_a_file_of_tokens(tokenizer, tmp_path):
    for name in ("train-00000", "val-00000"):
        np.savez(tmp_path / f"{name}.npz", tokens=np.arange(10))
    (tmp_path / "val-spans.json").write_text('[["a", 0, 4], ["b", 4, 5], ["a", 9, 1]]')
    assert read_tokens(tmp_path / "val-00000.npz", tokenizer, VOCABULARY).domains == (("a", 0, 4), ("b", 4, 5), ("a", 9, 1))
    assert read_tokens(tmp_path / "train-00000.npz", tokenizer, VOCABULARY).domains == ()
    assert read_tokens(tmp_path, tokenizer, VOCABULARY).domains == ()
    (tmp_path / "val-spans.json").write_text('[["a", 0, 400]]')  # of several files together
    assert read_tokens(tmp_path / "val-00000.npz", tokenizer, VOCABULARY).domains == ()
    (tmp_path / "spans.json").write_text('[["a", 0, 4]]')
    assert read_tokens(tmp_path / "val-00000.npz", tokenizer, VOCABULARY).domains == (("a", 0, 4),)
    for content, words in (
        ("[", "holds no spans"),
        ('[["a", 0, 11]]', "has spans of 11 tokens, and there are 10"),
        ("[[1, 2]]", "no spans"),
    ):
        (tmp_path / "spans.json").write_text(content)
        with pytest.raises(DataError, match=words):
            read_tokens(tmp_path / "val-00000.npz", tokenizer, VOCABULARY)


def test_rows_end_with_the_tokenizers_own_end_and_text_files_as_ever(tmp_path):
    # Text files have been parted by <|endoftext|> alone, and their tokens stay what they were.
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"</s>": 0, "a": 1, "b": 2}, unk_token="a"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    words = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>")
    rows = read_tokens(write(tmp_path / "t.jsonl", b'{"text": "a b"}\n{"text": "b"}'), words, 3)
    text = read_tokens(write(tmp_path / "t.txt", b"a b<|endoftext|>b"), words, 3)
    assert (rows.ids.tolist(), rows.end) == ([1, 2, 0, 2, 0], 0)
    assert (text.ids.tolist(), text.end) == ([1, 2, 2], None)


def test_what_is_on_the_hub_is_tokenized_by_the_command(tokenizer):
    assert "make shards of it with prunescale tokenize" in refused("hf:owner/name", tokenizer)


def test_windows_begin_with_what_the_tokenizer_puts_before_any_text(tokenizer, tmp_path):
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    (tmp_path / "text.txt").write_text("never odd or even; " * 20)
    plain = read_tokens(tmp_path / "text.txt", tokenizer, 257)
    inner = tokenizer.backend_tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    inner.post_processor = TemplateProcessing(single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)])
    begins = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    tokens = read_tokens(tmp_path / "text.txt", begins, 257)

    assert (plain.start, tokens.start) == (None, 0)
    assert torch.equal(tokens.ids, plain.ids)
    for cut in (
        lambda tokens: held_out_windows(tokens, 16),
        lambda tokens: Batches(tokens, 16, 4, seed=1).at(1),
    ):
        with_start, without = cut(tokens), cut(plain)
        assert (with_start[:, 0] == 0).all()
        assert torch.equal(with_start[:, 1:], without[:, 1:])  # so each token is predicted as often as without
    assert 0 not in held_out_windows(plain, 16)[1:, 0]
