"""Recipes run: one, or all those of a study, here or on many machines."""

from prunescale.study import Planned, Study
from prunescale.sweep.begin import held_out_loss, refuse_long_sequences
from prunescale.sweep.driver import Entry, Settings, entries_of, refuse_impossible, sweep
from prunescale.sweep.engines import Engine, InProcess, Pending, Processes
from prunescale.sweep.job import Job, Outcome, carry_out
from prunescale.sweep.one import run_recipe
from prunescale.sweep.record import record
from prunescale.training import Progress

__all__ = [
    "Engine",
    "Entry",
    "InProcess",
    "Job",
    "Outcome",
    "Pending",
    "Planned",
    "Processes",
    "Progress",
    "Settings",
    "Study",
    "carry_out",
    "entries_of",
    "held_out_loss",
    "record",
    "refuse_impossible",
    "refuse_long_sequences",
    "run_recipe",
    "sweep",
]
