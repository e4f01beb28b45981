import json
import os
import shutil
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from prunescale.errors import AssetError, ModelError
from prunescale.models import LINEAGE_FILE, load, named_from_anywhere, refuse_to_overwrite, save

IDS = torch.arange(1, 61).view(2, 30)


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.mark.parametrize("tied", [True, False])
def test_plain_transformers_reads_what_was_saved(make_checkpoint, tmp_path, tied):
    checkpoint = make_checkpoint(tied=tied)
    folder = save(checkpoint, tmp_path / "new" / "model")
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(logits(model), logits(checkpoint.model))  # the same float32 numbers through the same operations
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    assert ("lm_head.weight" in load_file(folder / "model.safetensors")) == (not tied)
    text = "Two words; größer"
    assert AutoTokenizer.from_pretrained(folder)(text)["input_ids"] == checkpoint.tokenizer(text)["input_ids"]


@pytest.mark.parametrize("tied", [True, False])
def test_saving_in_bfloat16_rounds_the_file_and_not_the_model(make_checkpoint, tmp_path, tied):
    # Once, the cast gave tied weights two copies, both written, and config.json went on to say float32.
    checkpoint = make_checkpoint(tied=tied)
    before = {name: value.clone() for name, value in checkpoint.model.state_dict().items()}
    folder = save(checkpoint, tmp_path / "half", dtype=torch.bfloat16)

    assert checkpoint.model.dtype == torch.float32
    assert all(torch.equal(value, before[name]) for name, value in checkpoint.model.state_dict().items())
    written = load_file(folder / "model.safetensors")
    assert {value.dtype for value in written.values()} == {torch.bfloat16}
    assert all(torch.equal(value, before[name].bfloat16()) for name, value in written.items())
    assert ("lm_head.weight" in written) == (not tied)
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"

    plain = AutoModelForCausalLM.from_pretrained(folder)
    assert plain.dtype == torch.bfloat16
    again = load(folder)
    assert again.dtype == torch.bfloat16
    assert again.model.dtype == torch.float32
    assert torch.equal(logits(again.model), logits(plain.float()))


def test_a_loaded_checkpoint_is_the_one_saved(make_checkpoint, tmp_path):
    lineage = {"pretraining": {"n_tokens": 123, "loss": 0.1 + 0.2}, "pruning": {"base": "größer", "blocks_dropped": [1, 3]}}
    checkpoint = make_checkpoint(lineage=lineage)
    again = load(save(checkpoint, tmp_path / "mine"))
    assert again.name == "mine"
    assert again.lineage == lineage
    assert again.shape == checkpoint.shape
    assert not again.model.training
    assert torch.equal(logits(again.model), logits(checkpoint.model))


def test_a_model_of_others_has_no_lineage(make_checkpoint, tmp_path):
    folder = save(make_checkpoint(), tmp_path / "m")
    assert not (folder / LINEAGE_FILE).exists()
    assert load(folder).lineage == {}


def test_nothing_is_printed(make_checkpoint, tmp_path, capfd):
    load(save(make_checkpoint(), tmp_path / "m"))
    assert capfd.readouterr() == ("", "")


def test_a_folder_with_anything_in_it_is_never_overwritten(make_checkpoint, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ModelError, match="exists already and is never overwritten"):
        save(make_checkpoint(), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(ModelError, match=r"mine\.txt exists already"):
        refuse_to_overwrite(tmp_path / "mine.txt")
    (tmp_path / "empty").mkdir()
    assert load(save(make_checkpoint(), tmp_path / "empty")).name == "empty"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_nothing(make_checkpoint, tmp_path, monkeypatch, error):
    checkpoint = make_checkpoint(lineage={"a": 1})

    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(type(checkpoint.tokenizer), "save_pretrained", fail)  # the weights are written by then
    with pytest.raises(ModelError if isinstance(error, OSError) else KeyboardInterrupt):
        save(checkpoint, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_no_folder_can_be_is_told_in_a_line(make_checkpoint, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match=r"cannot be written to .*file/m"):
        save(make_checkpoint(), tmp_path / "file" / "m")


@pytest.fixture
def folder(make_checkpoint, tmp_path):
    return save(make_checkpoint(tied=False), tmp_path / "model")


def refused(path) -> str:
    with pytest.raises(ModelError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert 40 < len(message) < 400  # what was got and what is needed, and no page of someone else's advice
    return message


def test_a_missing_path(tmp_path):
    assert refused(tmp_path / "none") == (
        f"There is no model at {tmp_path}/none: give the folder of a Hugging Face model or a .gguf file."
    )


def test_a_folder_or_a_file_that_is_no_model(tmp_path, folder):
    assert "is no model: a Hugging Face folder with a config.json, or a .gguf file, is needed" in refused(tmp_path)
    assert "is no model" in refused(folder / "model.safetensors")


def test_weights_in_another_format(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "no weights in safetensors" in refused(folder)


@pytest.mark.parametrize("content", ["{", "[1]", "{}", ""])
def test_a_configuration_that_is_none(folder, content):
    (folder / "config.json").write_text(content)
    assert "configuration of" in refused(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "gpt2"}, "'gpt2' is not supported: prunescale knows llama"),
        ({"model_type": "mystery"}, "`mystery`"),
        # With code of its own, transformers would ask at the terminal whether to run it.
        ({"model_type": "mystery", "auto_map": {"AutoConfig": "c.C", "AutoModelForCausalLM": "c.M"}}, "custom code"),
        ({"hidden_size": "wide"}, "expected int, got str"),
        ({"num_attention_heads": 3}, "not a multiple"),
        ({"num_attention_heads": 0, "head_dim": None}, "by zero"),
        ({"attention_bias": True}, "lack 16 that its config.json asks for, model.layers.0.self_attn.k_proj.bias"),
        ({"hidden_size": 32}, "weights of"),
        # transformers would make room for them before it looks at the weights.
        (
            {"hidden_size": 10**6, "intermediate_size": 10**6},
            "asks for 12,000,715,000,000 parameters, and its weights have 19,120",
        ),
        # transformers fills what is missing with random numbers and only warns.
        ({"num_hidden_layers": 5}, "lack 9 that its config.json asks for, model.layers.4.input_layernorm.weight among them"),
    ],
)
def test_a_configuration_that_does_not_fit(folder, changes, words, capfd):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    assert words in refused(folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("n_bytes", [0, 4, 3000, -1])
def test_weights_cut_short(folder, n_bytes):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:n_bytes])
    assert "weights of" in refused(folder)


@pytest.mark.parametrize("content", [None, "{}", "not JSON"])
def test_a_tokenizer_that_is_missing_or_damaged(folder, content):
    file = folder / "tokenizer.json"
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    assert "no tokenizer that can be loaded" in refused(folder)


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff"])
def test_a_damaged_lineage(folder, content):
    (folder / LINEAGE_FILE).write_bytes(content)
    assert "prunescale.json is damaged" in refused(folder)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUFnothing that a GGUF file holds", b"something else"])
def test_a_damaged_gguf_file(tmp_path, content):
    (tmp_path / "m.gguf").write_bytes(content)
    pytest.importorskip("gguf")
    pytest.importorskip("accelerate")
    assert "m.gguf cannot be read" in refused(tmp_path / "m.gguf")


def test_gguf_without_its_packages(tmp_path, monkeypatch):
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'prunescale[gguf]'" in refused(tmp_path / "m.gguf")


@pytest.mark.parametrize("name", ["no_such_package_here", "no_such_package.inside", "", ".dotted", "math"])
def test_a_package_that_is_not_installed(name):
    assert f"no installed Python package {name!r}" in refused(f"package:{name}")


@pytest.mark.parametrize("files", [[], ["a.gguf", "b.gguf"]])
def test_a_package_without_one_gguf_file(tmp_path, monkeypatch, files):
    package = tmp_path / "package_for_a_test"
    package.mkdir()
    for name in ("__init__.py", *files):
        (package / name).touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert f"has {len(files)} GGUF files where one is needed" in refused("package:package_for_a_test")


def test_an_embedded_model_by_name(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("prunescale.embedded.ROOT", tmp_path)
    with pytest.raises(AssetError, match=r"no embedded model '7b': choose 0\.4m, 1m or 2\.7m"):
        load("embedded:7b")
    with pytest.raises(AssetError, match=r"missing, .*models/1m/config\.json: install prunescale again"):
        load("embedded:1m")
    (tmp_path / "models").mkdir()
    shutil.copytree(folder, tmp_path / "models" / "1m")
    assert load("embedded:1m").name == "1m"


def test_a_name_that_means_the_same_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert named_from_anywhere("here/../m") == os.path.realpath(tmp_path / "m")
    assert named_from_anywhere("embedded:1m") == "embedded:1m"
    assert named_from_anywhere("package:some") == "package:some"


def test_a_checkpoint_is_not_changed_by_saving(make_checkpoint, tmp_path):
    checkpoint = make_checkpoint()
    config = checkpoint.model.config.to_dict()
    save(replace(checkpoint, lineage={"x": 1}), tmp_path / "m", dtype=torch.bfloat16)
    after = checkpoint.model.config.to_dict()
    assert {key: after[key] for key in config if key not in ("dtype", "architectures")} == {
        key: config[key] for key in config if key not in ("dtype", "architectures")
    }
    assert checkpoint.model.dtype == torch.float32
