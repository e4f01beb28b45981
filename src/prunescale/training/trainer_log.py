"""What the arguments, the data and the log of a Hugging Face Trainer say of a training: tokens, learning rates, phases, seconds."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from prunescale.errors import TrainingError
from prunescale.runs import Phase, Point
from prunescale.runs.importers.phases import phases_of

LOSS, STEP, RATE, TOKENS = "eval_loss", "step", "learning_rate", "num_input_tokens_seen"
"""What the Trainer calls them in its log."""

SETTINGS = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "world_size",
    "max_steps",
    "num_train_epochs",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "max_grad_norm",
    "optim",
    "bf16",
    "fp16",
    "seed",
    "data_seed",
)
"""Arguments of the Trainer that shape a curve."""


@dataclass(frozen=True)
class Evaluated:
    """The held-out loss, nats per token, after so many tokens. seconds: of training until then, None where nobody counted."""

    n_tokens: int
    loss: float
    seconds: float | None


def points_of(evaluated: Mapping[int, Evaluated], rates: Mapping[int, float], last_step: int) -> tuple[Point, ...]:
    """Evaluations by step as points of a run, with what the rates by step tell of each. The last step of a decay makes a finished model."""
    steps = sorted(rates)
    phases = phases_of([rates[step] for step in steps]) or ["constant"] * len(steps)
    found = []
    for step, measured in sorted(evaluated.items()):
        if step == 0:
            found.append(Point(0, measured.loss, 0.0, "before", measured.seconds))
            continue
        known = max((place for place, at in enumerate(steps) if at <= step), default=0)
        phase: Phase = "annealed" if step == last_step and phases[known] == "decay" else phases[known]
        found.append(Point(measured.n_tokens, measured.loss, rates[steps[known]], phase, measured.seconds))
    return tuple(found)


def past_rates(state: Any, scheduler: Any) -> dict[int, float]:
    """The learning rates of the steps before a training goes on from a checkpoint, by step: as the schedule has them, where it is a
    function of the step, as all of the Trainer's are that do not look at the loss; else those that were logged."""
    if isinstance(scheduler, LambdaLR):
        base, factor = scheduler.base_lrs[0], scheduler.lr_lambdas[0]
        return {step: float(base * factor(step - 1)) for step in range(1, state.global_step + 1)}
    return {entry[STEP]: entry[RATE] for entry in state.log_history if RATE in entry}


def past_evaluations(state: Any, tokens_per_step: int) -> dict[int, Evaluated]:
    """Those in the log, by step; without their seconds, which it does not have."""
    entries = [entry for entry in state.log_history if LOSS in entry]
    return {e[STEP]: Evaluated(int(e.get(TOKENS, e[STEP] * tokens_per_step)), e[LOSS], None) for e in entries}


def tokens_per_step(args: Any, state: Any, sequence_length: int) -> int:
    """Batch size times gradient accumulation, processes and sequence length."""
    n_sequences = (state.train_batch_size or args.train_batch_size) * args.gradient_accumulation_steps * args.world_size
    return n_sequences * sequence_length


def length_of_rows(dataloader: Any) -> int:
    """The sequence length of the training data, in tokens. Raises TrainingError where the data does not tell it."""
    data: Any = getattr(dataloader, "dataset", None)
    try:
        lengths = {len(data[place]["input_ids"]) for place in (0, len(data) // 2, len(data) - 1)}
    except (TypeError, KeyError, IndexError, NotImplementedError):
        lengths = set()
    if len(lengths) == 1:
        return lengths.pop()
    found = f"rows of {', '.join(map(str, sorted(lengths)))} tokens" if lengths else "no rows that can be looked up"
    raise TrainingError(f"The training data has {found}: tell RecordRun the sequence_length, in tokens.")


def refuse_without_curve(args: Any) -> None:
    """Raise TrainingError for arguments of a Trainer from which no loss curve in nats per token could come."""
    if str(getattr(args.eval_strategy, "value", args.eval_strategy)) == "no":
        raise TrainingError(
            'The Trainer is not to evaluate, and a run needs held-out losses: set eval_strategy="steps" and eval_steps.'
        )
    if args.label_smoothing_factor:
        raise TrainingError(
            f"With label_smoothing_factor {args.label_smoothing_factor:g} the eval_loss is not in nats per token: set it to 0."
        )


def settings_of(args: Any) -> dict[str, Any]:
    """The arguments that shape a curve, as plain values."""
    found = {name: getattr(args, name, None) for name in SETTINGS}
    plain = {name: getattr(value, "value", value) for name, value in found.items()}
    return {name: value for name, value in plain.items() if value is not None}


class Stopwatch:
    """Seconds of steps, fetching their data included; what comes between two steps counts only where nothing else was done in it."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds = device, 0.0
        self._since: float | None = None

    def start(self) -> None:
        """A step begins."""
        if self._since is None:
            self._since = time.perf_counter()

    def lap(self, *, wait: bool) -> None:
        """A step has ended. wait: for the GPU to have done it too, before something else begins."""
        if wait and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.seconds += now - (now if self._since is None else self._since)
        self._since = now

    def pause(self) -> None:
        """Something else was done since."""
        self._since = None
