from dataclasses import asdict

import pytest

from prunescale.errors import ModelError
from prunescale.models import FAMILIES, family_of, shape_of

GROUPS = {
    "n_params_embedding": ("embed_tokens",),
    "n_params_head": ("lm_head",),
    "n_params_attention": ("self_attn",),
    "n_params_ffn": ("mlp",),
    "n_params_norm": ("norm",),
}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("settings", [{}, {"head_dim": 6}, {"num_key_value_heads": 4, "num_hidden_layers": 3}])
def test_the_counts_are_those_of_the_real_parameters(make_model, tied, settings):
    model = make_model(tied=tied, **settings)
    counted = dict.fromkeys(GROUPS, 0)
    for name, parameter in model.named_parameters():  # a tied weight comes once
        (group,) = [group for group, words in GROUPS.items() if any(word in name for word in words)]
        counted[group] += parameter.numel()
    shape = shape_of(model.config)
    assert {group: getattr(shape, group) for group in GROUPS} == counted
    assert (counted["n_params_head"] == 0) == tied
    assert shape.n_params_total == sum(parameter.numel() for parameter in model.parameters())
    linear = [parameter.numel() for name, parameter in model.named_parameters() if parameter.ndim == 2 and "embed" not in name]
    assert shape.n_params_linear == sum(linear) + (shape.n_params_embedding if tied else 0)


def test_the_shape_is_read_from_the_configuration(make_model):
    assert asdict(shape_of(make_model().config)) == {
        "n_layers": 4,
        "hidden_size": 16,
        "ffn_size": 40,
        "n_heads": 4,
        "n_kv_heads": 2,
        "head_dim": 4,
        "vocab_size": 257,
        "tied_embeddings": True,
    }


def test_a_family_names_parts_that_a_model_has(make_model):
    model = make_model()
    family = family_of(model.config)
    assert family is FAMILIES["llama"]
    blocks = model.get_submodule(family.blocks)
    assert len(blocks) == 4
    assert [block.get_submodule(family.attention).layer_idx for block in blocks] == [0, 1, 2, 3]


def test_another_architecture_is_refused_with_those_that_are_known():
    from transformers import GPT2Config

    with pytest.raises(ModelError, match="'gpt2' is not supported: prunescale knows llama"):
        shape_of(GPT2Config())


@pytest.mark.parametrize("biased", ["attention_bias", "mlp_bias"])
def test_biases_which_no_count_has_are_refused(make_model, biased):
    with pytest.raises(ModelError, match="biases are not supported"):
        shape_of(make_model(**{biased: True}).config)
