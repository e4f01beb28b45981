import json
from pathlib import Path

import numpy as np
import pytest

from prunescale.training import read_tokens


@pytest.fixture
def rows(work):
    """Fifty documents of two domains."""
    texts = [{"body": f"text number {number}", "domain": "ab"[number % 2]} for number in range(50)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    return texts


OPTIONS = ("--model", "base", "--out", "tokens", "--field", "body")


def test_text_is_made_into_tokens_to_train_and_to_measure_on(rows, command, tokenizer):
    ended = command("tokenize", "rows.jsonl", *OPTIONS, "--held-out-folder", "held-out", "--held-out-share", "0.3", "--json")
    assert ended.code == 0, ended
    answer = json.loads(ended.out)
    assert answer["folder"] == "tokens"
    assert answer["n_documents"] + answer["held_out"]["n_documents"] == 50
    assert answer["n_bytes"] + answer["held_out"]["n_bytes"] == sum(len(row["body"]) for row in rows)
    assert answer["held_out"]["domains"] == ["a", "b"]
    assert len(np.load("tokens/tokens-00000.npy")) == answer["n_tokens"]
    assert len(read_tokens("held-out", tokenizer, 257)) == answer["held_out"]["n_tokens"]


def test_a_person_is_told_what_there_is(rows, command):
    ended = command("tokenize", "rows.jsonl", *OPTIONS)
    assert ended.code == 0, ended
    assert "tokens of 50 documents" in ended.out
    assert "tokens/s" in ended.out
    assert "Held out" not in ended.out


def test_tokens_can_be_stopped_at(rows, command):
    answer = json.loads(command("tokenize", "rows.jsonl", "rows.jsonl", *OPTIONS, "--tokens", "1k", "--json").out)
    assert 1000 <= answer["n_tokens"] < 1020


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("none.jsonl", *OPTIONS), "There is no text at none.jsonl"),
        (("rows.jsonl", "--model", "base", "--out", "tokens"), "rows.jsonl, line 1, has no field 'text', but body, domain"),
        (("rows.jsonl", "--model", "none", "--out", "tokens"), "There is no model at none"),
        (("rows.jsonl", "--model", "base", "--out", "base"), "base exists already and is never overwritten"),
        (("rows.jsonl", *OPTIONS, "--held-out-share", "0.1"), "--held-out-share needs --held-out-folder"),
        (("rows.jsonl", *OPTIONS, "--held-out-folder", "h", "--held-out-share", "1"), "it must be strictly between 0 and 1"),
        (("rows.jsonl", *OPTIONS, "--held-out-folder", "./tokens"), "are both tokens; name two folders"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(rows, refused, arguments, words):
    assert words in refused("tokenize", *arguments)
