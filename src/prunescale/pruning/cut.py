"""Cutting the parameters of a model along axes, so that dropping what is zero everywhere changes nothing.

Letters of shapes: O outputs (rows), I inputs (columns).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from prunescale.models import Family, Part
from prunescale.models.families import Axis
from prunescale.shape import ModelShape

Kept = Mapping[Axis, Tensor]
"""What stays of the axes that are cut: indices in ascending order. An axis that isn't named stays whole."""


def axis_sizes(shape: ModelShape) -> dict[Axis, int]:
    return {
        "hidden": shape.hidden_size,
        "ffn": shape.ffn_size,
        "query": shape.query_size,
        "key_value": shape.key_value_size,
        "head": shape.head_dim,
        "vocabulary": shape.vocab_size,
    }


def cut_block(tensors: Mapping[str, Tensor], family: Family, shape: ModelShape, kept: Kept) -> dict[str, Tensor]:
    """The parameters of a block, named from it, without what goes; in storage of their own. shape: that of the model as it was."""
    return cut_parts(tensors, family.block, family, shape, kept)


def cut_ends(tensors: Mapping[str, Tensor], family: Family, shape: ModelShape, kept: Kept) -> dict[str, Tensor]:
    """The parameters outside the blocks, named from the model, without what goes; in storage of their own.

    Where a family multiplies its embedding with sqrt(D), the embedding makes up for a smaller D, and for that in turn the norm before
    a head which is tied to it.
    """
    cut = cut_parts(tensors, family.ends, family, shape, kept)
    if family.scaled_embedding and "hidden" in kept:
        growth = growth_of(family.norm.rows[0], shape, kept)
        embedding, norm = f"{family.embedding.path}.weight", f"{family.norm.path}.weight"
        cut[embedding] = scaled(cut[embedding], growth)
        if shape.tied_embeddings:
            cut[norm] = scaled(cut[norm], 1 / growth, family.norm_offset)
    return cut


def cut_parts(
    tensors: Mapping[str, Tensor], parts: tuple[Part, ...], family: Family, shape: ModelShape, kept: Kept
) -> dict[str, Tensor]:
    """Parameters without what goes. A norm divides by the root of the mean square of its entries, which grows when zeros go:
    its weight grows as much."""
    cut = {}
    for part in parts:
        rows = rows_kept(part, shape, kept)
        for kind in ("weight", "bias"):
            name = f"{part.path}.{kind}"
            if name not in tensors:
                continue
            value = tensors[name].detach()
            if rows is not None:
                value = value.index_select(0, rows.to(value.device))
            if kind == "weight" and part.columns is not None and part.columns in kept:
                value = value.index_select(1, kept[part.columns].to(value.device))
            if rows is not None and not part.is_linear:
                value = scaled(value, growth_of(part.rows[0], shape, kept), family.norm_offset)
            cut[name] = value.clone() if value.data_ptr() == tensors[name].data_ptr() else value
    return cut


def rows_kept(part: Part, shape: ModelShape, kept: Kept) -> Tensor | None:
    """Which rows of a part stay; None for all. Those of a fused projection have its axes behind one another."""
    if not any(axis in kept for axis in part.rows):
        return None
    sizes = axis_sizes(shape)
    chosen, start = [], 0
    for axis in part.rows:
        chosen.append(start + (kept[axis].cpu() if axis in kept else torch.arange(sizes[axis])))
        start += sizes[axis]
    return torch.cat(chosen)


def growth_of(axis: Axis, shape: ModelShape, kept: Kept) -> float:
    """By what the root of the mean square over an axis grows when the entries that go are zero: sqrt(size before / after)."""
    return float((axis_sizes(shape)[axis] / len(kept[axis])) ** 0.5)


def scaled(weight: Tensor, factor: float, offset: float = 0.0) -> Tensor:
    """The weight that has `factor` times the effect, where `offset` is added before it is used. Rounded once, to its own dtype."""
    return ((weight.double() + offset) * factor - offset).to(weight.dtype)
