"""What to prune and how to train: a recipe, its TOML file and its hash."""

from prunescale.recipe.recipe import Recipe, hash_of, overridden, text_of, with_overrides
from prunescale.recipe.sections import SECTIONS, DistillRecipe, ModelRecipe, PruneRecipe, SparseRecipe, TrainRecipe

__all__ = [
    "SECTIONS",
    "DistillRecipe",
    "ModelRecipe",
    "PruneRecipe",
    "Recipe",
    "SparseRecipe",
    "TrainRecipe",
    "hash_of",
    "overridden",
    "text_of",
    "with_overrides",
]
