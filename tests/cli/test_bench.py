"""prunescale bench: what it says of a pruned model, with and without the one that it was made from."""

import json
import shutil
import sys

import pytest
import torch

from prunescale.inference import Rates

SMALL = ("--batch-sizes", "1,2", "--prompt-tokens", "6", "--new-tokens", "4", "--repeats", "2")


@pytest.fixture(autouse=True)
def rates(monkeypatch):
    monkeypatch.setattr(sys.modules["prunescale.inference.compare"], "measured_rates", lambda device, dtype: Rates(1e10, 1e11))


@pytest.fixture
def pruned(work, command):
    assert command("prune", "base", "--method", "last-blocks", "--rate", "0.25", "--out", "pruned").code == 0
    return work


def test_a_pruned_model_is_timed_beside_its_base(pruned, command):
    ended = command("bench", "pruned", *SMALL, "--json")
    assert (ended.code, ended.err) == (0, "")
    said = json.loads(ended.out)
    assert (said["model"], said["against"], said["dtype"], said["notes"]) == ("pruned", "base", "float32", [])
    assert [(each["model"], each["batch_size"]) for each in said["speeds"]] == [
        ("base", 1),
        ("pruned", 1),
        ("base", 2),
        ("pruned", 2),
    ]
    assert [each["batch_size"] for each in said["ratios"]] == [1, 2]
    for ratio in said["ratios"]:
        assert ratio["tokens_per_second"]["low"] <= ratio["tokens_per_second"]["median"] <= ratio["tokens_per_second"]["high"]
        assert 0.5 < ratio["weight_bytes"] < 1
    assert said["rates"] == {"copy": 1e10, "matmul": 1e11}
    assert said["semi_structured"] is None


def test_the_tables_fit_a_terminal(pruned, command):
    ended = command("bench", "pruned", *SMALL)
    assert ended.code == 0
    assert "Medians of 2 rounds" in ended.out
    assert "Beside base with dense kernels" in ended.out
    assert "steps run as they are" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 100


def test_a_model_whose_base_is_gone_is_timed_alone_and_that_is_said(pruned, command):
    shutil.rmtree("base")
    said = json.loads(command("bench", "pruned", *SMALL, "--json").out)
    assert (said["against"], said["ratios"], len(said["speeds"])) == (None, [], 2)
    (note,) = said["notes"]
    assert note.startswith("The model is timed alone, as its base cannot be loaded (There is no model at ")
    assert note.endswith("Give it with --against.")


def test_a_model_that_was_not_pruned_is_timed_alone(work, command):
    said = json.loads(command("bench", "base", *SMALL, "--json").out)
    assert said["notes"] == ["base was not pruned by prunescale, so that it is timed alone: --against names a model beside it."]


def test_another_model_to_compare_with_and_another_type(pruned, command):
    said = json.loads(command("bench", "base", "--against", "pruned", "--dtype", "bfloat16", *SMALL, "--json").out)
    assert (said["model"], said["against"], said["dtype"]) == ("base", "pruned", "bfloat16")
    assert said["ratios"][0]["weight_bytes"] > 1


def test_the_prompt_is_as_long_as_the_model_takes_where_nothing_is_said(work, command):
    said = json.loads(command("bench", "base", "--batch-sizes", "1", "--new-tokens", "100", "--repeats", "1", "--json").out)
    assert said["prompt_tokens"] == 28  # of 128


def test_two_of_four_on_a_cpu_is_said_or_refused_in_one_line(work, command, refused, make_checkpoint):
    from prunescale.models import save

    settings = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
    save(make_checkpoint(**settings), "wide")
    assert command("prune", "wide", "--method", "magnitude", "--pattern", "2:4", "--out", "sparse").code == 0
    said = json.loads(command("bench", "sparse", *SMALL, "--json").out)
    assert said["notes"] == ["Dense kernels only: 2:4 kernels need an NVIDIA GPU, and the device is cpu."]
    assert json.loads(command("bench", "sparse", "--semi-structured", "off", *SMALL, "--json").out)["notes"] == []
    line = refused("bench", "sparse", "--semi-structured", "on", *SMALL)
    assert line == "Error: 2:4 kernels need an NVIDIA GPU, and the device is cpu: leave --semi-structured at auto or off.\n"


def test_what_cannot_be_is_refused(work, refused):
    assert "takes 128 tokens, and 100 of the prompt with 128 new ones are 228" in refused(
        "bench", "base", "--prompt-tokens", "100"
    )
    assert "There is no model at nowhere" in refused("bench", "base", "--against", "nowhere", *SMALL)
    assert "1 prompt token and 2 new ones" in refused("bench", "base", "--new-tokens", "1")


def test_2_4_kernels_are_timed_beside_dense_ones_of_the_same_model(work, command, make_checkpoint, monkeypatch):
    """On a machine that has none: dense kernels stand in, so that all else is seen."""
    from prunescale.models import save

    settings = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
    save(make_checkpoint(**settings), "wide")
    assert command("prune", "wide", "--method", "magnitude", "--pattern", "2:4", "--out", "sparse").code == 0
    monkeypatch.setattr("prunescale.inference.why_no_kernels", lambda device, dtype: None)
    monkeypatch.setattr("prunescale.inference.semi_structured.to_sparse_semi_structured", torch.clone)
    said = json.loads(command("bench", "sparse", "--semi-structured", "on", *SMALL, "--json").out)
    assert [(each["model"], each["kernel"]) for each in said["ratios"]] == 2 * [("sparse", "dense"), ("sparse", "2:4")]
    assert len(said["semi_structured"]["converted"]) == 28
    ended = command("bench", "sparse", *SMALL)
    assert "28 linear layers; dense stay 0 for their shape and 1 that are not 2:4" in ended.out.replace("\n", " ")


def test_2_4_kernels_that_do_not_run_are_told_of_in_one_line(work, command, refused, make_checkpoint, monkeypatch):
    from prunescale.models import save

    def fails(weight_OI):
        raise RuntimeError("supported on other GPUs only")

    settings = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
    save(make_checkpoint(**settings), "wide")
    assert command("prune", "wide", "--method", "magnitude", "--pattern", "2:4", "--out", "sparse").code == 0
    monkeypatch.setattr("prunescale.inference.why_no_kernels", lambda device, dtype: None)
    monkeypatch.setattr("prunescale.inference.semi_structured.to_sparse_semi_structured", fails)
    why = "kernels of this torch do not run here: a weight of 64 x 64 fails (supported on other GPUs only)"
    said = json.loads(command("bench", "sparse", *SMALL, "--json").out)
    assert said["notes"] == [f"Dense kernels only: the 2:4 {why}."]
    assert {each["kernel"] for each in said["speeds"]} == {"dense"}
    line = refused("bench", "sparse", "--semi-structured", "on", *SMALL)
    assert line == f"Error: The 2:4 {why}; leave --semi-structured at auto or off.\n"
