"""Hugging Face models: families as data, checkpoints in and out."""

from prunescale.models.checkpoint import LINEAGE_FILE, Checkpoint, load, named_from_anywhere, refuse_to_overwrite, save
from prunescale.models.families import FAMILIES, Family, family_of, shape_of

__all__ = [
    "FAMILIES",
    "LINEAGE_FILE",
    "Checkpoint",
    "Family",
    "family_of",
    "load",
    "named_from_anywhere",
    "refuse_to_overwrite",
    "save",
    "shape_of",
]
