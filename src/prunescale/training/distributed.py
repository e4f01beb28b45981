"""One model on many GPUs, by PyTorch's own engine: every process holds a shard of each parameter, of its gradient and of the
optimiser's moments (FSDP2, `fully_shard`), and gathers a block's weights when it is computed. Started by torchrun.

What is done to single weights (masks, the norm of the gradients, thresholds) is done to the shards, which are plain tensors.
"""

import gc
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint import HuggingFaceStorageReader
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from prunescale.errors import TrainingError
from prunescale.models import family_of
from prunescale.training.forward import SHARDED, block_forward


@dataclass(frozen=True)
class Ranks:
    """The processes that train one model together, and which of them this is, counted from 0."""

    rank: int = 0
    n: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in a tensor of its own."""
        if self.n == 1:
            return tensor
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    def same(self, value: Any) -> Any:
        """The value that the first process has."""
        if self.n == 1:
            return value
        shared = [value]
        distributed.broadcast_object_list(shared, src=0)
        return shared[0]

    @property
    def group(self) -> Any:
        """All processes as PyTorch's own functions want them; None for one."""
        return None if self.n == 1 else distributed.group.WORLD

    def wait(self) -> None:
        """Until all processes are here."""
        if self.n > 1:
            distributed.barrier()


ALONE = Ranks()


PATIENCE = timedelta(hours=3)
"""How long processes wait for one another: the first prunes before a training and saves after it."""


@contextmanager
def ranks_of_torchrun(device: torch.device) -> Iterator[tuple[Ranks, torch.device]]:
    """The processes that torchrun has started, and this one's device; one process where it has not. CPUs talk by gloo, GPUs by NCCL.

    Raises TrainingError where there are more processes on a machine than it has GPUs."""
    n = int(os.environ.get("WORLD_SIZE", "1"))
    if n == 1:
        yield ALONE, device
        return
    place = device
    if device.type == "cuda":
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise TrainingError(
                f"torchrun started process {local + 1} on a machine with {torch.cuda.device_count()} GPUs: "
                "give --nproc-per-node that number at most."
            )
        place = torch.device("cuda", local)
        torch.cuda.set_device(place)
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE, device_id=place if device.type == "cuda" else None
    )
    try:
        yield Ranks(distributed.get_rank(), n), place
        distributed.barrier()  # one that ends while another goes on has been seen to abort the other
    finally:
        distributed.destroy_process_group()
        gc.collect()  # what holds on to the groups, and with them to their threads


def shard_(model: Any, device: torch.device, dtype: torch.dtype, *, compiled: bool = False) -> None:
    """Spread a model over the processes, in place: each block by itself, and what is outside the blocks. The parameters that the model
    had before are dead afterwards. Weights are gathered in `dtype`, gradients are averaged in float32. Blocks are compiled one by one,
    since what gathers weights comes between them."""
    policy = (
        MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32) if dtype != torch.float32 else MixedPrecisionPolicy()
    )
    forward = torch.compile(block_forward, dynamic=False) if compiled else block_forward
    mesh = distributed.init_device_mesh(device.type, (distributed.get_world_size(),))
    for block in model.get_submodule(family_of(model.config).blocks):
        fully_shard(block, mesh=mesh, mp_policy=policy)
        call_by_name_(block, SHARDED, forward)
    # Not the default, by which what is outside the blocks stays gathered after an evaluation, and is no longer what the optimiser knows.
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=True)


def is_without_weights(model: nn.Module) -> bool:
    return any(parameter.is_meta for parameter in model.parameters())


@torch.no_grad()
def fill_(model: Any, folder: Path | None, device: torch.device) -> None:
    """Read this process's part of the weights from a Hugging Face folder, in place, whatever their type is there: no process ever
    holds more than its own part."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}  # which are no weights, and are there already
    model.to_empty(device=device)
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    model.tie_weights()
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}  # a tied head once
    checkpoint.load(parameters, storage_reader=HuggingFaceStorageReader(str(folder)))


def call_by_name_(module: nn.Module, name: str, function: Any) -> None:
    """Make `module.name(...)` a forward pass of the module, which gathers its parameters before and gives them back after."""
    setattr(module, name, MethodType(function, module))
    register_fsdp_forward_method(module, name)


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor: it shares memory with it."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, shard: Tensor) -> Tensor:
    """A shard of a tensor of the same size as `tensor`, and spread over the processes as that is, as such a tensor."""
    if not isinstance(tensor, DTensor):
        return shard
    return DTensor.from_local(
        shard, tensor.device_mesh, tensor.placements, run_check=False, shape=tensor.shape, stride=tensor.stride()
    )


def whole(tensor: Tensor) -> Tensor:
    """The tensor put together from its shards, in every process."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def norm(gradients: Iterable[Tensor], ranks: Ranks) -> Tensor:
    """The norm of all gradients together."""
    shards = [shard for shard in map(local, gradients) if shard.numel()]
    norms = torch._foreach_norm(shards) if shards else [torch.zeros(())]
    return ranks.sum(torch.stack(list(norms)).square().sum()).sqrt()


def whole_state(model: Any, ranks: Ranks) -> dict[str, Tensor]:
    """All weights in the memory of the first process's CPU, by their names; empty in the others."""
    found = {}
    for name, tensor in model.state_dict().items():
        together = whole(tensor)
        if ranks.is_first:
            found[name] = together.cpu()
    return found
