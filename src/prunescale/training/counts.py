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
from prunescale.training.zeros import linear_weights


def params_by_group(shape: ModelShape) -> dict[str, int]:
    """The counts of a run that follow from the shape of its model, by the names of the run's fields."""
    groups = ("non_embedding", "embedding", "head", "attention", "ffn", "norm", "linear", "total")
    return {f"n_params_{group}": getattr(shape, f"n_params_{group}") for group in groups}


def n_params_nonzero(model: Any) -> int:
    return sum(map(n_nonzero, model.parameters()))


def n_zeros(model: Any) -> int:
    """Among the weights of the linear layers in the blocks."""
    return sum(weight.numel() - n_nonzero(weight) for weight in linear_weights(model))


def sparsity(model: Any) -> float:
    """The share of zeros among the weights of the linear layers in the blocks."""
    return n_zeros(model) / sum(weight.numel() for weight in linear_weights(model))


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
