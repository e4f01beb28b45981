"""Taking parts out of a model, in place, so that what is left is an ordinary model of the same family."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from prunescale.models import Family


def drop_blocks_(model: Any, family: Family, blocks: Sequence[int]) -> None:
    """Remove blocks (counted from 0) from a model, in place, and make its configuration say so.

    The attention of each block left gets its new place in the order, since the key-value cache is looked up by it.
    """
    parent_path, _, name = family.blocks.rpartition(".")
    parent = model.get_submodule(parent_path)
    old = getattr(parent, name)
    keep = [index for index in range(len(old)) if index not in set(blocks)]
    setattr(parent, name, nn.ModuleList(old[index] for index in keep))
    for new_index, block in enumerate(getattr(parent, name)):
        block.get_submodule(family.attention).layer_idx = new_index
    model.config.num_hidden_layers = len(keep)
    for setting in family.per_block_settings:
        values = getattr(model.config, setting, None)
        if values is not None:
            setattr(model.config, setting, [values[index] for index in keep])
