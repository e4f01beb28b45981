"""Pruning: what to remove from a model, and removing it."""

from prunescale.pruning.depth import METHODS, DepthChoice, blocks_for_rate, rate_of_blocks
from prunescale.pruning.prune import Pruning, prune

__all__ = ["METHODS", "DepthChoice", "Pruning", "blocks_for_rate", "prune", "rate_of_blocks"]
