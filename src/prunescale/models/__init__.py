"""Hugging Face models: families as data, checkpoints in and out."""

from prunescale.models.blocks import Blocks, BlocksInMemory, BlocksOnDisk
from prunescale.models.card import size_change
from prunescale.models.checkpoint import (
    Checkpoint,
    ModelFolder,
    load,
    named_from_anywhere,
    read_folder,
    read_lineage,
    save,
    weights_to_load,
)
from prunescale.models.families import FAMILIES, Family, Part, family_of, shape_of
from prunescale.models.folder import LINEAGE_FILE, WeightsWriter, new_folder, refuse_to_overwrite, write_beside
from prunescale.models.fresh import made_from_nothing, shape_of_recipe, tokenizer_at
from prunescale.models.skeleton import assign_, skeleton_of

__all__ = [
    "FAMILIES",
    "LINEAGE_FILE",
    "Blocks",
    "BlocksInMemory",
    "BlocksOnDisk",
    "Checkpoint",
    "Family",
    "ModelFolder",
    "Part",
    "WeightsWriter",
    "assign_",
    "family_of",
    "load",
    "made_from_nothing",
    "named_from_anywhere",
    "new_folder",
    "read_folder",
    "read_lineage",
    "refuse_to_overwrite",
    "save",
    "shape_of",
    "shape_of_recipe",
    "size_change",
    "skeleton_of",
    "tokenizer_at",
    "weights_to_load",
    "write_beside",
]
