"""Which units of a model's width to drop: feed-forward channels, heads, entries of the residual stream.

Each block drops channels and heads of its own choice, the same number in each, as the configurations of these families have one size
for all blocks. The residual stream runs through all blocks, so its entries are chosen once.

Letters of shapes: K blocks, U units, D hidden size.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from prunescale.errors import PruningError
from prunescale.models import Blocks, shape_of
from prunescale.models.families import Axis
from prunescale.pruning.cut import Kept, cut_block, cut_ends
from prunescale.pruning.importance import importances
from prunescale.pruning.plan import Calibration, Method, Request, refuse_options
from prunescale.pruning.sizes import AXES, head_units, sizes_for_rate
from prunescale.shape import ModelShape

DEFAULT_AXES = ("ffn",)
"""Most parameters are there, and every size is allowed."""


@dataclass
class WidthPlan:
    """Some units of each block are left out, or some entries of the residual stream. kept: what stays of each block.
    before, after: the sizes."""

    config: Any
    kept: list[Kept]
    before: ModelShape
    after: ModelShape
    importance: Mapping[str, Tensor]
    facts: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        before = asdict(self.before)
        self.facts = {"sizes": {name: size for name, size in asdict(self.after).items() if size != before[name]}}

    def block_tensors(self, blocks: Blocks) -> Iterator[dict[str, Tensor]]:
        for index, kept in enumerate(self.kept):
            with blocks.resident(index) as block:
                yield cut_block(dict(block.named_parameters()), blocks.family, self.before, kept)

    def ends(self, blocks: Blocks) -> dict[str, Tensor]:
        return cut_ends(blocks.ends(), blocks.family, self.before, self.kept[0])


def plan_width(method: str, blocks: Blocks, calibration: Calibration, request: Request) -> WidthPlan:
    """The plan to drop the units of the lowest scores along the axes asked for (default: DEFAULT_AXES), as many as come nearest to
    the rate."""
    refuse_options(request, pattern=False, scope=False)
    axes = DEFAULT_AXES if request.axes is None else request.axes
    check_axes(axes)
    config, before = blocks.model.config, shape_of(blocks.model.config)
    after = sizes_for_rate(request, axes, lambda shape: is_accepted(config_of_shape(config, shape)))
    importance = importances(blocks, calibration, method)
    kept = [kept_of_block(importance, index, before, after) for index in range(len(blocks))]
    return WidthPlan(config_of_shape(config, after), kept, before, after, importance)


def check_axes(axes: tuple[str, ...]) -> None:
    """Raise PruningError for axes that are none of ours, twice the same, or none at all."""
    if not axes or len(set(axes)) < len(axes) or not set(axes) <= set(AXES):
        raise PruningError(f"Axes are one or more of {', '.join(AXES)}, each once; got {', '.join(axes) or 'none'}.")


def kept_of_block(importance: Mapping[str, Tensor], index: int, before: ModelShape, after: ModelShape) -> Kept:
    """The entries that stay along each axis of a block which shrinks. Query heads lie group by group, so a unit of heads is a run of
    entries both of the queries and of the keys and values."""
    kept: dict[Axis, Tensor] = {}
    if after.hidden_size < before.hidden_size:
        kept["hidden"] = highest(importance["hidden"], after.hidden_size)
    if after.ffn_size < before.ffn_size:
        kept["ffn"] = highest(importance["ffn"][index], after.ffn_size)
    if after.n_heads < before.n_heads:
        n_units = after.n_heads * head_units(before) // before.n_heads
        units = highest(importance["heads"][index], n_units)
        kept["query"] = entries(units, before.query_size // head_units(before))
        if after.n_kv_heads < before.n_kv_heads:
            kept["key_value"] = entries(units, before.head_dim)
    return kept


def highest(scores_U: Tensor, n: int) -> Tensor:
    """Where the n highest scores are, in ascending order; of equal scores the earlier stays."""
    return scores_U.argsort(descending=True, stable=True)[:n].sort().values


def entries(units: Tensor, size: int) -> Tensor:
    """The entries of units that are runs of `size`."""
    return (units[:, None] * size + torch.arange(size)).flatten()


def config_of_shape(config: Any, shape: ModelShape) -> Any:
    """A copy of a configuration with the sizes of a shape. The head size is no longer hidden size / heads, so it is said."""
    config = copy.deepcopy(config)
    config.hidden_size = shape.hidden_size
    config.intermediate_size = shape.ffn_size
    if (config.num_attention_heads, config.num_key_value_heads) != (shape.n_heads, shape.n_kv_heads):
        config.num_attention_heads, config.num_key_value_heads = shape.n_heads, shape.n_kv_heads
    if config.hidden_size // config.num_attention_heads != shape.head_dim or hasattr(config, "head_dim"):
        config.head_dim = shape.head_dim
    return config


def is_accepted(config: Any) -> bool:
    """Whether transformers saves and loads such a configuration: for Llama and Gemma the hidden size must be divisible by the number
    of heads, and for Phi-3 with long RoPE their ratio must be the head size, though the models themselves would work without."""
    try:
        config.validate()
    except Exception:  # of huggingface_hub, whose classes of errors have moved between versions
        return False
    return True


WIDTH: dict[str, Method] = {
    name: Method("width", summary, source, partial(plan_width, name), calibrated)
    for name, summary, source, calibrated in (
        ("width-activation", "units of small activations", "Muralidharan et al. 2024, arXiv:2407.14679", True),
        ("width-wanda", "units of which little is read: weights times inputs", "Sun et al. 2023, arXiv:2306.11695", True),
        ("width-magnitude", "units of small weights", "Li et al. 2017, arXiv:1608.08710", False),
        ("width-taylor", "units that cost the loss least, to first order", "Molchanov et al. 2019, arXiv:1906.10771", True),
    )
}
