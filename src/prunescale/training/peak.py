"""How fast a device multiplies large matrices: what the speed of a training is held against."""

import math
import time
from functools import cache

import torch

SIZES = {"cuda": (4096, 8192), "cpu": (256, 512, 1024)}
"""Of square matrices, the largest being what a device does best; a slow one is measured with smaller ones."""
ENOUGH_SECONDS = 0.02
"""A product that takes as long as this need not be larger: a tenth of the time that the measuring may take."""
REPEATS = 3


@cache
def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a product of large matrices, measured in less than 0.3 s, once a process.

    The numbers in them are random: a GPU draws less power for zeros, and is then faster than it is with weights. CPUs use the threads
    that torch is set to."""
    rate = 0.0
    for size in SIZES["cuda" if device.type == "cuda" else "cpu"]:
        seconds = seconds_of_product(size, device, dtype)
        rate = max(rate, 2 * size**3 / seconds)
        if seconds > ENOUGH_SECONDS:
            break
    return rate


@torch.no_grad()
def seconds_of_product(size: int, device: torch.device, dtype: torch.dtype) -> float:
    """The least of some goes at a product of two square matrices."""
    generator = torch.Generator(device).manual_seed(0)
    left, right, out = (torch.randn(size, size, generator=generator, device=device, dtype=dtype) for _ in range(3))
    least = math.inf
    for repeat in range(1 + REPEATS):
        started = now(device)
        torch.mm(left, right, out=out)
        if repeat == 0:  # makes ready: threads are begun, kernels loaded
            continue
        least = min(least, now(device) - started)
        if least > ENOUGH_SECONDS:
            break
    return least


def now(device: torch.device) -> float:
    """Seconds, when the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
