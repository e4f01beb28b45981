"""Pruning: what to remove from a model, and removing it."""

from prunescale.pruning.folder import loss_of_folder, prune_folder
from prunescale.pruning.plan import Calibration, Method, Plan, Request
from prunescale.pruning.prune import METHODS, Pruning, prune

__all__ = ["METHODS", "Calibration", "Method", "Plan", "Pruning", "Request", "loss_of_folder", "prune", "prune_folder"]
