"""Recipes run: one so far, many later."""

from prunescale.sweep.one import held_out_loss, record, refuse_long_sequences, run_recipe
from prunescale.training import Progress

__all__ = ["Progress", "held_out_loss", "record", "refuse_long_sequences", "run_recipe"]
