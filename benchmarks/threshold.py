"""One magnitude threshold over all weights of a model: ours beside sorting them, and the ways to count a digit beside one another.

    python benchmarks/threshold.py OUT [--sizes 1e6:float32,1e8:float32,2148532224:bfloat16] [--device cuda]

Weights are normal, in tensors of 2^24 at most. threshold: finding it alone, by digits as on GPUs and over processes, or with all weights
put together as on one CPU. pruning: all of `prune_smallest_`, masks and zeros too, to a half of the weights first, then a little further
each time. sort, kthvalue: of the concatenation, the mask left out; not tried beyond 2^31. Milliseconds are the best of some times; GB/s
those of reading the weights once in that time; memory is what is allocated beside weights and masks at the highest, on a GPU. Writes
OUT/threshold.md and OUT/threshold.json.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prunescale.devices import device_name
from prunescale.training.threshold import by_digits, by_partition, magnitude, prune_smallest_

PART = 2**24
SIZES = {"cuda": "1e6:float32,1e8:float32,2148532224:bfloat16", "cpu": "1e6:float32,1e7:float32"}
REPEATS, LONGEST = 5, 3.0


def made(n: int, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """So many normal weights in tensors of rows of 64, or of one row."""
    torch.manual_seed(0)
    sizes = [min(PART, n - begin) for begin in range(0, n, PART)]
    return [torch.randn(size, device=device, dtype=dtype).view(-1, 64 if size % 64 == 0 else size) for size in sizes]


def timed(device: torch.device, work: Callable[[], Any], repeats: int = REPEATS) -> dict[str, Any]:
    """Milliseconds, the best of some times, and the highest memory in bytes: None on a CPU, where it is not known."""
    best, spent, memory = float("inf"), 0.0, None
    for _ in range(repeats):
        before = reset(device)
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
            memory = max(memory or 0, torch.cuda.max_memory_allocated() - before)
        seconds = time.perf_counter() - started
        best, spent = min(best, seconds), spent + seconds
        if spent > LONGEST:
            break
    return {"milliseconds": 1e3 * best, "memory": memory}


def reset(device: torch.device) -> int:
    if device.type != "cuda":
        return 0
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def whole(weights: list[Tensor]) -> Tensor:
    return torch.cat([weight.flatten() for weight in weights]).abs()


def of_size(n: int, dtype: torch.dtype, device: torch.device) -> list[dict[str, Any]]:
    """What each way takes for so many weights."""
    weights = made(n, dtype, device)

    def sizes() -> Any:
        return (magnitude(weight, None) for weight in weights)

    ways: dict[str, Callable[[], Any]] = {"threshold, by digits": lambda: by_digits(sizes, n // 2, device)}
    if device.type == "cpu":
        ways["threshold, put together"] = lambda: by_partition(sizes(), n // 2)
    if n < 2**31:
        ways["sort"] = lambda: whole(weights).sort().values[n // 2]
        ways["kthvalue"] = lambda: whole(weights).kthvalue(n // 2 + 1).values
        assert len({float(way().float()) for way in ways.values()}) == 1
    else:
        by_digits(sizes, n // 2, device)
    found = {name: timed(device, way) for name, way in ways.items()}
    keeps = [torch.ones_like(weight, dtype=torch.bool) for weight in weights]
    found["pruning, first"] = timed(device, lambda: prune_smallest_(weights, keeps, 0.5), 1)
    shares = iter([0.45 - 0.02 * number for number in range(REPEATS)])
    found["pruning, further"] = timed(device, lambda: prune_smallest_(weights, keeps, next(shares)))
    n_bytes = n * weights[0].element_size()
    setting = {"n": n, "dtype": str(dtype).removeprefix("torch.")}
    return [
        {**setting, "way": name, **each, "gigabytes_per_second": n_bytes / each["milliseconds"] / 1e6}
        for name, each in found.items()
    ]


def ways_to_count(device: torch.device) -> list[dict[str, Any]]:
    """Counting the first digit of one tensor in each of the ways that PyTorch has; the second time half of the weights are zero."""
    digit = made(PART, torch.float32, device)[0].flatten().abs().view(torch.int32) >> 21
    one = torch.ones(1, dtype=torch.int64, device=device)
    counted = []
    for zeros in (False, True):
        if zeros:
            digit[::2] = 0
        ways: dict[str, Callable[[], Tensor]] = {
            "bincount": lambda: torch.bincount(digit, minlength=2048),
            "histc of float32": lambda: torch.histc(digit.float(), 2048, 0, 2047).long(),  # exact up to 2^24 alike
            "scatter_add": lambda: torch.zeros(2048, dtype=torch.int64, device=device).scatter_add_(
                0, digit.long(), one.expand(PART)
            ),
            "sort, unique": lambda: unique_counts(digit),
        }
        right = torch.bincount(digit, minlength=2048)
        for name, way in ways.items():
            assert torch.equal(way(), right), name
            each = timed(device, way)
            counted.append({"n": PART, "half_zero": zeros, "way": name, **each})
    return counted


def unique_counts(digit: Tensor) -> Tensor:
    found, counts = digit.unique(return_counts=True)
    return torch.zeros(2048, dtype=torch.int64, device=digit.device).index_put_((found.long(),), counts)


def table(headings: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (headings, ["---"] * len(headings), *rows))


def page(where: str, found: list[dict[str, Any]], counted: list[dict[str, Any]]) -> str:
    numbers = [
        [f"{row['n']:,}", row["dtype"], row["way"], f"{row['milliseconds']:.2f}", f"{row['gigabytes_per_second']:.1f}",
         "" if row["memory"] is None else f"{row['memory'] / 1e9:.2f}"]
        for row in found
    ]  # fmt: skip
    counts = [[row["way"], "half" if row["half_zero"] else "none", f"{row['milliseconds']:.2f}"] for row in counted]
    return (
        f"{where}, torch {torch.__version__}.\n\n"
        + table(["weights", "type", "way", "ms", "GB/s", "memory, GB"], numbers)
        + f"\n\nCounting one digit of {PART:,} weights:\n\n"
        + table(["way", "zero", "ms"], counts)
        + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the threshold over all weights of a model.")
    parser.add_argument("out", type=Path, help="folder for threshold.md and threshold.json")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sizes", help="weights and type, with commas between")
    given = parser.parse_args()
    device = torch.device(given.device)
    found: list[dict[str, Any]] = []
    for size in (given.sizes or SIZES[device.type]).split(","):
        n, _, dtype = size.partition(":")
        found += of_size(int(float(n)), getattr(torch, dtype or "float32"), device)
    counted = ways_to_count(device)
    where = device_name(device)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "threshold.json").write_text(json.dumps({"device": where, "sizes": found, "counting": counted}, indent=1))
    (given.out / "threshold.md").write_text(page(where, found, counted))
    print(page(where, found, counted))


if __name__ == "__main__":
    main()
