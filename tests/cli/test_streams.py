"""Which words go where: answers to standard output, progress and errors to standard error, one JSON object where it is asked for."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from prunescale.cli import options, output

TRAINING = ("--data", "train.txt", "--held-out", "held-out.txt", "--tokens", "256", "--learning-rate", "0.01")
SMALL = ("--sequence-length", "16", "--batch-tokens", "64")


def test_json_is_one_object_and_nothing_else(work, command, curves):
    curves()
    file = curves()
    answers = {
        ("prune", "base", "--rate", "0.25", "--out", "pruned", "--calibration", "train.txt", "--sequence-length", "16"): "folder",
        ("train", "pruned", *TRAINING, *SMALL, "--store", "new.db", "--save", "trained"): "points",
        ("fit", file, "--out", "fit.json"): "constants",
        ("plan", "fit.json", "--n-params-before", "1M", "--rate", "0.5", "--loss-before", "3"): "tokens",
        ("runs", "list"): "runs",
        ("runs", "show", "f4240-25"): "recipe",
        ("runs", "export"): "runs",
        ("runs", "export", "--out", "out.json"): "n_runs",
        ("runs", "import", "out.json", "--store", "other.db"): "n_runs",
    }
    for arguments, key in answers.items():
        ended = command(*arguments, "--json")
        assert (ended.code, ended.err) == (0, ""), arguments
        assert key in json.loads(ended.out), arguments


@pytest.mark.parametrize(
    "arguments",
    [
        ("prune", "nowhere", "--rate", "0.5", "--out", "out"),
        ("train", "nowhere", *TRAINING),
        ("train",),
        ("fit", "nowhere.db"),
        ("plan", "nowhere.json"),
        ("runs", "show", "zzz"),
        ("runs", "export", "--format", "csv"),
        ("runs", "list", "--colour"),
    ],
)
def test_with_json_an_error_is_an_object_and_a_line(work, command, arguments):
    ended = command(*arguments, "--json")
    assert ended.code == 2
    assert ended.err == f"Error: {json.loads(ended.out)['error']}\n"
    assert list(json.loads(ended.out)) == ["error"]


def test_progress_goes_to_standard_error_of_a_terminal(work, command, monkeypatch):
    train = ("train", "base", *TRAINING, *SMALL, "--prune-rate", "0.25")
    prune = ("prune", "base", "--rate", "0.25", "--calibration", "train.txt", "--sequence-length", "16")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes this for a terminal
    assert command(*prune, "--out", "out", "--json").err == ""
    pruned = command(*prune, "--out", "again")
    assert "Writing" in pruned.err
    assert pruned.out.startswith("Dropped ")
    assert "\x1b" not in pruned.out
    ended = command(*train)
    assert ended.code == 0
    assert "base: training" in ended.err
    assert "100%" in ended.err
    assert ended.out.startswith("Run ")
    assert "\x1b" not in ended.out
    quiet = command(*train, "--json")
    assert quiet.err == ""
    assert json.loads(quiet.out)["n_tokens_pretrain"] is None


def test_a_table_in_a_pipe_is_as_wide_as_it_needs(capsys):
    name = "a long name " * 20
    output.print_table("A title " * 20, ["name", "loss"], [[name, "3.0"], ["[b]", "2.0"]])
    title, _, _, first, second = capsys.readouterr().out.splitlines()
    assert title == "A title " * 20
    assert first.startswith(name.rstrip())
    assert second.startswith("[b]")  # and is no markup


def test_what_is_folded_stays_under_its_name(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    output.print_facts({"A": "one two three four", "Path": "/a-very/long-path/of-a-file"})
    assert capsys.readouterr().out.splitlines() == ["A     one two three", "      four", "Path  /a-very/long-path/of-a-file"]


@pytest.mark.parametrize(
    ("text", "number"), [("65536", 65536), ("64k", 64000), ("1.5B", 1_500_000_000), ("20M", 20_000_000), ("1_000", 1000)]
)
def test_counts_out_of_words(text, number):
    assert options.COUNT.convert(text, None, None) == number


@pytest.mark.parametrize("text", ["", "k", "many", "0", "-5", "1.5", "nan", "inf", "1e400"])
def test_what_is_no_count(text):
    with pytest.raises(click.UsageError):
        options.COUNT.convert(text, None, None)


@pytest.mark.parametrize(("arguments", "line"), [([], "Fit a scaling law to runs."), (["runs"], "List the runs")])
def test_a_group_alone_shows_its_help(work, command, arguments, line):
    ended = command(*arguments)
    assert ended.code == 2
    assert ended.out.startswith("Usage: prunescale")
    assert line in ended.out


TELLING = """
import sys
from pathlib import Path
from prunescale.cli.main import main
from prunescale.training.step import Step

step = Step.__call__

def told(*arguments):
    Path(sys.argv[1]).touch()
    return step(*arguments)

Step.__call__ = told
main(sys.argv[2:])
"""


def test_an_interrupted_training_leaves_everything_as_it_was(work, tmp_path):
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    begun = tmp_path / "begun"
    endless = ("train", "base", *TRAINING, "--tokens", "1B", *SMALL, "--prune-rate", "0.25", "--save", "trained")
    process = subprocess.Popen(
        [sys.executable, "-c", TELLING, begun, *endless], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        for _ in range(600):
            if begun.exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert out == ""
    # The measurement before training; then click ends the line on which a terminal shows ^C.
    measured, _, line = err.strip().split("\n")
    assert measured.startswith("base: 0 of ")
    assert line == "Interrupted: no model is left half-written, and the store of runs is as it was after the last finished run."
    assert {path: path.read_bytes() for path in work.rglob("*") if path.is_file()} == before


def test_a_reader_that_has_seen_enough_is_no_error(work):
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "prunescale.cli.main", "runs", "export"], stdout=closed, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (1, "")
    assert Path("runs.db").exists()
