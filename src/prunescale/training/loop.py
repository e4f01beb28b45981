"""The training loop: one model, on the CPU or on one GPU, with the held-out loss measured on the way."""

import math
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from prunescale.errors import TrainingError
from prunescale.recipe import TrainRecipe
from prunescale.runs import Point
from prunescale.training.data import Tokens, held_out_windows, training_batches
from prunescale.training.evaluate import LossFunction, mean_loss, summed_loss
from prunescale.training.schedule import measured_steps, schedule_of
from prunescale.training.zeros import Held, held_zeros, mask_gradients_, mask_weights_


@dataclass(frozen=True)
class Curve:
    """What training measured. seconds and tokens_per_second: of training alone, without evaluations and compiling."""

    points: tuple[Point, ...]
    seconds: float
    tokens_per_second: float
    peak_memory_bytes: int
    device: str


def train_(
    model: Any,
    tokens: Tokens,
    held_out: Tokens,
    recipe: TrainRecipe,
    *,
    device: torch.device,
    keep_zeros: bool = False,
    on_step: Callable[[int], None] = lambda n_tokens: None,
    on_point: Callable[[Point], None] = lambda point: None,
) -> Curve:
    """Train a model in place, and return its loss curve: the held-out loss before training, at log-spaced token counts, and at the end.

    Weights and optimiser stay in float32; on a GPU the products run in bfloat16 and the loss function is compiled, unless the
    recipe says otherwise. keep_zeros: whether weights of linear layers in the blocks that are zero stay so; what train.keep_zeros
    says of it is for the caller to read, who knows whether the model was pruned. on_step is told the tokens seen after each step,
    on_point each measurement.

    Raises DataError for too little text, TrainingError where there are no zeros to keep, and at the first measurement that finds a
    loss that is not a number.
    """
    windows = held_out_windows(held_out, recipe.sequence_length, recipe.held_out_tokens)
    n_sequences = recipe.batch_tokens // recipe.sequence_length
    on_device = replace(tokens, ids=tokens.ids.to(device))
    batches = training_batches(on_device, recipe.sequence_length, n_sequences, recipe.seed)
    schedule = schedule_of(recipe)
    model = model.to(device=device, dtype=torch.float32).train()
    held = held_zeros(model) if keep_zeros else []
    optimizer = adamw(model, recipe)
    compiled = recipe.compile == "on" or (recipe.compile == "auto" and device.type == "cuda")
    loss = loss_function(model, device, dtype=recipe.dtype, compiled=compiled)
    clock = Clock(device)
    points: list[Point] = []

    def measure(step: int) -> None:
        model.eval()  # a model with dropout is measured without
        held_out_loss = mean_loss(loss, windows, batch=n_sequences, device=device)
        model.train()
        n_tokens = step * recipe.batch_tokens
        check(held_out_loss, "held-out", n_tokens, recipe)
        points.append(Point(n_tokens, held_out_loss, schedule.learning_rate(step), schedule.phase(step), clock.seconds))
        on_point(points[-1])

    measure(0)
    compile_backward(loss, windows[:1].expand(n_sequences, -1).to(device), optimizer)
    done = 0
    for measured in measured_steps(recipe):
        with clock:
            for step in range(done + 1, measured + 1):
                train_loss = train_step(loss, next(batches), optimizer, schedule.learning_rate(step), recipe.clip, held)
                on_step(step * recipe.batch_tokens)
            check(float(train_loss), "training", measured * recipe.batch_tokens, recipe)
        measure(measured)
        done = measured
    model.eval()
    n_tokens = points[-1].n_tokens
    return Curve(tuple(points), clock.seconds, n_tokens / clock.seconds, peak_memory(device), device_name(device))


def train_step(
    loss: LossFunction,
    ids_BL: Tensor,
    optimizer: torch.optim.Optimizer,
    learning_rate: float,
    clip: float,
    held: Held = (),
) -> Tensor:
    """One update, in which the zeros of `held` stay zeros. The mean training loss of the batch comes back, on the device, so that
    nothing has to wait for it."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    mean = loss(ids_BL) / (ids_BL.shape[0] * (ids_BL.shape[1] - 1))
    mean.backward()
    mask_gradients_(held)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    torch.nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()
    mask_weights_(held)
    optimizer.zero_grad(set_to_none=True)
    return mean.detach()


def compile_backward(loss: LossFunction, ids_BL: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """One forward and backward pass whose gradients are thrown away: compiling and the first allocations happen here, untimed."""
    loss(ids_BL).backward()
    optimizer.zero_grad(set_to_none=True)


def loss_function(
    model: Any, device: torch.device, *, dtype: Literal["auto", "float32", "bfloat16"] = "auto", compiled: bool = False
) -> LossFunction:
    """The summed loss of a batch. dtype is that of the products; auto takes bfloat16 on a GPU only."""
    half = dtype == "bfloat16" or (dtype == "auto" and device.type == "cuda")
    plain = summed_loss(model)
    inner = torch.compile(plain, dynamic=False) if compiled else plain

    def loss(ids_BL: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            return inner(ids_BL)

    return loss


def adamw(model: Any, recipe: TrainRecipe) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only: norms and other vectors are left to themselves."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.beta1, recipe.beta2), fused=True)


def check(loss: float, which: str, n_tokens: int, recipe: TrainRecipe) -> None:
    if math.isfinite(loss):
        return
    if n_tokens == 0:
        raise TrainingError(f"The {which} loss is {loss} before any training: the model is damaged; make or load it again.")
    raise TrainingError(
        f"The {which} loss is {loss} after {n_tokens:,} tokens at learning rate {recipe.learning_rate:g}: "
        "nothing was stored; try a lower learning rate or a longer warm-up."
    )


class Clock:
    """Seconds spent inside its `with` blocks, the device's pending work included."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = 0.0

    def __enter__(self) -> None:
        self.started = self.now()

    def __exit__(self, *exception: object) -> None:
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


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
