"""The model families that we know, as data: where a family keeps its parts and what their dimensions are. The algorithms have
one vocabulary; this translates."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from prunescale.errors import ModelError
from prunescale.shape import ModelShape

Axis = Literal["hidden", "ffn", "query", "key_value", "head", "vocabulary"]
"""What a dimension of a parameter runs over: the hidden size, the feed-forward channels, all query heads (heads x head size), all
key or value heads, the entries of one head, the vocabulary."""


@dataclass(frozen=True)
class Part:
    """A module with a weight: a linear layer or embedding with rows and columns, or a norm, which has rows only. A bias goes by
    the rows. A fused projection has several axes behind one another in its rows."""

    path: str
    rows: tuple[Axis, ...]
    columns: Axis | None = None

    @property
    def is_linear(self) -> bool:
        return self.columns is not None

    @property
    def input(self) -> tuple[str, str | None]:
        """Alike for the linear layers of a block that read the same input: query, key and value; gate and up."""
        return self.path.split(".")[0], self.columns


@dataclass(frozen=True)
class Family:
    """Where a family keeps its parts, as dotted paths from the causal-LM model or, for those of `block`, from a block."""

    block: tuple[Part, ...]
    blocks: str = "model.layers"
    attention: str = "self_attn"
    attention_output: str = "self_attn.o_proj"
    ffn_output: str = "mlp.down_proj"
    embedding: Part = Part("model.embed_tokens", ("vocabulary",), "hidden")
    norm: Part = Part("model.norm", ("hidden",))
    head: Part = Part("lm_head", ("vocabulary",), "hidden")
    norm_offset: float = 0.0
    """What a norm adds to its weight before it multiplies with it."""
    scaled_embedding: bool = False
    """Whether the embedding is multiplied with the square root of the hidden size."""
    query_bias: bool = False
    """Whether the projections to queries, keys and values have biases that no configuration can do without."""
    optional_biases: tuple[str, ...] = ("attention_bias",)
    """Entries of the configuration that give biases to the layers of the attention or of the feed-forward. Others may have
    these entries too, and take no notice of them."""
    per_block_settings: tuple[str, ...] = ("layer_types",)
    """Entries of the configuration that are lists with one value a block, and must lose those of the blocks dropped."""

    @property
    def ends(self) -> tuple[Part, ...]:
        """The parts outside the blocks."""
        return self.embedding, self.norm, self.head

    @property
    def linears(self) -> tuple[Part, ...]:
        """The linear layers of a block."""
        return tuple(part for part in self.block if part.is_linear)

    @property
    def inputs(self) -> tuple[tuple[Part, ...], ...]:
        """The linear layers of a block, those that read the same input together."""
        groups: dict[object, list[Part]] = {}
        for part in self.linears:
            groups.setdefault(part.input, []).append(part)
        return tuple(map(tuple, groups.values()))

    def norms_of(self, axis: Axis) -> int:
        """How many norms a block has over an axis."""
        return Counter(part.rows for part in self.block if not part.is_linear)[(axis,)]


ATTENTION = (
    Part("self_attn.q_proj", ("query",), "hidden"),
    Part("self_attn.k_proj", ("key_value",), "hidden"),
    Part("self_attn.v_proj", ("key_value",), "hidden"),
    Part("self_attn.o_proj", ("hidden",), "query"),
)
FFN = (
    Part("mlp.gate_proj", ("ffn",), "hidden"),
    Part("mlp.up_proj", ("ffn",), "hidden"),
    Part("mlp.down_proj", ("hidden",), "ffn"),
)
TWO_NORMS = (Part("input_layernorm", ("hidden",)), Part("post_attention_layernorm", ("hidden",)))
HEAD_NORMS = (Part("self_attn.q_norm", ("head",)), Part("self_attn.k_norm", ("head",)))

LLAMA = Family(block=(*ATTENTION, *FFN, *TWO_NORMS), optional_biases=("attention_bias", "mlp_bias"))
MISTRAL = Family(block=LLAMA.block, optional_biases=())
QWEN2 = Family(block=LLAMA.block, optional_biases=(), query_bias=True)
QWEN3 = Family(block=(*ATTENTION, *FFN, *TWO_NORMS, *HEAD_NORMS))
GEMMA3 = Family(
    block=(
        *ATTENTION,
        *FFN,
        *TWO_NORMS,
        *HEAD_NORMS,
        Part("pre_feedforward_layernorm", ("hidden",)),
        Part("post_feedforward_layernorm", ("hidden",)),
    ),
    norm_offset=1.0,
    scaled_embedding=True,
)
PHI3 = Family(
    block=(
        Part("self_attn.qkv_proj", ("query", "key_value", "key_value"), "hidden"),
        Part("self_attn.o_proj", ("hidden",), "query"),
        Part("mlp.gate_up_proj", ("ffn", "ffn"), "hidden"),
        Part("mlp.down_proj", ("hidden",), "ffn"),
        *TWO_NORMS,
    ),
    optional_biases=(),
)
OLMO2 = Family(
    block=(
        *ATTENTION,
        *FFN,
        Part("self_attn.q_norm", ("query",)),
        Part("self_attn.k_norm", ("key_value",)),
        Part("post_attention_layernorm", ("hidden",)),
        Part("post_feedforward_layernorm", ("hidden",)),
    )
)

FAMILIES = {
    "llama": LLAMA,  # Llama 1 to 3.x, SmolLM2
    "mistral": MISTRAL,
    "qwen2": QWEN2,  # and 2.5
    "qwen3": QWEN3,
    "gemma3_text": GEMMA3,
    "phi3": PHI3,
    "olmo2": OLMO2,
}
"""By `model_type` of the Hugging Face configuration."""


def family_of(config: Any) -> Family:
    """The family of a model configuration. Raises ModelError for any other, and for quantised weights."""
    if config.model_type not in FAMILIES:
        raise ModelError(
            f"The architecture {config.model_type!r} is not supported: prunescale knows {', '.join(FAMILIES)}. {instead_of(config)}"
        )
    quantisation = getattr(config, "quantization_config", None)
    if quantisation:
        settings = quantisation if isinstance(quantisation, dict) else quantisation.to_dict()
        method = settings.get("quant_method", "how, is not said")
        method = getattr(method, "value", method)
        raise ModelError(
            f"The model's weights are quantised ({method}), and such weights cannot be pruned: use the model that they were made "
            "from, in bfloat16 or float32."
        )
    return FAMILIES[config.model_type]


def instead_of(config: Any) -> str:
    """What to do about an architecture that is not supported."""
    if config.model_type == "gemma3":
        return "Gemma 3 that also sees images is not, its text-only checkpoints (Gemma3ForCausalLM, gemma3_text) are: use one."
    if hasattr(config, "vision_config"):
        return "Use a text-only model with one of these as model_type in config.json."
    if any(hasattr(config, name) for name in ("num_experts", "num_local_experts", "n_routed_experts")):
        return "It is a mixture of experts: use a dense model with one of these as model_type in config.json."
    return "Use a model with one of these as model_type in config.json."


def shape_of(config: Any) -> ModelShape:
    """The sizes of a model, from its Hugging Face configuration."""
    family = family_of(config)
    biases = {name: bool(getattr(config, name, False)) for name in family.optional_biases}
    attention_bias = biases.get("attention_bias", False)
    return ModelShape(
        n_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        ffn_size=config.intermediate_size,
        n_heads=config.num_attention_heads,
        n_kv_heads=config.num_key_value_heads,
        head_dim=head_dim_of(config),
        vocab_size=config.vocab_size,
        tied_embeddings=config.tie_word_embeddings,
        hidden_norms=family.norms_of("hidden"),
        head_norms=family.norms_of("head"),
        attention_norm=family.norms_of("query") > 0,
        query_bias=attention_bias or family.query_bias,
        output_bias=attention_bias,
        ffn_bias=biases.get("mlp_bias", False),
    )


def head_dim_of(config: Any) -> int:
    """The size of a head. Some families have no entry for it, or leave it empty: then all heads together are the hidden size."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
