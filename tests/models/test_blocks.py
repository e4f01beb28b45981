"""Blocks out of memory and out of files: the same numbers, and no thread, file or weight left behind."""

import json
import threading

import pytest
import torch
from safetensors.torch import load_file, save_file

from prunescale.errors import ModelError
from prunescale.models import FAMILIES, BlocksInMemory, BlocksOnDisk, read_folder, save

CPU = torch.device("cpu")


@pytest.fixture
def folder(make_checkpoint, tmp_path):
    return save(make_checkpoint(tied=False), tmp_path / "model")


def opened(folder):
    return read_folder(folder).blocks(dtype=torch.float32, device=CPU)


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-block")]


def change(folder, edit):
    """Change the tensors of a model's one file."""
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_on_disk_are_those_in_memory(make_family_checkpoint, tmp_path, family):
    checkpoint = make_family_checkpoint(family)
    in_memory = BlocksInMemory(checkpoint.model)
    with opened(save(checkpoint, tmp_path / "m")) as on_disk:
        assert len(on_disk) == len(in_memory) == 6
        ends, expected = on_disk.ends(), in_memory.ends()
        assert ends.keys() == expected.keys()
        assert all(torch.equal(ends[name], expected[name]) for name in expected)
        for index in (0, 1, 2, 3, 4, 5, 3, 0):  # also back, and not the one that was read ahead
            with on_disk.resident(index) as block, in_memory.resident(index) as same:
                one, other = dict(block.named_parameters()), dict(same.named_parameters())
                assert one.keys() == other.keys()
                assert all(torch.equal(one[name], other[name]) for name in other)
            assert all(parameter.is_meta for parameter in block.parameters())
    assert readers() == []


def test_a_block_of_ones_own_can_be_changed(make_checkpoint, folder):
    checkpoint = make_checkpoint(tied=False)
    before = (folder / "model.safetensors").read_bytes()
    with opened(folder) as on_disk:
        for blocks in (BlocksInMemory(checkpoint.model), on_disk):
            with blocks.resident(1, own=True) as block:
                block.mlp.up_proj.weight.data.zero_()
            with blocks.resident(1) as block:
                assert block.mlp.up_proj.weight.any()
    assert (folder / "model.safetensors").read_bytes() == before


def test_the_block_asked_for_is_told(make_checkpoint, folder):
    told = []
    with opened(folder) as on_disk:
        for blocks in (BlocksInMemory(make_checkpoint().model), on_disk):
            blocks.on_block = told.append
            with blocks.resident(2):
                pass
    assert told == [2, 2]


def test_each_file_is_opened_once_a_block(folder, monkeypatch):
    from prunescale.models import blocks as module

    opens = []
    real = module.safe_open

    def counted(path, **options):
        opens.append(path)
        return real(path, **options)

    with opened(folder) as blocks:
        monkeypatch.setattr(module, "safe_open", counted)
        blocks.read_block(2)
    assert len(opens) == 1


def test_tensors_that_the_model_has_not_are_left_alone(make_checkpoint, tmp_path):
    # The first Llamas have frequencies in each block, and some save a head that is tied.
    tied = save(make_checkpoint(tied=True), tmp_path / "tied")

    def add(tensors):
        tensors["lm_head.weight"] = torch.full((257, 16), torch.nan)
        tensors["model.layers.1.self_attn.rotary_emb.inv_freq"] = torch.ones(2)

    change(tied, add)
    with opened(tied) as blocks, blocks.resident(1) as block:
        assert "lm_head.weight" not in blocks.ends()
        assert blocks.model.lm_head.weight is blocks.model.model.embed_tokens.weight
        assert len(list(block.named_parameters())) == 9


def test_a_model_saved_without_its_head_is_found(make_checkpoint, tmp_path):
    checkpoint = make_checkpoint(tied=True)
    folder = save(checkpoint, tmp_path / "m")

    def strip(tensors):
        for name in list(tensors):
            tensors[name.removeprefix("model.")] = tensors.pop(name)

    change(folder, strip)
    with opened(folder) as blocks, blocks.resident(3) as block:
        assert torch.equal(block.mlp.up_proj.weight, checkpoint.model.model.layers[3].mlp.up_proj.weight)


def refused(folder, index=2) -> str:
    with pytest.raises(ModelError) as caught, opened(folder) as blocks, blocks.resident(index):
        pass
    assert readers() == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["model.layers.2.mlp.up_proj.weight", "model.norm.weight", "lm_head.weight"])
def test_a_tensor_that_is_missing(folder, name):
    change(folder, lambda tensors: tensors.pop(name))
    assert f"lack 1 that its config.json asks for, {name} among them: save or copy the whole model again" in refused(folder)


@pytest.mark.parametrize("name", ["model.layers.2.mlp.up_proj.weight", "model.norm.weight"])
def test_a_tensor_of_another_shape(folder, name):
    change(folder, lambda tensors: tensors.update({name: tensors[name][:3].contiguous()}))
    words = refused(folder)
    assert f"The tensor {name} in the weights of {folder} " in words
    assert "has the shape (3" in words


def test_a_file_that_is_cut_short_or_gone(folder):
    file = folder / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-9])
    assert "cannot be read" in refused(folder)
    file.rename(folder / "model-00001-of-00001.safetensors")
    names = load_names(content)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(names, "model-00001-of-00002.safetensors")}))
    assert "model-00001-of-00002.safetensors cannot be read" in refused(folder)
    for damaged in ("{", "[]", "{}", '{"weight_map": 5}'):
        index.write_text(damaged)
        assert f"The weights of {folder} cannot be read" in refused(folder)


def load_names(content):
    n_bytes = int.from_bytes(content[:8], "little")
    return [name for name in json.loads(content[8 : 8 + n_bytes]) if name != "__metadata__"]


def test_scores_beside_the_weights_are_no_weights(folder):
    save_file({"model.layers.2.mlp.up_proj.weight": torch.zeros(2)}, folder / "importance.safetensors")
    with opened(folder) as blocks, blocks.resident(2) as block:
        assert block.mlp.up_proj.weight.shape == (40, 16)


def test_no_thread_outlives_an_error_at_the_beginning(folder):
    config = read_folder(folder).config
    change(folder, lambda tensors: tensors["model.norm.weight"].fill_(torch.nan))
    with pytest.raises(ModelError, match=r"model\.norm\.weight of the model has numbers that are not finite"):
        BlocksOnDisk(folder, config, dtype=torch.float32, device=CPU)
    assert readers() == []
