"""The numbers of a loss curve in one piece, for fits to read at once: a copy of the points, which stay what is true.

A row a quantity: tokens, losses and learning rates as float64 (unknown rates infinite), all little-endian, then the phases, a byte each;
compressed. Where a point is changed by whatever hand, a trigger of the store drops the copy, and it is made anew from the points.
"""

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from prunescale.runs.record import Point

PHASES = ("before", "warm-up", "constant", "decay", "annealed")
"""A phase is kept as its place among these: what is younger comes last."""

QUANTITIES = ("n_tokens", "loss", "learning_rate")
POINT = np.dtype([*((name, "f8") for name in QUANTITIES), ("phase", "u1")])
"""A point as numbers: an unknown learning rate is infinite, which no known one is; of the phase its place among PHASES."""

FASTEST = 1
PHASE_AT = 8 * len(QUANTITIES)
"""Where the phases begin, in bytes, times the number of points."""


def as_numbers(points: Iterable[tuple[Any, Any, Any, Any]]) -> np.ndarray:
    """Tokens, loss, learning rate and phase of some points as an array of POINT. Raises TypeError or ValueError for what are none."""
    place = {phase: number for number, phase in enumerate(PHASES)}
    try:
        return np.fromiter(
            ((n_tokens, loss, np.inf if rate is None else rate, place[phase]) for n_tokens, loss, rate, phase in points), POINT
        )
    except KeyError as error:
        raise ValueError(f"there is no phase {error}") from error


def numbers_of(points: Iterable[Point]) -> np.ndarray:
    """The points of a run as an array of POINT."""
    return as_numbers((point.n_tokens, point.loss, point.learning_rate, point.phase) for point in points)


def packed(points: np.ndarray) -> bytes:
    """An array of POINT in one piece."""
    numbers = np.stack([points[name] for name in QUANTITIES]).astype("<f8")
    return zlib.compress(numbers.tobytes() + points["phase"].tobytes(), FASTEST)


def unpacked(curves: Sequence[bytes], counts: Sequence[int]) -> np.ndarray:
    """The points of some curves, which have so many each, one behind the other, as an array of POINT. Raises ValueError for what is
    none."""
    raw = [content_of(curve, (PHASE_AT + 1) * count) for curve, count in zip(curves, counts, strict=True)]
    each = list(zip(raw, counts, strict=True))
    rows = [np.frombuffer(content, "<f8", len(QUANTITIES) * count).reshape(-1, count) for content, count in each if count]
    points = np.empty(sum(counts), POINT)
    for name, row in zip(QUANTITIES, np.concatenate(rows, axis=1) if rows else (), strict=False):
        points[name] = row
    points["phase"] = np.frombuffer(b"".join(content[PHASE_AT * count :] for content, count in each), "u1")
    if (points["phase"] >= len(PHASES)).any():
        raise ValueError("no packed curve (it has a phase that there is not)")
    return points


def content_of(curve: bytes, size: int) -> bytes:
    """What is in a packed curve of so many bytes; of another's, which may be larger than any memory, no more is unpacked."""
    try:
        content = zlib.decompressobj().decompress(curve, size + 1)
    except (zlib.error, TypeError) as error:
        raise ValueError(f"no packed curve ({error})") from error
    if len(content) != size:
        raise ValueError("no packed curve (it has more points than the run, or fewer)")
    return content
