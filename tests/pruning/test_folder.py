"""A folder that is pruned block by block comes out as the model that is pruned in memory does, and nothing half-written is left."""

import json
import threading
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from prunescale.errors import ModelError, PruningError
from prunescale.models import FAMILIES, load, read_folder, save
from prunescale.models import folder as folders
from prunescale.pruning import METHODS, Calibration, loss_of_folder, prune, prune_folder
from prunescale.training import Tokens, held_out_windows

CPU = torch.device("cpu")
REQUEST = {"depth": {"rate": 0.34}, "width": {"rate": 0.3}, "sparse": {"rate": 0.3}}


@pytest.fixture
def calibration(token_ids):
    return Calibration(token_ids[:200], 20, batch=3)


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(folders, "SHARD_BYTES", 20_000)  # a block of a tiny model has 15 to 25 kB in float32


def weights_of(folder):
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    stored = {name: load_file(folder / name) for name in set(index["weight_map"].values())}
    assert {name: file for file, inside in stored.items() for name in inside} == index["weight_map"]
    assert sum(value.nbytes for inside in stored.values() for value in inside.values()) == index["metadata"]["total_size"]
    return {name: value for inside in stored.values() for name, value in inside.items()}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_disk_and_memory_give_the_same(make_family_checkpoint, calibration, tmp_path, small_shards, family, method):
    source = save(make_family_checkpoint(family, lineage={"pretraining": {"n_tokens": 7}}), tmp_path / "source")
    request = REQUEST[METHODS[method].kind]
    pruned, done = prune(load(source), method=method, calibration=calibration, base=str(source), **request)
    save(pruned, tmp_path / "memory" / "out")
    streamed = prune_folder(source, tmp_path / "disk" / "out", method=method, calibration=calibration, device=CPU, **request)
    assert streamed == done
    memory, disk = weights_of(tmp_path / "memory" / "out"), weights_of(tmp_path / "disk" / "out")
    assert list(memory) != []
    assert memory.keys() == disk.keys()
    assert all(torch.equal(memory[name], disk[name]) for name in memory)
    files = sorted(path.name for path in (tmp_path / "memory" / "out").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "disk" / "out").iterdir())
    for name in files:
        assert (tmp_path / "memory" / "out" / name).read_bytes() == (tmp_path / "disk" / "out" / name).read_bytes(), name

    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "disk" / "out", dtype="auto")
    ids = torch.arange(3, 43).view(2, 20)
    with torch.no_grad():
        assert torch.equal(plain(input_ids=ids).logits, pruned.model(input_ids=ids).logits)
    assert AutoTokenizer.from_pretrained(tmp_path / "disk" / "out")("größer").input_ids == pruned.tokenizer("größer").input_ids
    again = load(tmp_path / "disk" / "out")
    assert again.lineage["pruning"]["method"] == method
    assert again.lineage["pretraining"] == {"n_tokens": 7}
    assert load_file(tmp_path / "disk" / "out" / "importance.safetensors").keys() == pruned.importance.keys()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_file_of_half_the_size_stays_one(make_checkpoint, calibration, tmp_path, dtype):
    # Making the model told its configuration the type to compute in, and the files came out in float32 once.
    source = save(make_checkpoint(), tmp_path / "source", dtype=dtype)
    settings = {"method": "contiguous", "rate": 0.25, "calibration": calibration}
    prune_folder(source, tmp_path / "out", device=CPU, **settings)
    assert {value.dtype for value in weights_of(tmp_path / "out").values()} == {dtype}
    assert read_folder(tmp_path / "out").dtype == load(tmp_path / "out").dtype == dtype
    pruned, _ = prune(load(source), **settings)
    memory = weights_of(save(pruned, tmp_path / "memory", dtype=dtype))
    assert all(torch.equal(memory[name], value) for name, value in weights_of(tmp_path / "out").items())


def test_a_loss_block_by_block_is_that_of_the_whole_model(make_family_checkpoint, token_ids, tmp_path):
    from prunescale.sweep import held_out_loss

    for family in FAMILIES:
        checkpoint = make_family_checkpoint(family)
        windows_NL = held_out_windows(Tokens(token_ids, None), 16, 300)
        streamed = loss_of_folder(save(checkpoint, tmp_path / family), windows_NL, device=CPU, batch=5)
        whole = held_out_loss(checkpoint, Tokens(token_ids, None), sequence_length=16, limit=300, device=CPU)
        assert streamed == pytest.approx(whole, rel=1e-6)


def test_a_second_pruning_counts_from_the_first_base(make_checkpoint, calibration, tmp_path):
    source = save(make_checkpoint(), tmp_path / "source")
    settings = {"calibration": calibration, "device": CPU}
    first = prune_folder(source, tmp_path / "one", method="contiguous", rate=0.25, **settings)
    second = prune_folder(tmp_path / "one", tmp_path / "two", method="block-influence", rate=0.5, **settings)
    assert (second.base, second.n_params_before) == (str(source), first.n_params_before)
    assert second.rate == pytest.approx(0.5, abs=0.01)
    assert [step["method"] for step in second.earlier] == ["contiguous"]
    card = (tmp_path / "two" / "README.md").read_text()
    assert "Before that, in order:\n\n1. contiguous" in card


def test_what_is_being_done_is_told(make_checkpoint, calibration, tmp_path):
    source = save(make_checkpoint(), tmp_path / "source")
    told = []
    settings = {"method": "block-influence", "rate": 0.25, "calibration": calibration, "on_stage": told.append}
    prune_folder(source, tmp_path / "out", device=CPU, **settings)
    assert told[:4] == [f"Scoring block {number} of 4" for number in (1, 2, 3, 4)]
    assert told[-2:] == ["Pruning block 4 of 4", "Writing"] or told[-2:] == ["Pruning block 3 of 4", "Writing"]
    told.clear()
    prune(load(source), **settings)
    assert told[0] == "Scoring block 1 of 4"


class Broken(Exception):
    pass


def threads():
    return {thread.name for thread in threading.enumerate() if thread.name.startswith(("read-block", "write-shard"))}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), Broken()])
@pytest.mark.parametrize("shard", [1, 3, 5])
def test_a_pruning_that_fails_on_the_way_leaves_nothing(
    make_checkpoint, calibration, tmp_path, monkeypatch, small_shards, error, shard
):
    source = save(make_checkpoint(hidden_size=32), tmp_path / "source")
    written = []

    def fail(tensors, file, **options):
        written.append(file)
        if len(written) == shard:
            raise error
        save_file(tensors, file, **options)

    monkeypatch.setattr(folders, "save_file", fail)
    expected = ModelError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as caught:
        prune_folder(source, tmp_path / "out", method="magnitude", rate=0.3, calibration=calibration, device=CPU)
    if expected is ModelError:
        assert "out (" in str(caught.value)
        assert "No space left on device): name another folder, or make room." in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    assert threads() == set()


def test_an_interruption_between_blocks_leaves_nothing(make_checkpoint, calibration, tmp_path, small_shards):
    source = save(make_checkpoint(hidden_size=32), tmp_path / "source")

    def interrupt(words):
        if words == "Pruning block 3 of 4":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune_folder(
            source, tmp_path / "out", method="magnitude", rate=0.3, calibration=calibration, device=CPU, on_stage=interrupt
        )
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    assert threads() == set()


def test_what_cannot_be_done_leaves_nothing(make_checkpoint, calibration, tmp_path):
    source = save(make_checkpoint(), tmp_path / "source")
    settings = {"method": "contiguous", "rate": 0.25, "calibration": calibration, "device": CPU}
    with pytest.raises(PruningError, match=r"from 0\.250 \(one block\) to 0\.749"):
        prune_folder(source, tmp_path / "out", **{**settings, "rate": 0.1})
    with pytest.raises(ModelError, match="exists already"):
        prune_folder(source, source, **settings)
    with pytest.raises(ModelError, match=r"inside the model's own folder, .*source: name a folder elsewhere"):
        prune_folder(source, source / "pruned" / "out", **settings)
    with pytest.raises(ModelError, match="exists already"):  # the source inside it
        prune_folder(source, tmp_path, **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    assert threads() == set()


@pytest.mark.parametrize("name", ["model.layers.2.mlp.up_proj.weight", "model.norm.weight", "model.embed_tokens.weight"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("method", ["contiguous", "magnitude"])
def test_numbers_that_are_not_finite_are_named(make_checkpoint, calibration, tmp_path, name, value, method):
    checkpoint = make_checkpoint()
    checkpoint.model.get_parameter(name).data.view(-1)[5] = value
    source = save(checkpoint, tmp_path / "source")
    settings = {"method": method, "rate": 0.25, "calibration": calibration}
    words = f"The tensor {name} of the model has numbers that are not finite, so it is damaged: make or load it again"
    with pytest.raises(ModelError, match=words):
        prune_folder(source, tmp_path / "out", device=CPU, **settings)
    with pytest.raises(ModelError, match=words):
        prune(checkpoint, **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_folder_that_was_read_can_be_given(make_checkpoint, calibration, tmp_path):
    source = read_folder(save(make_checkpoint(), tmp_path / "source"))
    settings = {"method": "contiguous", "rate": 0.25, "calibration": calibration, "device": CPU}
    assert prune_folder(source, tmp_path / "one", **settings) == prune_folder(source.path, tmp_path / "two", **settings)
    named = prune_folder(replace(source), tmp_path / "three", base="org/name", **settings)
    assert named.base == "org/name"
    assert "base_model: org/name" in (tmp_path / "three" / "README.md").read_text()
