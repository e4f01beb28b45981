"""A model's folder: weights in shards, and what lies beside them."""

import json
import os
import stat
import warnings

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig

from prunescale.errors import ModelError
from prunescale.models import WeightsWriter, load, new_folder, refuse_to_overwrite, save
from prunescale.models import folder as folders
from prunescale.models.folder import changed_entries


def tensors(n, size=1000):
    return [
        {f"model.layers.{index}.a": torch.full((size,), float(index)), f"model.layers.{index}.b": torch.ones(2)}
        for index in range(n)
    ]


@pytest.mark.parametrize("n_blocks", [1, 3, 12])
def test_blocks_that_fill_a_shard_have_one_each(tmp_path, monkeypatch, n_blocks):
    monkeypatch.setattr(folders, "SHARD_BYTES", 4000)
    with WeightsWriter(tmp_path, torch.float32) as weights:
        for block in tensors(n_blocks):
            weights.put(block)
        weights.put({"ends": torch.zeros(3)})
    n = n_blocks + 1
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [*(f"model-{i:05}-of-{n:05}.safetensors" for i in range(1, n + 1)), "model.safetensors.index.json"]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_parameters": 1002 * n_blocks + 3, "total_size": 4 * (1002 * n_blocks + 3)}
    for name, file in index["weight_map"].items():
        assert name in load_file(tmp_path / file)
    assert torch.equal(load_file(tmp_path / files[0])["model.layers.0.a"], torch.zeros(1000))


def test_small_blocks_share_a_shard(tmp_path):
    with WeightsWriter(tmp_path, torch.bfloat16) as weights:
        for block in tensors(5):
            weights.put(block)
    assert len(load_file(tmp_path / "model.safetensors")) == 10
    assert load_file(tmp_path / "model.safetensors")["model.layers.0.b"].dtype == torch.bfloat16


def test_few_shards_wait(tmp_path, monkeypatch):
    # What is made faster than it can be written would fill the memory.
    monkeypatch.setattr(folders, "SHARD_BYTES", 4000)
    alive = []
    real = folders.write_tensors

    def write(shard, file):
        real(shard, file)
        alive.append(sum(not future.done() for future in weights.pending))

    monkeypatch.setattr(folders, "write_tensors", write)
    with WeightsWriter(tmp_path, torch.float32) as weights:
        for block in tensors(20):
            weights.put(block)
            assert len(weights.pending) <= folders.WAITING + 1
    assert len(alive) == 20


def test_files_can_be_read_by_whom_the_system_says(make_checkpoint, tmp_path):
    # safetensors makes them readable for their owner alone, so that a server of another user could not load the model.
    before = os.umask(0o022)
    try:
        folder = save(make_checkpoint(lineage={"a": 1}), tmp_path / "m")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o644}


def test_a_model_can_be_written_again_and_again(make_checkpoint, tmp_path):
    first = load(save(make_checkpoint(lineage={"a": 1}), tmp_path / "one" / "m"))
    second = load(save(first, tmp_path / "two" / "m"))
    for name in sorted(path.name for path in (tmp_path / "one" / "m").iterdir()):
        assert (tmp_path / "one" / "m" / name).read_bytes() == (tmp_path / "two" / "m" / name).read_bytes()
    assert second.lineage == {"a": 1}


ODD = {"temperature": 0.6, "top_p": 0.9, "do_sample": False, "eos_token_id": [0, 5], "own": "setting"}
"""Settings that transformers reads and refuses to write: a temperature where nothing is sampled."""


def test_settings_for_generation_stay_as_they_are(make_checkpoint, tmp_path):
    folder = save(make_checkpoint(), tmp_path / "m")
    content = json.dumps(ODD, indent=7)
    (folder / "generation_config.json").write_text(content)
    again = save(load(folder), tmp_path / "again")
    assert (again / "generation_config.json").read_text() == content
    assert load(again).model.generation_config.eos_token_id == [0, 5]


def test_odd_settings_without_a_file_are_written_too(make_checkpoint, tmp_path):
    checkpoint = make_checkpoint()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checkpoint.model.generation_config = GenerationConfig(temperature=0.6, do_sample=False, eos_token_id=3)
        with pytest.raises(ValueError, match="temperature"):
            checkpoint.model.generation_config.save_pretrained(tmp_path / "theirs")
    folder = save(checkpoint, tmp_path / "m")
    written = json.loads((folder / "generation_config.json").read_text())
    assert (written["temperature"], written["eos_token_id"]) == (0.6, 3)
    assert AutoModelForCausalLM.from_pretrained(folder).generation_config.eos_token_id == 3


BESIDE = {
    "chat_template.jinja": b"{{ messages }}",
    "additional_chat_templates/tools.jinja": b"{{ tools }}",
    "tokenizer.model": b"\x00\x01",
    "vocab.json": b"{}",
    "merges.txt": b"",
    "special_tokens_map.json": b'{"eos_token": "<|endoftext|>"}',
    "LICENSE": b"Yours.",
    "USE_POLICY.md": b"Do no harm.",
}


def test_tokenizer_templates_and_licence_come_along(make_checkpoint, tmp_path):
    folder = save(make_checkpoint(), tmp_path / "m")
    (folder / "additional_chat_templates").mkdir()
    for name, content in BESIDE.items():
        (folder / name).write_bytes(content)
    for name in ("README.md", "training_args.bin", "notes.txt"):
        (folder / name).write_text("not of the model")
    tokenizer = (folder / "tokenizer.json").read_text() + "\n\n"
    (folder / "tokenizer.json").write_text(tokenizer)
    checkpoint = load(folder)
    again = save(checkpoint, tmp_path / "again")
    assert {name: (again / name).read_bytes() for name in BESIDE} == BESIDE
    assert (again / "tokenizer.json").read_text() == tokenizer
    assert not any((again / name).exists() for name in ("README.md", "training_args.bin", "notes.txt"))


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def fail():
        with new_folder(tmp_path / "m") as unfinished:
            (unfinished / "x").touch()
            assert not (tmp_path / "m").exists()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "m") as unfinished:
        (unfinished / "x").touch()
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["x"]
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_folder_that_someone_else_made_meanwhile_stays(tmp_path):
    def write():
        with new_folder(tmp_path / "m"):
            (tmp_path / "m").mkdir()
            (tmp_path / "m" / "theirs").touch()

    with pytest.raises(ModelError, match="cannot be written"):
        write()
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["theirs"]


def test_no_model_goes_into_the_folder_of_its_base(tmp_path):
    (tmp_path / "base").mkdir()
    for inside in ("base", "base/out", "base/../base/a/b"):
        with pytest.raises(ModelError, match="is inside the model's own folder"):
            refuse_to_overwrite(tmp_path / inside, tmp_path / "base")
    refuse_to_overwrite(tmp_path / "base2", tmp_path / "base")


def test_a_full_disk(make_checkpoint, disk_of):
    small = disk_of("64k").folder
    with pytest.raises(ModelError, match=r"cannot be written to .*space.*: name another folder, or make room"):
        save(make_checkpoint(), small / "m")
    assert list(small.iterdir()) == []


LLAMA_OF_TRANSFORMERS_4 = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 40,
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "rope_scaling": {
        "factor": 8.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 64,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.43.0",
    "vocab_size": 257,
}


def test_a_configuration_of_transformers_4_keeps_its_entries():
    # Transformers 5 writes rope_parameters in the place of rope_theta, and what reads only the latter takes 10000 for it.
    config = LlamaConfig.from_dict(dict(LLAMA_OF_TRANSFORMERS_4))
    config.num_hidden_layers = 3
    config.intermediate_size = 11008  # the default, which is left out of what transformers saves
    config.dtype = torch.float32
    entries = changed_entries(LLAMA_OF_TRANSFORMERS_4, config)
    changed = {"num_hidden_layers": 3, "intermediate_size": 11008, "torch_dtype": "float32"}
    assert entries == {**LLAMA_OF_TRANSFORMERS_4, **changed}
    assert LlamaConfig.from_dict(entries).rope_parameters == config.rope_parameters


def test_a_changed_rope_is_read_again_as_it_is():
    config = LlamaConfig.from_dict(dict(LLAMA_OF_TRANSFORMERS_4))
    config.rope_parameters = {**config.rope_parameters, "rope_theta": 20000.0}
    entries = changed_entries(LLAMA_OF_TRANSFORMERS_4, config)
    assert entries is None or LlamaConfig.from_dict(entries).rope_parameters["rope_theta"] == 20000.0


def test_a_saved_folder_has_the_configuration_as_it_was_written(make_checkpoint, tmp_path):
    folder = save(make_checkpoint(), tmp_path / "first")
    written = {**json.loads((folder / "config.json").read_text()), "an_entry_of_its_own": [1, 2]}
    theta = written.pop("rope_parameters")["rope_theta"]
    (folder / "config.json").write_text(json.dumps({**written, "rope_theta": theta}))
    again = save(load(folder), tmp_path / "again")
    assert json.loads((again / "config.json").read_text()) == {**written, "rope_theta": theta}
