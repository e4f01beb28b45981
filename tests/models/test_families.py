from dataclasses import asdict

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig

from prunescale.errors import ModelError
from prunescale.models import FAMILIES, family_of, shape_of

GROUPS = {
    "n_params_embedding": ("embed_tokens",),
    "n_params_head": ("lm_head",),
    "n_params_norm": ("norm",),  # before the attention, which has some
    "n_params_attention": ("self_attn",),
    "n_params_ffn": ("mlp",),
}
SIZES = {
    "vocab_size": 97,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "pad_token_id": None,
}
BIASES = {
    "llama": ("attention_bias", "mlp_bias"),
    "qwen3": ("attention_bias",),
    "gemma3_text": ("attention_bias",),
    "olmo2": ("attention_bias",),
}


def on_meta(config):
    """A model of which nothing is computed or kept."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def counted(model):
    """The parameters by group, a tied weight once."""
    counts = dict.fromkeys(GROUPS, 0)
    for name, parameter in model.named_parameters():
        group = next(group for group, words in GROUPS.items() if any(word in name for word in words))
        counts[group] += parameter.numel()
    return counts


def check_counts(config):
    model, shape = on_meta(config), shape_of(config)
    counts = counted(model)
    assert {group: getattr(shape, group) for group in GROUPS} == counts
    assert (counts["n_params_head"] == 0) == config.tie_word_embeddings
    assert shape.n_params_total == sum(parameter.numel() for parameter in model.parameters())
    assert shape.n_params_block == sum(parameter.numel() for parameter in model.model.layers[0].parameters())
    linear = [parameter.numel() for name, parameter in model.named_parameters() if parameter.ndim == 2 and "embed" not in name]
    assert shape.n_params_linear == sum(linear) + (shape.n_params_embedding if config.tie_word_embeddings else 0)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("settings", [{}, {"head_dim": 10}, {"num_key_value_heads": 6, "num_hidden_layers": 2}], ids=str)
@pytest.mark.parametrize("model_type", FAMILIES)
def test_the_counts_are_those_of_the_real_parameters(model_type, settings, tied):
    # Without head_dim, some families have one of their own, some take what is left of the hidden size, and some have no such entry.
    check_counts(AutoConfig.for_model(model_type, **{**SIZES, **settings}, tie_word_embeddings=tied))


@pytest.mark.parametrize("setting", ["attention_bias", "mlp_bias"])
@pytest.mark.parametrize("model_type", FAMILIES)
def test_biases_are_counted_where_a_family_has_them(model_type, setting):
    # A configuration may have an entry of which its architecture takes no notice.
    config = AutoConfig.for_model(model_type, **SIZES, **{setting: True})
    check_counts(config)
    config_without = AutoConfig.for_model(model_type, **SIZES)
    more = shape_of(config).n_params_total - shape_of(config_without).n_params_total
    assert (more > 0) == (setting in BIASES.get(model_type, ()))


# What the safetensors files of these models hold.
PUBLISHED = {
    "Llama 2 7B": ("llama", {}, 6_738_415_616),
    "Mistral 7B": ("mistral", {}, 7_241_732_096),
    "Qwen2.5 0.5B": (
        "qwen2",
        {
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
        },
        494_032_768,
    ),
    "Qwen3 0.6B": (
        "qwen3",
        {
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "tie_word_embeddings": True,
        },
        596_049_920,
    ),
    "Gemma 3 270M": (
        "gemma3_text",
        {
            "vocab_size": 262_144,
            "hidden_size": 640,
            "intermediate_size": 2048,
            "num_hidden_layers": 18,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
        },
        268_098_176,
    ),
    "Phi-3 mini": ("phi3", {}, 3_821_079_552),
    "OLMo 2 7B": ("olmo2", {"vocab_size": 100_352}, 7_298_617_344),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_counts_are_those_published(name):
    model_type, settings, n_params = PUBLISHED[name]
    config = AutoConfig.for_model(model_type, **settings)
    assert shape_of(config).n_params_total == n_params
    check_counts(config)


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
        "hidden_norms": 2,
        "head_norms": 0,
        "attention_norm": False,
        "query_bias": False,
        "output_bias": False,
        "ffn_bias": False,
    }


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_family_names_all_parts_that_a_model_has_and_their_sizes(make_family_model, model_type):
    model = make_family_model(model_type)
    family, shape = family_of(model.config), shape_of(model.config)
    blocks = model.get_submodule(family.blocks)
    assert [block.get_submodule(family.attention).layer_idx for block in blocks] == list(range(6))
    sizes = {
        "hidden": shape.hidden_size,
        "ffn": shape.ffn_size,
        "query": shape.query_size,
        "key_value": shape.key_value_size,
        "head": shape.head_dim,
        "vocabulary": shape.vocab_size,
    }
    for parts, parent in ((family.ends, model), *((family.block, block) for block in blocks)):
        for part in parts:
            rows = sum(sizes[axis] for axis in part.rows)
            expected = (rows, sizes[part.columns]) if part.columns else (rows,)
            assert tuple(parent.get_submodule(part.path).weight.shape) == expected
    assert {f"{part.path}.weight" for part in family.block} == {
        name for name, _ in blocks[0].named_parameters() if not name.endswith("bias")
    }
    assert {family.attention_output, family.ffn_output} <= {part.path for part in family.linears}


@pytest.mark.parametrize("model_type", FAMILIES)
def test_the_layers_that_share_an_input_are_told(model_type):
    family = FAMILIES[model_type]
    attention = ("qkv_proj",) if model_type == "phi3" else ("q_proj", "k_proj", "v_proj")
    ffn = ("gate_up_proj",) if model_type == "phi3" else ("gate_proj", "up_proj")
    assert [tuple(part.path.split(".")[1] for part in parts) for parts in family.inputs] == [
        attention,
        ("o_proj",),
        ffn,
        ("down_proj",),
    ]


@pytest.mark.parametrize(
    ("model_type", "advice"),
    [
        ("gpt2", "Use a model with one of these as model_type"),
        ("gemma2", "Use a model with one of these as model_type"),
        ("mixtral", "It is a mixture of experts: use a dense model"),
        ("qwen3_moe", "It is a mixture of experts: use a dense model"),
        ("olmoe", "It is a mixture of experts: use a dense model"),
        ("gemma3", r"its text-only checkpoints \(Gemma3ForCausalLM, gemma3_text\) are: use one"),
        ("mistral3", "Use a text-only model"),
    ],
)
def test_another_architecture_is_refused_with_what_to_do(model_type, advice):
    config = AutoConfig.for_model(model_type)
    known = "knows llama, mistral, qwen2, qwen3, gemma3_text, phi3, olmo2"
    for ask in (shape_of, family_of):
        with pytest.raises(ModelError, match=rf"'{model_type}' is not supported: prunescale {known}\. .*{advice}") as caught:
            ask(config)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("quantisation", "method"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq"),
        ({"load_in_8bit": True}, "how, is not said"),
        (BitsAndBytesConfig(load_in_8bit=True), "bitsandbytes"),
    ],
    ids=["gptq", "unnamed", "bitsandbytes"],
)
def test_quantised_weights_are_refused(quantisation, method):
    config = AutoConfig.for_model("llama", **SIZES)
    config.quantization_config = quantisation
    with pytest.raises(ModelError, match=rf"quantised \({method}\), and such weights cannot be pruned: use the model that they"):
        shape_of(config)
    config.quantization_config = None
    assert shape_of(config).n_layers == 3
