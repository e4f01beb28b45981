"""What a device does at best: bytes a second of a large copy, operations a second of a large matrix product."""

import math
from dataclasses import dataclass
from functools import cache

import torch

from prunescale.training.peak import matmul_rate, now

COPY_BYTES = {"cuda": 1 << 30, "cpu": 1 << 28}
"""Of each of the two buffers: many times what a cache holds."""
REPEATS = 5


@dataclass(frozen=True)
class Rates:
    """copy: bytes a second, read and written ones both counted. matmul: operations a second."""

    copy: float
    matmul: float


def measured_rates(device: torch.device, dtype: torch.dtype) -> Rates:
    """Both, measured in about a second."""
    return Rates(copy_rate(device), matmul_rate(device, dtype))


@cache
def copy_rate(device: torch.device) -> float:
    """Bytes a second that a copy in the device's memory reads and writes, the best of some goes, once a process."""
    n_bytes = COPY_BYTES["cuda" if device.type == "cuda" else "cpu"]
    source, target = (torch.ones(n_bytes, dtype=torch.uint8, device=device) for _ in range(2))
    least = math.inf
    for _ in range(1 + REPEATS):  # the first goes to making ready
        started = now(device)
        target.copy_(source)
        least = min(least, now(device) - started)
    return 2 * n_bytes / least
