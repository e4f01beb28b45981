import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

SMALL = ("--calibration", "train.txt", "--held-out", "held-out.txt", "--sequence-length", "16")
INSPECT = ("inspect", "base", *SMALL)
TWO = ("--method", "block-influence", "--method", "wanda", "--rate", "0.1", "--rate", "0.5")


def test_losses_in_a_table_and_what_hurts_least_in_words(work, command):
    ended = command(*INSPECT, *TWO)
    assert (ended.code, ended.err) == (0, "")
    title, headings, _, *rows = ended.out.splitlines()
    assert title.startswith("Loss right after pruning, nats per token; ")
    assert headings.split() == ["method", "0.1", "0.5", "2:4"]
    assert rows[0].split()[:2] == ["block-influence", "-"]
    assert rows[1].split()[0] == "wanda"
    assert rows[1].split()[1].startswith("*")
    words = " ".join(ended.out.split())
    assert "- block-influence at 0.1: A pruning rate of 0.1 rounds to no block of 4" in words
    assert "Of what was tried, wanda hurts least at 0.1" in words
    assert "before any training; methods can change places after training." in words
    assert "of the held-out text stands in the calibration text" in words  # both repeat one sentence


def test_a_rate_that_is_not_to_be_had_is_marked(work, command):
    ended = command(*INSPECT, "--method", "contiguous", "--rate", "0.3", "--pattern", "none")
    rows = ended.out.splitlines()
    assert rows[3].split()[1].startswith("~")
    assert "~ contiguous: the nearest rate is 0.250 for 0.3." in ended.out
    assert "hurts least" not in ended.out  # there is no other


def test_few_sequences_are_said_to_be_few(work, command):
    ended = command(*INSPECT, *TWO, "--held-out-tokens", "48")
    assert "* the lowest in its column, which 3 sequences of held-out text are too few to be sure of." in " ".join(
        ended.out.split()
    )


def test_json_says_the_same_and_the_files_hold_the_rest(work, command):
    ended = command(*INSPECT, *TWO, "--figure", "figure.png", "--scores", "scores.npz", "--json")
    assert (ended.code, ended.err) == (0, "")
    answer = json.loads(ended.out, parse_constant=pytest.fail)
    assert [(each["method"], each["rate_wanted"], each["pattern"]) for each in answer["tries"]] == [
        ("block-influence", 0.1, None),
        ("block-influence", 0.5, None),
        ("wanda", 0.1, None),
        ("wanda", 0.5, None),
        ("wanda", None, "2:4"),
    ]
    assert answer["tries"][0]["loss"] is None
    assert "rounds to no block" in answer["tries"][0]["reason"]
    assert {"at": 0.1, "kind": None, "methods": ["wanda"]} in answer["best"]
    assert {"at": 0.1, "kind": "depth", "methods": []} in answer["best"]
    assert set(answer["importance"]) == {"blocks.block-influence", "heads.width-activation"}
    assert answer["held_out_in_calibration"] > 0.5
    assert answer["files"] == {"figure": "figure.png", "scores": "scores.npz"}
    assert Path("figure.png").read_bytes().startswith(b"\x89PNG")
    with np.load("scores.npz") as scores:
        assert scores["ffn.width-activation"].shape == (4, 40)


REFUSALS = {
    ("--method", "magic"): "There is no pruning method 'magic': choose one of block-influence,",
    ("--rate", "0"): "strictly between 0 and 1, got 0.",
    ("--rate", "nan"): "strictly between 0 and 1, got nan.",
    ("--rate", "a"): "'a' is not a valid float. (see prunescale inspect --help)",
    ("--pattern", "two of four"): "reads like 2:4",
    ("--method", "block-influence", "--rate", "0.01"): "rounds to no block of 4",
    ("--sequence-length", "4096"): "too long for base",
    ("--held-out", "nowhere.txt"): "There is no text at nowhere.txt",
    ("--calibration-tokens", "10"): "Calibration needs one sequence of 16 tokens at least, got 10",
    ("--figure", "nowhere/figure.png"): "nowhere/figure.png cannot be written: name a file in a folder that is there.",
    ("--scores", "base"): "base cannot be written",
}


@pytest.mark.parametrize(("arguments", "words"), REFUSALS.items(), ids=" ".join)
def test_bad_input_is_refused_in_a_line(work, refused, arguments, words):
    assert words in refused(*INSPECT, *arguments)


def test_a_figure_needs_matplotlib_and_says_so_before_the_work(work, refused, command, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else found(name, *rest))
    assert "needs matplotlib: pip install 'prunescale[report]'." in refused(*INSPECT, "--figure", "figure.png")
    assert command(*INSPECT, "--method", "magnitude", "--rate", "0.5").code == 0


def test_a_model_that_is_not_in_memory_twice_is_refused_before_it_is_loaded(work, refused, monkeypatch):
    monkeypatch.setattr("prunescale.cli.inspect.free_memory", lambda device: 100_000)
    assert "base and a pruned copy of it need 0.000" in refused(*INSPECT)
