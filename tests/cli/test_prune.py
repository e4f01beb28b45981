"""prunescale prune: each kind of pruning, in memory and block by block."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from prunescale.cli.prune import AXES, SCOPES, prune, rate_words
from prunescale.models import folder, load, save
from prunescale.pruning import METHODS
from prunescale.pruning.sizes import AXES as AXES_OF_WIDTH
from prunescale.pruning.sparse import SCOPES as SCOPES_OF_SPARSE
from prunescale.pruning.width import WIDTH

CALIBRATION = ("--calibration", "train.txt", "--sequence-length", "16")
HELD_OUT = ("--held-out", "held-out.txt")


@pytest.fixture
def module():
    return sys.modules["prunescale.cli.prune"]  # `prunescale.cli.prune` alone is the command


def test_the_help_names_each_method_axis_and_scope():
    # By hand, as --help must not import torch.
    option = next(option for option in prune.params if option.name == "method")
    named = [name for part in re.findall(r"\): ([^.]+)\.", option.help) for name in part.split(", ")]
    assert sorted(named) == sorted({**METHODS, **WIDTH})
    assert all(f"({kind}): " in option.help for kind in ("depth", "width", "sparse"))
    assert ", ".join(AXES_OF_WIDTH) == AXES
    assert SCOPES == SCOPES_OF_SPARSE


def answers(command, *arguments):
    """What the command says with and without --stream, after a check that it says the same."""
    both = []
    for stream in ("off", "on"):
        ended = command(
            "prune", "base", "--out", f"{stream}/out", "--stream", stream, *CALIBRATION, *HELD_OUT, *arguments, "--json"
        )
        assert (ended.code, ended.err) == (0, "")
        both.append(json.loads(ended.out))
    memory, disk = both
    assert (memory.pop("folder"), disk.pop("folder")) == ("off/out", "on/out")
    for name in ("loss_before", "loss_after"):
        assert memory[name] == pytest.approx(disk[name], rel=1e-6)
        memory[name] = disk[name]
    assert memory == disk
    for path in Path("off/out").iterdir():
        assert path.read_bytes() == (Path("on/out") / path.name).read_bytes(), path.name
    return memory


@pytest.mark.parametrize("method", METHODS)
def test_block_by_block_says_and_writes_the_same(work, command, method):
    said = answers(command, "--method", method, "--rate", "0.3")
    assert (said["method"], said["kind"], said["rate_wanted"]) == (method, METHODS[method].kind, 0.3)
    assert said["source"] == METHODS[method].source
    assert said["base"] == str(work / "base")
    assert said["loss_after"] > 0
    assert load("on/out").lineage["pruning"]["rate"] == said["rate"]


def test_zeros_by_a_pattern_need_no_rate(work, command):
    said = answers(command, "--method", "wanda", "--pattern", "2:4")
    assert (said["sparsity"], said["pattern"]) == (0.5, "2:4")
    assert said["rate"] == pytest.approx(said["rate_wanted"])
    ended = command("prune", "base", "--out", "out", "--method", "wanda", "--pattern", "2:4", *CALIBRATION)
    assert ended.out.splitlines()[0].startswith(
        "Made zero     50.00% of the weights of the linear layers in the blocks, 2:4 in each row,"
    )
    assert "(asked for" not in ended.out
    assert "other than zero, outside embeddings and head" in ended.out
    assert "vLLM withdrew" in Path("out/README.md").read_text().replace("\n", " ")


def test_a_rate_that_a_model_allows_only_nearly(work, command):
    ended = command("prune", "base", "--out", "out", "--rate", "0.3", *CALIBRATION)
    assert ended.out.splitlines()[:2] == [
        "Dropped       1 of 4 blocks, by block-influence: "
        + ", ".join(map(str, load("out").lineage["pruning"]["blocks_dropped"]))
        + " (counted from 0)",
        "Pruning rate  0.2497 (asked for: 0.3, the nearest that this model allows)",
    ]


def test_words_of_a_rate():
    assert rate_words(0.2497, 0.25) == "0.2497 (asked for: 0.25)"
    assert rate_words(0.2371, 0.25) == "0.2371 (asked for: 0.25, the nearest that this model allows)"
    assert rate_words(0.4981, None) == "0.4981"


def test_a_second_step_counts_from_the_first_base(work, command):
    assert command("prune", "base", "--out", "one", "--rate", "0.25", *CALIBRATION).code == 0
    ended = command("prune", "one", "--out", "two", "--rate", "0.5", "--method", "contiguous", *CALIBRATION)
    assert "Before that   block-influence to 0.2497" in ended.out
    assert "of 3 blocks, by contiguous" in ended.out
    assert load("two").lineage["pruning"]["base"] == str(work / "base")


@pytest.mark.parametrize(("free", "streamed"), [(None, False), (10**12, False), (1000, True)])
def test_left_to_itself_it_streams_what_is_large(work, command, monkeypatch, module, free, streamed):
    seen = []
    for name in ("prune_in_memory", "prune_on_disk"):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *arguments, real=real, name=name: (seen.append(name), real(*arguments))[1])
    monkeypatch.setattr(module, "free_memory", lambda device: free)
    assert command("prune", "base", "--out", "out", "--rate", "0.25", *CALIBRATION).code == 0
    assert seen == ["prune_on_disk" if streamed else "prune_in_memory"]


def test_the_free_memory_of_this_machine(module):
    assert 2**24 < module.free_memory(torch.device("cpu")) < 2**50


def test_stages_are_told(work, command, monkeypatch, module):
    told = []

    class Stages:
        def __init__(self, quiet):
            pass

        def __enter__(self):
            return told.append

        def __exit__(self, *_):
            return None

    monkeypatch.setattr("prunescale.cli.output.stages", Stages)
    for stream in ("on", "off"):
        told.clear()
        command("prune", "base", "--out", stream, "--stream", stream, "--rate", "0.25", *CALIBRATION, *HELD_OUT)
        assert "Scoring block 3 of 4" in told
        assert any(words.startswith("Pruning block ") for words in told)
        assert any(words.startswith("Measuring the loss") for words in told)


def test_a_calibration_of_tokens(work, command):
    np.savez("tokens.npz", tokens=np.arange(1, 201, dtype=np.uint16))
    said = answers(command, "--rate", "0.25", "--calibration", "tokens.npz", "--batch", "5")
    assert said["calibration_tokens"] == 192
    assert said["calibration_sequence_length"] == 16


def test_a_gguf_file_does_not_stream(work, refused):
    Path("m.gguf").write_bytes(b"GGUF")
    arguments = ("prune", "m.gguf", "--out", "out", "--rate", "0.25", "--stream", "on")
    assert "m.gguf is a GGUF file, and only a Hugging Face folder with safetensors can be read block by block" in refused(
        *arguments
    )


def spoil(name, edit):
    """A copy of `base` in `name`, of whose tensors `edit` has changed some."""
    shutil.copytree("base", name)
    file = Path(name) / "model.safetensors"
    tensors = load_file(file)
    edit(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.fixture
def spoiled(work, make_checkpoint):
    """Models that are not what they should be."""
    nan, gate = torch.nan, "model.layers.2.mlp.gate_proj.weight"
    spoil("nan", lambda tensors: tensors[gate][3].fill_(nan))
    spoil("infinite-end", lambda tensors: tensors["model.norm.weight"][3:4].fill_(torch.inf))
    spoil("lacking", lambda tensors: tensors.pop(gate))
    spoil("other-shape", lambda tensors: tensors.update({gate: torch.ones(7, 32)}))
    save(make_checkpoint(hidden_size=32, vocab_size=200), "other-tokenizer")
    shutil.copytree("base", "quantised")
    config = json.loads(Path("base/config.json").read_text())
    Path("quantised/config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "fp8"}}))
    return work


SPOILED = {
    "nan": "The tensor model.layers.2.mlp.gate_proj.weight of the model has numbers that are not finite",
    "infinite-end": "The tensor model.norm.weight of the model has numbers that are not finite",
    "lacking": "lack 1 that its config.json asks for, model.layers.2.mlp.gate_proj.weight among them",
    "other-shape": "mlp.gate_proj.weight in the weights of other-shape has the shape (7, 32), and config.json asks for (40, 32)",
    "other-tokenizer": "The tokenizer of other-tokenizer has 257 tokens and the model embeddings of 200, so they are not of one model",
    "quantised": "weights are quantised (fp8), and such weights cannot be pruned",
}


@pytest.mark.parametrize("method", ["block-influence", "magnitude"])
@pytest.mark.parametrize("stream", ["on", "off"])
def test_spoiled_models(spoiled, refused, stream, method):
    arguments = ("--out", "out", "--rate", "0.25", "--stream", stream, "--method", method, *CALIBRATION, *HELD_OUT)
    for name, words in SPOILED.items():
        assert words in refused("prune", name, *arguments)


@pytest.mark.parametrize("stream", ["on", "off"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rate", "0.1"), "rounds to no block of 4: with this model give a rate from 0.250 (one block) to 0.749 (all but one)"),
        ((), "The method block-influence needs a rate"),
        (
            ("--method", "magnitude", "--pattern", "3:7"),
            "3:7 sparsity needs a row length divisible by 7, got 32 in self_attn.q_proj",
        ),
        (("--method", "magnitude", "--pattern", "4:2"), "keeps n of every m weights, with 0 < n < m; got 4:2"),
        (("--method", "wanda", "--pattern", "2:4", "--rate", "0.3"), "0.3 was asked for: leave the rate out"),
        (("--rate", "0.25", "--axes", "ffn"), "axes has no meaning for the method block-influence: leave it out"),
        (("--rate", "0.25", "--pattern", "2:4"), "pattern has no meaning for the method block-influence: leave it out"),
        (("--rate", "0.25", "--scope", "global"), "scope has no meaning for the method block-influence: leave it out"),
        (("--rate", "0.25", "--scope", "everywhere"), "'everywhere' is not one of 'layer', 'global'"),
        (("--rate", "0.25", "--batch", "0"), "'0' is not a whole number above zero"),
        (("--rate", "0.25", "--calibration", "short.txt"), "Calibration needs one sequence of 16 tokens at least, got 12"),
        (("--rate", "0.25", "--held-out", "short.txt"), "The held-out text has 12 tokens"),
        (("--rate", "0.25", "--sequence-length", "129"), "Sequences of 129 tokens are too long for base, which was made for 128"),
        (("--rate", "0.25", "--out", "base"), "base exists already"),
        (("--rate", "0.25", "--out", "base/inside/out"), "base/inside/out is inside the model's own folder"),
        (("--rate", "0.25", "--out", "."), ". exists already"),
        (("--rate", "0.25", "--out", "short.txt/out"), "The model cannot be written to short.txt/out"),
    ],
)
def test_what_cannot_be_done(work, refused, stream, arguments, words):
    Path("short.txt").write_text("a few words")
    assert words in refused("prune", "base", "--out", "out", *CALIBRATION, *HELD_OUT, "--stream", stream, *arguments)


@pytest.mark.parametrize("stream", ["on", "off"])
def test_a_disk_that_is_full(work, refused, monkeypatch, stream):
    written = []

    def full(tensors, file, **options):
        written.append(file)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        save_file(tensors, file, **options)

    monkeypatch.setattr(folder, "save_file", full)
    monkeypatch.setattr(folder, "SHARD_BYTES", 10_000)
    words = "The model cannot be written to out ([Errno 28] No space left on device): name another folder, or make room."
    assert words in refused("prune", "base", "--out", "out", "--rate", "0.25", "--stream", stream, *CALIBRATION)


@pytest.mark.parametrize("stream", ["on", "off"])
def test_an_interruption_leaves_nothing(work, command, monkeypatch, stream):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(folder, "write_beside", interrupt)
    monkeypatch.setattr("prunescale.models.checkpoint.write_beside", interrupt)
    monkeypatch.setattr("prunescale.pruning.folder.write_beside", interrupt)
    before = sorted(Path.cwd().rglob("*"))
    ended = command("prune", "base", "--out", "out", "--rate", "0.25", "--stream", stream, *CALIBRATION)
    assert ended.code == 130
    assert ended.err.strip().startswith("Interrupted")
    assert sorted(Path.cwd().rglob("*")) == before
