"""What the record of a run says of its model and of the software: parameters by group, zeros, versions.

Where a model is spread over processes, each of them must call what counts its weights.
"""

import platform
from typing import Any

import torch
import transformers
from torch import Tensor

from prunescale import __version__
from prunescale.shape import ModelShape
from prunescale.training.distributed import whole
from prunescale.training.zeros import head_of, linear_weights


def params_by_group(shape: ModelShape) -> dict[str, int]:
    """The counts of a run that follow from the shape of its model, by the names of the run's fields."""
    groups = ("non_embedding", "embedding", "head", "attention", "ffn", "norm", "linear", "total")
    return {f"n_params_{group}": getattr(shape, f"n_params_{group}") for group in groups}


def n_params_nonzero(model: Any) -> int:
    return sum(map(n_nonzero, model.parameters()))


def prunable(model: Any, *, head: bool) -> list[Tensor]:
    """The weights of the linear layers in the blocks, and of the head where it could be pruned too."""
    return [*linear_weights(model), *([head_of(model)] if head else [])]


def n_zeros(model: Any, *, head: bool = False) -> int:
    return sum(weight.numel() - n_nonzero(weight) for weight in prunable(model, head=head))


def sparsity(model: Any, *, head: bool = False) -> float:
    """The share of zeros among the weights that could be pruned."""
    return n_zeros(model, head=head) / sum(weight.numel() for weight in prunable(model, head=head))


@torch.no_grad()
def n_nonzero(tensor: Tensor) -> int:
    return int(whole((tensor != 0).sum()))


def versions() -> dict[str, str]:
    return {
        "prunescale": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
