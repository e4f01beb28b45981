"""Training: text to batches, the learning-rate schedule, pruning on the way, the held-out loss, and the loop."""

from prunescale.training.batches import Batches, positions_of
from prunescale.training.callback import KeepZeros
from prunescale.training.corpus import SetAside, tokenize_corpus
from prunescale.training.data import read_tokens
from prunescale.training.distributed import ALONE, Ranks, ranks_of_torchrun, whole_state
from prunescale.training.evaluate import Measured, mean_loss, measure
from prunescale.training.held_out import HeldOut, held_out_set, held_out_windows
from prunescale.training.loop import Curve, Machine, Progress, both, dtype_of, loss_function, train_
from prunescale.training.objective import Teacher, teacher_for
from prunescale.training.peak import matmul_rate
from prunescale.training.recorder import RecordRun
from prunescale.training.resume import RunFolder
from prunescale.training.schedule import Schedule, measured_steps, schedule_of
from prunescale.training.shards import Index, read_shards, refuse_damaged
from prunescale.training.tokenizing import Encoder, end_of_document
from prunescale.training.tokens import Domain, StoredIds, Tokens
from prunescale.training.tracking import Tracker, tracked, tracker
from prunescale.training.zeros import held_zeros, linear_weights

__all__ = [
    "ALONE",
    "Batches",
    "Curve",
    "Domain",
    "Encoder",
    "HeldOut",
    "Index",
    "KeepZeros",
    "Machine",
    "Measured",
    "Progress",
    "Ranks",
    "RecordRun",
    "RunFolder",
    "Schedule",
    "SetAside",
    "StoredIds",
    "Teacher",
    "Tokens",
    "Tracker",
    "both",
    "dtype_of",
    "end_of_document",
    "held_out_set",
    "held_out_windows",
    "held_zeros",
    "linear_weights",
    "loss_function",
    "matmul_rate",
    "mean_loss",
    "measure",
    "measured_steps",
    "positions_of",
    "ranks_of_torchrun",
    "read_shards",
    "read_tokens",
    "refuse_damaged",
    "schedule_of",
    "teacher_for",
    "tokenize_corpus",
    "tracked",
    "tracker",
    "train_",
    "whole_state",
]
