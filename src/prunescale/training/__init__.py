"""Training: text to batches, the learning-rate schedule, the held-out loss, and the loop."""

from prunescale.training.data import Tokens, held_out_windows, read_tokens, training_batches
from prunescale.training.evaluate import mean_loss, summed_loss
from prunescale.training.loop import Curve, loss_function, train_
from prunescale.training.schedule import Schedule, measured_steps, schedule_of
from prunescale.training.zeros import held_zeros, linear_weights

__all__ = [
    "Curve",
    "Schedule",
    "Tokens",
    "held_out_windows",
    "held_zeros",
    "linear_weights",
    "loss_function",
    "mean_loss",
    "measured_steps",
    "read_tokens",
    "schedule_of",
    "summed_loss",
    "train_",
    "training_batches",
]
