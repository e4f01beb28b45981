"""The model families that we know, as data: where a family keeps its blocks. The algorithms have one vocabulary; this translates."""

from dataclasses import dataclass
from typing import Any

from prunescale.errors import ModelError
from prunescale.shape import ModelShape


@dataclass(frozen=True)
class Family:
    """Where a family keeps its parts, as dotted paths from the causal-LM model or, below `blocks`, from a block."""

    blocks: str
    attention: str
    per_block_settings: tuple[str, ...] = ()
    """Entries of the configuration that are lists with one value a block, and must lose those of the blocks dropped."""


LLAMA = Family(blocks="model.layers", attention="self_attn", per_block_settings=("layer_types",))

FAMILIES = {"llama": LLAMA}
"""By `model_type` of the Hugging Face configuration."""


def family_of(config: Any) -> Family:
    """The family of a model configuration. Raises ModelError, with the families that we know, for any other."""
    if config.model_type not in FAMILIES:
        raise ModelError(
            f"The architecture {config.model_type!r} is not supported: prunescale knows {', '.join(sorted(FAMILIES))}. "
            "Use a model whose config.json has one of these as model_type."
        )
    return FAMILIES[config.model_type]


def shape_of(config: Any) -> ModelShape:
    """The sizes of a Llama-shaped model, from its Hugging Face configuration."""
    family_of(config)
    if config.attention_bias or config.mlp_bias:
        raise ModelError("Linear layers with biases are not supported: use a model whose attention_bias and mlp_bias are false.")
    return ModelShape(
        n_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        ffn_size=config.intermediate_size,
        n_heads=config.num_attention_heads,
        n_kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        vocab_size=config.vocab_size,
        tied_embeddings=config.tie_word_embeddings,
    )
