"""Bad input: one line that says what was got, what is needed and what to do, exit code 2, and everything as it was."""

import importlib.util
import json
import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from prunescale import sweep
from prunescale.cli import options
from prunescale.models import save
from prunescale.training.step import Step

TEXTS = ("--data", "train.txt", "--held-out", "held-out.txt")
SETTINGS = ("--tokens", "256", "--learning-rate", "0.01", "--sequence-length", "16", "--batch-tokens", "64")
TRAIN = ("train", "base", *TEXTS, *SETTINGS)
PRUNE = ("prune", "base", "--out", "out", "--calibration", "train.txt", "--sequence-length", "16", "--rate", "0.25")
PLAN = ("plan", "fit.json", "--n-params-before", "1M", "--rate", "0.5", "--loss-before", "3")


@pytest.fixture
def bad(work, make_checkpoint):
    """Things in the working folder that are not what they should be."""
    Path("empty").mkdir()
    Path("other").mkdir()
    Path("other/config.json").write_text('{"model_type": "gpt2"}')
    Path("other/model.safetensors").write_bytes(b"")
    damaged = make_checkpoint()
    damaged.model.model.norm.weight.data[0] = float("nan")
    save(damaged, "damaged")
    save(make_checkpoint(lineage={"pruning": {"base": "base", "rate": 0.25}}), "pruned")
    Path("nothing.txt").write_text("  \n")
    Path("short.txt").write_text("a few words")
    Path("latin-1.txt").write_bytes("größer".encode("latin-1"))
    Path("no-toml").write_text("base = [")
    Path("no-such-entry.toml").write_text('base = "base"\n[train]\ntokns = 5\n')
    Path("wrong-type.toml").write_text(
        'base = "base"\n[train]\ndata = "train.txt"\nheld_out = "held-out.txt"\ntokens = "many"\nlearning_rate = 1e-3\n'
    )
    Path("text.db").write_text("this is no database, and not a small one either: " * 20)
    Path("newer.db").write_bytes(Path("runs.db").read_bytes())
    with sqlite3.connect("newer.db") as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    with sqlite3.connect("other.db") as other:
        other.execute("CREATE TABLE recipes (cake TEXT)")
    other.close()
    Path("no-fit.json").write_text('{"format": "something"}')
    Path("no-runs.json").write_text("[]")
    Path("taken").write_text("here already")
    return work


MODELS = {
    ("nowhere",): "There is no model at nowhere: give the folder",
    ("empty",): "empty is no model: a Hugging Face folder with a config.json, or a .gguf file, is needed.",
    ("train.txt",): "train.txt is no model",
    ("other",): "The architecture 'gpt2' is not supported: prunescale knows llama, mistral,",
    ("embedded:9m",): "There is no embedded model '9m': choose 0.4m, 1m or 2.7m.",
    ("package:no_such_package",): "There is no installed Python package 'no_such_package': install it",
}
PRUNINGS = {
    ("--rate", "0"): "strictly between 0 and 1, got 0.",
    ("--rate", "-0.1"): "strictly between 0 and 1, got -0.1.",
    ("--rate", "1"): "strictly between 0 and 1, got 1.",
    ("--rate", "nan"): "strictly between 0 and 1, got nan.",
    ("--rate", "a"): "'a' is not a valid float. (see prunescale prune --help)",
    ("--rate", "0.1"): "rounds to no block of 4: with this model give a rate from 0.250 (one block) to 0.749 (all but one).",
    ("--rate", "0.9"): "rounds to every block of 4: with this model give a rate from",
    ("--method", "magic"): "There is no pruning method 'magic': choose one of block-influence, contiguous,",
    ("--out", "base"): "base exists already and is never overwritten: name another folder, or remove this one first.",
    ("--out", "taken"): "taken exists already",
    ("--calibration", "nothing.txt"): "nothing.txt is empty: text is needed",
    ("--calibration", "short.txt"): "Calibration needs one sequence of 16 tokens at least, got 12: give more text or shorter",
    ("--calibration-tokens", "10"): "Calibration needs one sequence of 16 tokens at least, got 10",
    ("--calibration-tokens", "0"): "'0' is not a whole number above zero.",
    ("--held-out", "short.txt"): "The held-out text has 12 tokens, and one window of 16 + 1 is the least",
    ("--held-out", "embedded:nothing"): "There is no embedded text 'nothing': choose post-training or held-out.",
    ("--sequence-length", "129"): "Sequences of 129 tokens are too long for base, which was made for 128: give",
    ("--device", "cuda"): "The device 'cuda' is not to be had on this machine: use cpu, or auto.",
    ("--device", "gpu"): "There is no device 'gpu': use cpu, cuda or cuda:1, say.",
    ("--device", "meta"): "The device 'meta' is not to be had",
}
TRAININGS = {
    ("--prune-rate", "1.5"): "prune.rate is 1.5; it must be strictly between 0 and 1. The option for it is --prune-rate.",
    ("--prune-rate", "nan"): "prune.rate is nan; it must be a finite number.",
    ("--prune-rate", "0.1"): "rounds to no block of 4",
    ("--prune-rate", "0.9"): "rounds to every block of 4",
    ("--prune-method", "magic"): "prune.rate is missing; it must be given, as a number, or prune.pattern in its place",
    ("--prune-rate", "0.25", "--prune-method", "magic"): "There is no pruning method 'magic'",
    ("--data", "nowhere.txt"): "There is no text at nowhere.txt: give a .txt",
    ("--data", "nothing.txt"): "nothing.txt is empty",
    ("--data", "short.txt"): "The training text has 12 tokens, and a batch of 4 x 16 needs 81 at least: give more text",
    ("--data", "latin-1.txt"): "latin-1.txt is no UTF-8 text (invalid start byte at byte 2): convert it",
    ("--held-out", "short.txt"): "The held-out text has 12 tokens",
    ("--held-out-tokens", "8"): "of which 8 are to be used, and one window of 16 + 1 is the least",
    ("--tokens", "many"): "'many' is no number; write it like 65536, 64k, 20M or 1.5B.",
    ("--learning-rate", "0"): "train.learning_rate is 0.0; it must be more than 0. The option for it is --learning-rate.",
    (
        "--learning-rate",
        "1e30",
    ): "is nan after 128 tokens at learning rate 1e+30: nothing was stored; try a lower learning rate",
    ("--batch-tokens", "65"): "train.batch_tokens is 65; it must be a multiple of sequence_length (16). The option",
    ("--sequence-length", "256", "--batch-tokens", "256"): "Sequences of 256 tokens are too long for base",
    ("--loss-before", "nan"): "--loss-before is nan; a loss is a finite number above 0",
    ("--store", "nowhere/runs.db"): "No store can be made at nowhere/runs.db: there is no folder",
    ("--store", "newer.db"): "newer.db is a store of version 99, and this prunescale reads up to",
    ("--store", "text.db"): "text.db is no store of runs, or a damaged one",
    ("--store", "other.db"): "other.db is a database of another program: give the path of a store of runs.",
    ("--store", "empty"): "empty cannot be opened",
    ("--save", "base"): "base exists already and is never overwritten",
    ("--save", "taken/out"): "taken is no folder that can be written to; name another --save.",
    (
        "--recipe",
        "nowhere.toml",
    ): "No recipe can be read at nowhere.toml (No such file or directory): give the path of a TOML file.",
    ("--recipe", "no-toml"): "no-toml is not TOML",
    ("--recipe", "no-such-entry.toml"): "train.tokns is not an entry of a recipe; did you mean train.tokens?",
    ("--device", "cuda:5"): "The device 'cuda:5' is not to be had",
}
FITS = {
    ("--law", "magic"): "There is no law 'magic': choose p2, p2-no-delta, p2-additive,",
    ("--objective", "magic"): "'magic' is not one of 'squared', 'squared-log', 'huber-log'.",
    (
        "--phases",
        "foo",
    ): "There is no learning-rate phase 'foo': choose among before, warm-up, constant, decay, annealed, or all.",
    ("--phases", "constant,"): "There is no learning-rate phase ''",
    (
        "--phases",
        "decay",
    ): "Got 0 points for the 7 free constants of the P2 law, with 24 left out (learning-rate phase not decay)",
    ("--min-tokens", "200k"): "Got 6 points for the 7 free constants of the P2 law",
    ("--fix", "gama=1"): "The P2 law has no constant gama to fix; it has gamma, delta, N_C, alpha, D_C, beta, E.",
    ("--fix", "E"): "'E' is no constant with a value; write it like E=0.",
    ("--fix", "E=nan"): "E is fixed at nan, outside its bounds 0 to 100.",
    (
        "--base",
        "m500000",
    ): "1 model size: 3 of delta, N_C, alpha, D_C, E are not identified; add runs with another model size or fix them, "
    "for example --fix E=0 --fix alpha=0 --fix delta=0.",
    ("--base", "m3"): "holds no runs of m3; base models there: m1000000, m4000000, m500000.",
    ("--out", "nowhere/fit.json"): "The fit cannot be written to nowhere/fit.json (No such file or directory): name a file",
}
PLANS = {
    ("--rate", "0"): "pruning_rate must be above 0 and below 1, got 0.",
    ("--rate", "nan"): "pruning_rate must be above 0 and below 1, got nan.",
    ("--min-gain", "0"): "The least gain must be above 0 and finite, got 0.",
    ("--tokens-per-second", "-1"): "The speed in tokens per second must be above 0",
    ("--n-params-total", "5M"): "The P2 law in this fit needs --n-params-before, --rate, --loss-before; given: ",
}
OTHERS = {
    ("train",): "Give the MODEL to train, or a recipe that names it with --recipe. (see prunescale train --help)",
    ("train", "base"): "train.data is missing; it must be given, as a string. The option for it is --data.",
    ("train", "--recipe", "wrong-type.toml"): "wrong-type.toml: train.tokens is 'many'; it must be an integer.",
    ("train", "damaged", *TEXTS, *SETTINGS): "The held-out loss of damaged is nan: the model is damaged",
    ("train", "damaged", *TEXTS, *SETTINGS, "--loss-before", "3"): "The held-out loss is nan before any training: the model is",
    ("train", "damaged", *TEXTS, *SETTINGS, "--prune-rate", "0.25"): "numbers that are not finite, so it is damaged",
    ("train", "pruned", *TEXTS, *SETTINGS, "--prune-rate", "0.25"): "its prunescale.json does not say the n_params_before",
    (
        PRUNE[0],
        "pruned",
        *PRUNE[2:],
    ): "The model was pruned before, and its prunescale.json does not say the n_params_before of that",
    (
        PRUNE[0],
        "damaged",
        *PRUNE[2:],
    ): "The tensor model.norm.weight of the model has numbers that are not finite, so it is damaged:",
    ("fit", "nowhere.db"): "No runs at nowhere.db: give the path of a store, or make one by training.",
    ("fit", "newer.db"): "newer.db is a store of version 99",
    ("fit", "text.db"): "text.db is no store of runs",
    ("fit", "no-runs.json"): "no-runs.json: These are no exported runs; needed is JSON",
    ("fit", "runs.db"): "Got 4 points for the 7 free constants of the P2 law, with none left out; it needs at least 8",
    ("plan", "nowhere.json"): "Cannot read nowhere.json: No such file or directory; give a file that `prunescale fit` wrote.",
    ("plan", "no-fit.json"): "no-fit.json is not a fit: its format is something",
    ("plan", "text.db"): "text.db is not a fit",
    ("plan", "runs.db"): "runs.db is not a fit",
    ("runs", "list", "--store", "nowhere.db"): "No runs at nowhere.db",
    ("runs", "list", "--store", "newer.db"): "newer.db is a store of version 99",
    ("runs", "show", "zzz"): "No run 'zzz' in runs.db: `prunescale runs list` shows the runs there.",
    ("runs", "export", "f4240-25", "zzz", "--out", "out.json"): "No run 'zzz' in runs.db",
    (
        "runs",
        "export",
        "--out",
        "nowhere/out.json",
    ): "nowhere/out.json cannot be written (No such file or directory): name another file, or make room.",
    ("runs", "export", "--format", "xml"): "'xml' is not one of 'json', 'csv', 'parquet'.",
    ("runs", "import", "nowhere.json"): "No runs can be read at nowhere.json",
    ("runs", "import", "no-runs.json", "--store", "new.db"): "These are no exported runs",
    ("runs", "import", "text.db"): "text.db: This is not JSON",
    ("trian",): "No such command 'trian'. Did you mean 'train'?",
}


@pytest.mark.parametrize(("model", "words"), MODELS.items())
def test_what_is_no_model(bad, refused, model, words):
    assert words in refused("prune", *model, *PRUNE[2:])


@pytest.mark.parametrize(("changes", "words"), PRUNINGS.items())
def test_prune(bad, refused, changes, words):
    assert words in refused(*PRUNE, *changes)


@pytest.mark.parametrize(("changes", "words"), TRAININGS.items())
def test_train(bad, refused, changes, words):
    assert words in refused(*TRAIN, *changes)


@pytest.mark.parametrize(("changes", "words"), FITS.items())
def test_fit(bad, refused, curves, changes, words):
    assert words in refused("fit", curves(), "--no-intervals", *changes)


@pytest.mark.parametrize(("arguments", "words"), OTHERS.items())
def test_others(bad, refused, arguments, words):
    assert words in refused(*arguments)


def test_plan(bad, refused, command, curves):
    command("fit", curves(), "--no-intervals", "--out", "fit.json")
    assert "needs --n-params-before, --rate, --loss-before; given: none." in refused("plan", "fit.json")
    assert "given: --rate." in refused("plan", "fit.json", "--rate", "0.5")
    for changes, words in PLANS.items():
        assert words in refused(*PLAN, *changes)
    content = json.loads(Path("fit.json").read_text())
    del content["points"]
    Path("fit.json").write_text(json.dumps(content))
    assert "fit.json is a damaged fit (KeyError('points')); fit the runs again." in refused(*PLAN)


def test_a_store_takes_all_of_a_file_or_none(bad, refused, command, curves):
    # The second of these is there already.
    command("runs", "import", curves(sizes=(1_000_000,), rates=(0.125, 0.25)), "--store", "new.db")
    assert "is already in runs.db: nothing was added" in refused(
        "runs", "import", curves(sizes=(1_000_000,), rates=(0.125, 0.25))
    )


def test_extras_that_are_not_installed(work, refused, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "safetensors" else find(name))
    for arguments in (TRAIN, PRUNE):
        assert "This command needs safetensors: pip install 'prunescale[train]'." in refused(*arguments)


def test_a_gguf_file_without_its_readers(work, refused, monkeypatch):
    Path("model.gguf").write_bytes(b"GGUF")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gguf" else find(name))
    assert "pip install 'prunescale[gguf]'" in refused("prune", "model.gguf", *PRUNE[2:])


def test_a_gpu_that_is_too_small(work, refused, monkeypatch):
    def out_of_memory(*arguments, **settings):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation")

    monkeypatch.setattr(Step, "__call__", out_of_memory)
    assert "too little memory free for this: give a smaller --part-tokens, or --recompute, or use --device cpu." in refused(
        *TRAIN
    )


def test_a_gpu_that_is_not_there(monkeypatch):
    gpus = SimpleNamespace(is_available=lambda: True, device_count=lambda: 2)
    monkeypatch.setattr(torch, "cuda", gpus)
    assert options.chosen_device("auto").type == "cuda"
    assert options.chosen_device("cuda:1").index == 1
    with pytest.raises(options.TrainingError, match="'cuda:2' is not to be had"):
        options.chosen_device("cuda:2")


def test_a_store_that_cannot_be_written_is_found_before_the_training(work, refused, monkeypatch):
    monkeypatch.setattr(sweep, "run_recipe", lambda *arguments, **settings: pytest.fail("trained"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "is no folder that can be written to; name another --save." in refused(*TRAIN, "--save", "new/folder")
    assert "No run can be kept at runs.db: it cannot be written there; name another store." in refused(*TRAIN)
    assert "No run can be kept at new.db" in refused(*TRAIN, "--store", "new.db")
