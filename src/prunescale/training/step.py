"""One update of the weights, and the same recorded once and played back on a GPU, where a small model's step is mostly launching."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from prunescale.training.distributed import Ranks, local, norm
from prunescale.training.state import State
from prunescale.training.zeros import mask_gradients_, mask_weights_

SummedLoss = Callable[[Tensor], Tensor]
"""The loss of a (B, L + 1) batch of token ids, summed over its tokens, in nats, with gradients."""


@dataclass(frozen=True)
class Step:
    """An update by this process's rows of a batch, at the learning rate that the optimiser has. n_parts: in how many parts the rows
    are computed, one after another, for memory. Back come the mean loss of these rows and the norm of the gradients, on the device, so that
    nothing has to wait for them."""

    loss: SummedLoss
    state: State
    clip: float
    ranks: Ranks
    n_parts: int = 1

    def __call__(self, ids_BL: Tensor) -> Tensor:
        n_predicted = ids_BL.shape[0] * (ids_BL.shape[1] - 1)
        total = torch.zeros((), device=ids_BL.device)
        for part in ids_BL.tensor_split(self.n_parts):
            mean = self.loss(part) / n_predicted
            mean.backward()
            total = total + mean.detach()
        size = self.clip_()
        self.state.optimizer.step()
        mask_weights_(self.state.held)
        self.state.optimizer.zero_grad(set_to_none=True)
        return torch.stack((total, size))

    @torch.no_grad()
    def clip_(self) -> Tensor:
        """Gradients of weights that are held at zero become zero, and the rest is scaled to a norm of `clip` at most. FSDP2 has averaged
        the gradients over the processes, each of which has an equal share of the rows."""
        mask_gradients_(self.state.held)
        parameters = [p for group in self.state.optimizer.param_groups for p in group["params"] if p.grad is not None]
        size = norm([p.grad for p in parameters], self.ranks)
        scale = (self.clip / (size + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_([local(p.grad) for p in parameters], scale)
        return size


@dataclass(frozen=True)
class Recorded:
    """A step that is played back. It holds on to the step that was recorded: a graph knows addresses only, and would go on writing to
    where the optimiser's moments were, whoever has that memory then."""

    step: Step
    batch: Tensor
    graph: torch.cuda.CUDAGraph
    result: Tensor

    def __call__(self, ids_BL: Tensor) -> Tensor:
        self.batch.copy_(ids_BL)
        self.graph.replay()
        return self.result.clone()


def recorded(step: Step, ids_BL: Tensor) -> Recorded:
    """The same step as one CUDA graph for batches of this shape, in which kernels follow one another without waiting for Python. Recording
    it changes nothing: passes before it are thrown away, and the recording itself runs nothing."""
    batch = ids_BL.clone()
    side = torch.cuda.Stream(ids_BL.device)
    side.wait_stream(torch.cuda.current_stream(ids_BL.device))
    with torch.cuda.stream(side):
        thrown_away(step, batch)
    torch.cuda.current_stream(ids_BL.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with (
        torch.cuda.device(ids_BL.device),
        torch.cuda.graph(graph),
    ):  # which records on the current device, whatever the tensors are on
        result = step(batch)
    return Recorded(step, batch, graph, result)


def thrown_away(step: Step, ids_BL: Tensor) -> None:
    """Forward and backward passes whose gradients are thrown away: compiling and the first allocations happen here, untimed."""
    for part in ids_BL.tensor_split(step.n_parts):
        step.loss(part).backward()
    step.state.optimizer.zero_grad(set_to_none=True)
