"""The training loop: post-training and sparse pre-training, on a CPU, a GPU or many, with the held-out loss measured on the way."""

import math
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor

from prunescale.devices import device_name
from prunescale.errors import TrainingError, TrainingStopped
from prunescale.models import shape_of
from prunescale.recipe import SparseRecipe, TrainRecipe
from prunescale.runs import Phase, Point
from prunescale.training.batches import Batches
from prunescale.training.data import Tokens
from prunescale.training.distributed import ALONE, Ranks, call_by_name_, fill_, is_without_weights, shard_
from prunescale.training.evaluate import RowLosses, measure
from prunescale.training.forward import fast_attention, window_of
from prunescale.training.held_out import held_out_set
from prunescale.training.objective import Computing, Teacher, row_losses, summed_loss, summed_loss_with_teacher
from prunescale.training.resume import Position, RunFolder
from prunescale.training.schedule import Cooldown, measured_steps, schedule_of
from prunescale.training.sparse import Sparse
from prunescale.training.state import State, adamw, set_rate_
from prunescale.training.step import Step, SummedLoss, recorded, thrown_away
from prunescale.training.zeros import held_zeros

LOOKED_AT_EVERY = 16
"""Steps from one look at the training loss to the next: each look waits for the GPU."""


@dataclass(frozen=True)
class Machine:
    """What a training runs on, which does not change what comes out but for rounding. ranks: the processes that share it. part_tokens: of
    this process's rows of a batch, at most so many tokens are computed at once, for memory; all if None. recompute: blocks anew in
    the backward pass, for memory too. save_seconds: between checkpoints. should_stop: asked after each step (by several processes,
    after each 16); where it says so, a checkpoint is written and TrainingStopped raised."""

    device: torch.device
    ranks: Ranks = ALONE
    part_tokens: int | None = None
    recompute: bool = False
    save_seconds: float = 600.0
    should_stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Progress:
    """Who is told what while a recipe runs: `stage` gets a few words when a new stage begins, `note` a sentence that is to be read,
    `begin` the tokens that were trained on already and the floating-point operations of a token, `step` the tokens trained on so
    far, `train_loss` these and the loss of a batch now and then, `point` each measurement."""

    stage: Callable[[str], None] = lambda words: None
    note: Callable[[str], None] = lambda sentence: None
    begin: Callable[[int, float], None] = lambda n_tokens, flops_per_token: None
    step: Callable[[int], None] = lambda n_tokens: None
    train_loss: Callable[[int, float], None] = lambda n_tokens, loss: None
    point: Callable[[Point], None] = lambda point: None


def both(one: Progress, other: Progress) -> Progress:
    """Tells both, in this order."""

    def told(first: Callable[..., None], second: Callable[..., None]) -> Callable[..., None]:
        def tell(*what: Any) -> None:
            first(*what)
            second(*what)

        return tell

    return Progress(**{each.name: told(getattr(one, each.name), getattr(other, each.name)) for each in fields(Progress)})


@dataclass(frozen=True)
class Curve:
    """What training measured. seconds and tokens_per_second: of training alone, without evaluations and compiling. n_tokens: trained
    on in all, branches included. left: weights of the linear layers that are not pruned, from so many tokens on; empty where nothing
    was pruned in training."""

    points: tuple[Point, ...]
    seconds: float
    tokens_per_second: float
    peak_memory_bytes: int
    device: str
    n_tokens: int = 0
    left: tuple[tuple[int, int], ...] = ()


def train_(
    model: Any,
    tokens: Tokens,
    held_out: Tokens,
    recipe: TrainRecipe,
    *,
    machine: Machine,
    keep_zeros: bool = False,
    head_was_pruned: bool = False,
    sparse: SparseRecipe | None = None,
    teacher: Teacher | None = None,
    weights: Path | None = None,
    folder: RunFolder | None = None,
    progress: Progress | None = None,
) -> Curve:
    """Train a model in place, and return its loss curve: the held-out loss before training, at log-spaced token counts, at the ends of
    cooldowns, and at the end.

    Weights and optimiser stay in float32; on a GPU the products run in bfloat16 and the loss function is compiled, unless the
    recipe says otherwise. keep_zeros: whether weights of linear layers in the blocks that are zero stay so; what train.keep_zeros
    says of it is for the caller to read, who knows whether the model was pruned, and its head with it. sparse: pruning on the way.
    weights: the Hugging Face folder of those of a model that is spread over processes and has come without. folder: where
    measurements and checkpoints are kept; a training that was begun there goes on from its last checkpoint.

    Raises DataError for too little text, TrainingError where there are no zeros to keep, and where a loss or a gradient is not a number,
    TrainingStopped where the machine says so.
    """
    progress, ranks, device = progress or Progress(), machine.ranks, machine.device
    refuse_windows(model.config, recipe)
    schedule, batch_tokens = schedule_of(recipe), recipe.batch_tokens
    n_sequences = batch_tokens // recipe.sequence_length
    refuse_uneven(n_sequences, ranks)
    held_out_windows = held_out_set(held_out, recipe.sequence_length, recipe.held_out_tokens)
    batches = Batches(near(tokens, device), recipe.sequence_length, n_sequences, recipe.seed)

    model = model.to(device=device if ranks.n == 1 else None, dtype=torch.float32).train()
    how = computing(recipe, tokens, machine)
    loss, losses = loss_functions_(model, how, teacher, machine, compiled=is_compiled(recipe, device))
    if is_without_weights(model):
        fill_(model, weights, device)
    pruner = Sparse.of(sparse, model, schedule.n_steps, ranks) if sparse else None
    held = pruner.held if pruner else held_zeros(model, ranks, head=head_was_pruned) if keep_zeros else []
    state = State(model, adamw(model, recipe), held)
    parts = n_parts(n_sequences // ranks.n, recipe, machine)
    step = Step(loss, state, recipe.clip, ranks, parts)

    position = folder.load_(state, progress.note) if folder else Position()
    if position.step:
        progress.note(f"Goes on after {position.step * batch_tokens:,} tokens.")
    points = folder.points() if folder else []
    left = list(position.left) or ([(0, pruner.n_linear)] if pruner else [])
    clock, branch_seconds = Clock(device, position.seconds), [position.branch_seconds]

    def rows(number: int) -> Tensor:
        return sent(batches.rows(number, ranks.rank, ranks.n), device)

    def is_known(number: int, phase: Phase) -> bool:
        """Whether it was measured already, before the training was cut off."""
        return any(point.n_tokens == number * batch_tokens and point.phase == phase for point in points)

    def measured(number: int, phase: Phase, learning_rate: float, seconds: float) -> None:
        """Measure, keep and tell."""
        if is_known(number, phase):
            return
        n_tokens = number * batch_tokens
        model.eval()  # a model with dropout is measured without
        found = measure(losses, held_out_windows, batch=n_sequences // ranks.n // parts, device=device, ranks=ranks)
        model.train()
        refuse_no_number(found.loss, "held-out loss", n_tokens, recipe, folder)
        points.append(Point(n_tokens, found.loss, learning_rate, phase, seconds, found.domains))
        if folder:
            folder.add(points[-1])
        progress.point(points[-1])

    def looked_at(result: Tensor, number: int) -> None:
        train_loss, size = (ranks.sum(result) / ranks.n).tolist()
        refuse_no_number(train_loss, "training loss", number * batch_tokens, recipe, folder)
        refuse_no_number(size, "norm of the gradients", number * batch_tokens, recipe, folder)
        progress.train_loss(number * batch_tokens, train_loss)

    def cooled_down(cooldown: Cooldown) -> None:
        """A branch: the learning rate falls, the loss is measured, and the training goes on from where the branch left it."""
        trunk = state.copy()
        begun = folder.load_(state, progress.note, branch=cooldown.end) if folder else Position()
        branch_clock = Clock(device, clock.seconds + begun.branch_seconds)
        branch_clock.start()
        for number in range(max(begun.step, cooldown.start) + 1, cooldown.end + 1):
            set_rate_(state.optimizer, cooldown.learning_rate(number))
            result = update(rows(number))
            if pruner and number in pruner.at:
                pruner.prune_(number)
            if number < cooldown.end and stops(number):  # what is left of it is done from here on, beside the trunk's checkpoint
                branch_clock.stop()
                if folder:
                    folder.save(state, Position(number, 0.0, branch_clock.seconds - clock.seconds, ()), branch=cooldown.end)
                state.restore_(trunk, cooldown.start)
                stopped(cooldown.start)
        looked_at(result, cooldown.end)
        branch_clock.stop()
        measured(cooldown.end, "annealed", cooldown.learning_rate(cooldown.end), branch_clock.seconds)
        branch_seconds[0] += branch_clock.seconds - clock.seconds
        state.restore_(trunk, cooldown.start)
        if folder:
            folder.forget_branch(cooldown.end)

    def branched(number: int) -> None:
        for cooldown in schedule.branching.get(number, ()):
            if not is_known(cooldown.end, "annealed"):
                cooled_down(cooldown)

    def saved(number: int) -> None:
        if folder:
            folder.save(state, Position(number, clock.seconds, branch_seconds[0], tuple(left)))

    def stops(number: int) -> bool:
        """Whether to stop here. Several processes have to agree, and talk about it now and then."""
        if ranks.n == 1:
            return machine.should_stop()
        return number % LOOKED_AT_EVERY == 0 and ranks.same(machine.should_stop())

    def stopped(number: int) -> NoReturn:
        saved(number)
        raise TrainingStopped(f"Stopped after {number * batch_tokens:,} tokens, as asked.")

    with fast_attention(device):
        measured(0, "before", 0.0, 0.0)
        update: Callable[[Tensor], Tensor] = step
        if position.step < schedule.n_steps:
            update = made_ready(step, rows(position.step + 1), is_recorded=is_recorded(recipe, machine))
        progress.begin(position.step * batch_tokens, flops_per_token(model, recipe))
        wanted, branching = set(measured_steps(recipe)), schedule.branching
        last_saved = time.monotonic()
        branched(position.step)  # where it was stopped in one
        clock.start()
        for number in range(position.step + 1, schedule.n_steps + 1):
            set_rate_(state.optimizer, schedule.learning_rate(number))
            result = update(rows(number))
            if pruner and number in pruner.at:
                left.append((number * batch_tokens, pruner.prune_(number)))
            progress.step(number * batch_tokens)
            is_last, stopping = number == schedule.n_steps, stops(number)
            if not (number % LOOKED_AT_EVERY == 0 or number in wanted or number in branching or is_last or stopping):
                continue
            looked_at(result, number)
            clock.stop()
            if number in wanted:
                measured(number, schedule.phase(number), schedule.learning_rate(number), clock.seconds)
            if stopping and not is_last:
                stopped(number)
            branched(number)
            if ranks.same(time.monotonic() - last_saved > machine.save_seconds) or is_last:
                saved(number)
                last_saved = time.monotonic()
            if not is_last:
                clock.start()
    model.eval()
    points.sort(key=lambda point: (point.n_tokens, point.phase == "annealed"))
    n_tokens, seconds = schedule.n_steps_in_all * batch_tokens, clock.seconds + branch_seconds[0]
    return Curve(
        tuple(points),
        seconds,
        n_tokens / seconds,
        peak_memory(device),
        device_name(machine.device, machine.ranks.n),
        n_tokens,
        tuple(left),
    )


def loss_functions_(
    model: Any, how: Computing, teacher: Teacher | None, machine: Machine, *, compiled: bool
) -> tuple[SummedLoss, RowLosses]:
    """The loss to train on and the losses to measure. Where several processes train the model, it is spread over them, in place."""
    train = partial(summed_loss_with_teacher, how=how, teacher=teacher) if teacher else partial(summed_loss, how=how)
    held_out = partial(row_losses, how=how)
    if machine.ranks.n == 1:
        return made(partial(train, model), compiled), made(partial(held_out, model), compiled)
    shard_(model, machine.device, how.dtype, compiled=compiled)
    call_by_name_(model, "summed_loss", lambda self, ids_BL: train(self, ids_BL))
    call_by_name_(model, "row_losses", lambda self, ids_BL: held_out(self, ids_BL))
    return model.summed_loss, model.row_losses


def made(function: Callable[[Tensor], Tensor], compiled: bool) -> Callable[[Tensor], Tensor]:
    return torch.compile(function, dynamic=False) if compiled else function


def loss_function(
    model: Any,
    device: torch.device,
    *,
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
    compiled: bool = False,
    document_end: int | None = None,
) -> RowLosses:
    """The losses of the rows of a batch, of a model that is only measured. dtype is that of the products; auto takes bfloat16 on a GPU
    only."""
    inner = made(partial(row_losses, model, how=Computing(dtype_of(dtype, device), document_end)), compiled)

    def losses(ids_BL: Tensor) -> Tensor:
        with fast_attention(device):
            return inner(ids_BL)

    return losses


def computing(recipe: TrainRecipe, tokens: Tokens, machine: Machine) -> Computing:
    if recipe.documents_apart and tokens.end is None:
        raise TrainingError(
            "Documents are to be kept apart, but the tokenizer has no token that ends one: leave train.documents_apart out."
        )
    return Computing(dtype_of(recipe.dtype, machine.device), tokens.end if recipe.documents_apart else None, machine.recompute)


def dtype_of(wanted: Literal["auto", "float32", "bfloat16"], device: torch.device) -> torch.dtype:
    half = wanted == "bfloat16" or (wanted == "auto" and device.type == "cuda")
    return torch.bfloat16 if half else torch.float32


def is_compiled(recipe: TrainRecipe, device: torch.device) -> bool:
    return recipe.compile == "on" or (recipe.compile == "auto" and device.type == "cuda")


def is_recorded(recipe: TrainRecipe, machine: Machine) -> bool:
    """Whether steps are played back as one CUDA graph."""
    return machine.device.type == "cuda" and machine.ranks.n == 1 and is_compiled(recipe, machine.device)


def n_parts(n_rows: int, recipe: TrainRecipe, machine: Machine) -> int:
    """In how many equal parts the rows of a process are computed: as few as `part_tokens` allows."""
    limit = machine.part_tokens or n_rows * recipe.sequence_length
    return next(
        n for n in range(1, n_rows + 1) if n_rows % n == 0 and (n_rows // n * recipe.sequence_length <= limit or n == n_rows)
    )


def made_ready(step: Step, ids_BL: Tensor, *, is_recorded: bool) -> Callable[[Tensor], Tensor]:
    """The step, compiled and with its first allocations behind it, so that the clock does not count them."""
    if is_recorded:
        return recorded(step, ids_BL)
    thrown_away(step, ids_BL)
    return step


def sent(ids_BL: Tensor, device: torch.device) -> Tensor:
    """Tokens on the device; to a GPU without waiting for what it is doing."""
    if ids_BL.device.type == "cpu" and device.type == "cuda":
        return ids_BL.pin_memory().to(device, non_blocking=True)
    return ids_BL.to(device)


NEAR = 2**32
"""Bytes of tokens that are held on a GPU; of more, each batch is sent there."""


def near(tokens: Tokens, device: torch.device) -> Tokens:
    """The tokens in the memory of a GPU where they are few enough; elsewhere as they are."""
    if device.type == "cpu" or 4 * len(tokens) > NEAR:
        return tokens
    return replace(tokens, ids=tokens.ids.to(torch.int32).to(device))


def refuse_uneven(n_sequences: int, ranks: Ranks) -> None:
    if n_sequences % ranks.n:
        raise TrainingError(
            f"A batch of {n_sequences} sequences cannot be shared evenly by {ranks.n} processes: give a --batch-tokens that is a multiple "
            f"of {ranks.n} sequences."
        )


def refuse_windows(config: Any, recipe: TrainRecipe) -> None:
    """Raise TrainingError where documents are to be kept apart in a model of which some blocks attend within a window: one mask for all
    blocks would open it."""
    window = window_of(config)
    if recipe.documents_apart and window is not None and recipe.sequence_length > window:
        raise TrainingError(
            f"Documents cannot be kept apart in sequences of {recipe.sequence_length} tokens by a model that attends within {window}: "
            "leave train.documents_apart out, or take a sequence length of that at most."
        )


def refuse_no_number(value: float, which: str, n_tokens: int, recipe: TrainRecipe, folder: RunFolder | None) -> None:
    """Raise TrainingError for a loss or a norm that is not finite."""
    if math.isfinite(value):
        return
    if n_tokens == 0:
        raise TrainingError(f"The {which} is {value} before any training: the model is damaged; make or load it again.")
    good = folder.checkpoints()[:1] if folder else []
    kept = f"the last good checkpoint is {good[0]}" if good else "nothing was stored"
    raise TrainingError(
        f"The {which} is {value} after {n_tokens:,} tokens at learning rate {recipe.learning_rate:g}: {kept}; "
        "try a lower learning rate or a longer warm-up."
    )


def flops_per_token(model: Any, recipe: TrainRecipe) -> float:
    return float(shape_of(model.config).flops_per_token(recipe.sequence_length))


class Clock:
    """Seconds between start and stop, the device's pending work included, counted on from `seconds`."""

    def __init__(self, device: torch.device, seconds: float = 0.0) -> None:
        self.device = device
        self.seconds = seconds

    def start(self) -> None:
        self.started = self.now()

    def stop(self) -> None:
        self.seconds += self.now() - self.started

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def peak_memory(device: torch.device) -> int:
    """Bytes: allocated on a GPU at the most since the process began, or the largest resident set of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
