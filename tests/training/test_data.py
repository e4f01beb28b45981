import logging
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch

from prunescale.errors import AssetError, DataError
from prunescale.training import Tokens, held_out_windows, read_tokens, training_batches

VOCABULARY = 257


def write(file, content):
    file.write_bytes(content)
    return file


def counting(n: int) -> Tokens:
    """0, 1, 2, ...: a window shows where it was taken."""
    return Tokens(torch.arange(n), None)


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


@pytest.mark.parametrize(("n_tokens", "n_windows"), [(9, 2), (12, 2), (13, 3)])
def test_held_out_windows_predict_each_token_but_the_first_once(n_tokens, n_windows):
    windows = held_out_windows(counting(n_tokens), 4)
    assert windows.shape == (n_windows, 5)
    assert windows[:, 1:].flatten().tolist() == list(range(1, 4 * n_windows + 1))
    assert windows[:, :-1].flatten().tolist() == list(range(4 * n_windows))


@pytest.mark.parametrize(("limit", "n_windows"), [(4, 1), (7, 1), (8, 2), (None, 4), (1000, 4)])
def test_a_limit_counts_the_tokens_predicted(limit, n_windows):
    assert len(held_out_windows(counting(17), 4, limit)) == n_windows


def test_too_little_to_measure_on():
    assert len(held_out_windows(counting(5), 4)) == 1
    with pytest.raises(DataError, match="has 4 tokens, and one window of 4 "):
        held_out_windows(counting(4), 4)
    with pytest.raises(DataError, match="has 100 tokens, of which 3 are to be used, and one window of 4 "):
        held_out_windows(counting(100), 4, limit=3)


def test_each_epoch_takes_each_window_once():
    # (107 - 1) // 10 - 1 = 9 windows, of which four batches of two are taken before the next epoch begins.
    batches = list(islice(training_batches(counting(107), 10, 2, seed=3), 400))
    offsets = set()
    for epoch in range(100):
        rows = torch.cat(batches[4 * epoch : 4 * epoch + 4])
        assert rows.shape == (8, 11)
        assert torch.equal(rows, rows[:, :1] + torch.arange(11))  # a window is a piece of the text
        firsts = rows[:, 0].tolist()
        assert len(set(firsts)) == 8
        (offset,) = {first % 10 for first in firsts}  # windows touch and do not overlap
        offsets.add(offset)
        if epoch == 0:
            assert offset == 0
    assert offsets == set(range(10))
    taken = Counter(torch.cat(batches)[:, 0].tolist())
    assert max(taken) + 10 <= 106
    # Nothing is left out for good: each of 90 starts is expected 8.9 times; never at all has a chance of e^-8.9 for each but
    # those of the first epoch's offset, 1 in 100 for all of them, and the seed is fixed.
    assert len(taken) == 90


def test_the_order_is_the_seeds():
    def first(seed):
        return torch.stack(list(islice(training_batches(counting(1000), 10, 4, seed), 60)))

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))


def test_too_little_to_train_on():
    next(training_batches(counting(41), 10, 3, seed=0))
    with pytest.raises(DataError, match="has 40 tokens, and a batch of 3 x 10 needs 41 at least"):
        training_batches(counting(40), 10, 3, seed=0)


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
        lambda tokens: next(training_batches(tokens, 16, 4, seed=1)),
    ):
        with_start, without = cut(tokens), cut(plain)
        assert (with_start[:, 0] == 0).all()
        assert torch.equal(with_start[:, 1:], without[:, 1:])  # so each token is predicted as often as without
    assert 0 not in held_out_windows(plain, 16)[1:, 0]
