import copy

import pytest
import torch

from prunescale.errors import ModelError
from prunescale.models import FAMILIES, assign_, skeleton_of
from prunescale.models.families import family_of
from prunescale.models.skeleton import refuse_unknown_parts

IDS = torch.arange(3, 43).view(2, 20)
LONG = {"short_factor": [1.0, 1.5], "long_factor": [2.0, 4.0]}  # a factor for each pair of the four entries of a head
ROTARY = {
    "default": {"rope_type": "default", "rope_theta": 500.0},
    "linear": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 500.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8, "rope_theta": 500.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
        "rope_theta": 500.0,
    },
}


@torch.no_grad()
def logits(model):
    return model(input_ids=IDS).logits


def filled(model, dtype=torch.float32):
    """A skeleton of a model's configuration with the model's weights."""
    skeleton = skeleton_of(copy.deepcopy(model.config), dtype=dtype, device="cpu")
    assign_(skeleton, {name: value.to(dtype) for name, value in model.state_dict().items()})
    skeleton.tie_weights()
    return skeleton


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_skeleton_has_no_weights_and_all_else(make_family_model, model_type, tied):
    model = make_family_model(model_type, tie_word_embeddings=tied)
    skeleton = skeleton_of(copy.deepcopy(model.config), dtype=torch.float32, device="cpu")
    assert all(parameter.is_meta for parameter in skeleton.parameters())
    buffers = dict(model.named_buffers())
    assert buffers
    for name, buffer in skeleton.named_buffers():
        assert torch.equal(buffer, buffers.pop(name))
    assert not buffers
    assert not skeleton.training


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("model_type", FAMILIES)
def test_with_its_weights_a_skeleton_is_the_model(make_family_model, model_type, tied):
    model = make_family_model(model_type, tie_word_embeddings=tied)
    skeleton = filled(model)
    assert torch.equal(logits(skeleton), logits(model))
    assert (skeleton.lm_head.weight is skeleton.model.embed_tokens.weight) == tied


@pytest.mark.parametrize("model_type", FAMILIES)
def test_in_bfloat16_it_is_what_transformers_loads(make_family_checkpoint, tmp_path, model_type):
    # Frequencies of the rotary embedding stay in float32, the factor of Gemma's embedding does not.
    from transformers import AutoModelForCausalLM

    checkpoint = make_family_checkpoint(model_type)
    checkpoint.model.save_pretrained(tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    skeleton = filled(checkpoint.model, torch.bfloat16)
    kinds = {name: buffer.dtype for name, buffer in plain.named_buffers()}
    assert {name: buffer.dtype for name, buffer in skeleton.named_buffers()} == kinds
    assert torch.equal(logits(skeleton), logits(plain))


@pytest.mark.parametrize("kind", ROTARY)
@pytest.mark.parametrize("model_type", ["llama", "qwen3"])
def test_positions_of_each_kind(make_family_model, model_type, kind):
    model = make_family_model(model_type, rope_parameters=dict(ROTARY[kind]), max_position_embeddings=16)
    before = logits(model)
    assert torch.equal(logits(filled(model)), before)
    if kind != "default":
        plain = make_family_model(model_type, rope_parameters=dict(ROTARY["default"]), max_position_embeddings=16)
        assert not torch.allclose(logits(plain), before, rtol=0, atol=1e-2)  # otherwise the kind was not tried


@pytest.mark.parametrize("longest", [16, 128])
def test_positions_of_phi3_short_and_long(make_family_model, longest):
    rotary = {"rope_type": "longrope", "rope_theta": 500.0, "original_max_position_embeddings": longest, **LONG}
    model = make_family_model("phi3", rope_parameters=rotary, original_max_position_embeddings=longest)
    assert torch.equal(logits(filled(model)), logits(model))


def test_positions_in_half_of_a_head(make_family_model):
    rotary = {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}  # as Phi-4-mini has in three quarters
    model = make_family_model("phi3", rope_parameters=rotary)
    assert torch.equal(logits(filled(model)), logits(model))


def test_positions_of_gemma_differ_by_block(make_family_model):
    rotary = {
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5000.0},
    }
    model = make_family_model("gemma3_text", rope_parameters=rotary)
    assert torch.equal(logits(filled(model)), logits(model))


@pytest.mark.parametrize(
    ("place", "name"),
    [("model.layers.2.self_attn", "sinks"), ("model.layers.0.mlp", "router"), ("model", "prompt"), ("lm_head", "bias2")],
)
def test_parameters_that_a_family_does_not_name_are_refused(make_family_model, place, name):
    model = make_family_model("llama")
    refuse_unknown_parts(model, family_of(model.config))
    model.get_submodule(place).register_parameter(name, torch.nn.Parameter(torch.zeros(3)))
    with pytest.raises(ModelError, match=rf"does not know in llama, \S*{name} among them: use a model with the layers") as caught:
        refuse_unknown_parts(model, family_of(model.config))
    assert "\n" not in str(caught.value)


def test_a_skeleton_with_such_parameters_is_refused(make_family_model, monkeypatch):
    from transformers.models.llama.modeling_llama import LlamaMLP

    make = LlamaMLP.__init__

    def with_one_more(self, config):
        make(self, config)
        self.router = torch.nn.Linear(3, 3)

    config = make_family_model("llama").config
    monkeypatch.setattr(LlamaMLP, "__init__", with_one_more)
    with pytest.raises(ModelError, match=r"mlp\.router\.bias among them"):
        skeleton_of(config, dtype=torch.float32, device="cpu")


def test_weights_that_do_not_fit_are_refused(make_family_model):
    model = make_family_model("llama")
    tensors = dict(model.state_dict())
    skeleton = skeleton_of(copy.deepcopy(model.config), dtype=torch.float32, device="cpu")
    with pytest.raises(ModelError, match=r"0 are missing and 1 are too many, model\.extra among them"):
        assign_(skeleton, {**tensors, "model.extra": torch.zeros(1)})
    del tensors["model.norm.weight"]
    with pytest.raises(ModelError, match=r"1 are missing and 0 are too many, model\.norm\.weight among them"):
        assign_(skeleton, tensors)
