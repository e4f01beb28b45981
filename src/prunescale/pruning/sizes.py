"""Which sizes of a model meet a pruning rate: arithmetic only.

Axes, as a user names them: "ffn", the channels of each feed-forward; "heads", the key and value heads of each block with their
query heads, or the query heads where all of them share one; "hidden", the size of the residual stream.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import pstdev

from prunescale.errors import PruningError
from prunescale.pruning.plan import Request
from prunescale.shape import ModelShape

AXES = ("ffn", "heads", "hidden")

LARGEST_STEP = 128
"""Matrix units of GPUs compute with tiles of this many rows or columns, and half of it and so on."""

STEPS_OF_A_SIZE = 32
"""A size is cut in this many steps at least, even where the steps are then smaller than the hardware likes."""

SPREAD_COST = 0.3
"""What uneven shares count against a rate that is missed."""

Accepts = Callable[[ModelShape], bool]


def sizes_for_rate(request: Request, axes: tuple[str, ...], accepts: Accepts = lambda shape: True) -> ModelShape:
    """The shape of least |rate - rate wanted| + SPREAD_COST * spread of the shares that the named axes lose, in the steps of `step_of`
    and whole heads. So it is near the rate, and takes about the same share from each axis where that can be had.

    accepts: whether a model may have a shape. Raises PruningError where none comes near the rate.
    """
    shape = request.shape
    shapes = [shape, *smaller_shapes(request, axes, accepts)]
    rates = sorted({rate_of(request, one) for one in shapes})
    best = min(shapes, key=lambda one: abs(rate_of(request, one) - request.rate) + SPREAD_COST * spread(one, shape, axes))
    if len(rates) == 1:
        raise PruningError(
            f"This model's configuration allows no smaller size along {' and '.join(axes)}: name other axes among {', '.join(AXES)}."
        )
    if best == shape or request.rate > rates[-1] + (rates[-1] - rates[-2]) / 2:
        raise PruningError(
            f"No sizes along {' and '.join(axes)} come near a pruning rate of {request.rate:g}: "
            f"with this model they give rates from {rates[1]:.3f} to {rates[-1]:.3f}."
        )
    return best


def smaller_shapes(request: Request, axes: tuple[str, ...], accepts: Accepts) -> Iterator[ModelShape]:
    """The shapes that may be: for each number of heads and hidden size, of feed-forwards the smallest and largest, which show how
    far the axes reach, and the two around the rate wanted."""
    for heads in head_options(request.shape) if "heads" in axes else [request.shape]:
        for hidden in hidden_options(heads, accepts) if "hidden" in axes else [heads]:
            if not accepts(hidden):
                continue
            options = [one for one in (ffn_options(hidden) if "ffn" in axes else [hidden]) if one != request.shape]
            at = bisect_left(options, request.rate, key=lambda one: rate_of(request, one))
            yield from dict.fromkeys([*options[:1], *options[max(at - 1, 0) : at + 1], *options[-1:]])


def head_options(shape: ModelShape) -> list[ModelShape]:
    """All numbers of heads, the largest first."""
    n, queries_each = head_units(shape), shape.n_heads // head_units(shape)
    one_key = shape.n_kv_heads == 1
    return [replace(shape, n_heads=left * queries_each, n_kv_heads=1 if one_key else left) for left in range(n, 0, -1)]


def hidden_options(shape: ModelShape, accepts: Accepts) -> list[ModelShape]:
    """Hidden sizes, the largest first. Where the model may have few of those that the hardware likes, those too that are divisible
    by the number of heads, which Llama's and Gemma's configurations insist on, and what the heads make together."""
    size = shape.hidden_size
    usual = [one for one in multiples(size, step_of(size)) if accepts(replace(shape, hidden_size=one))]
    if len(usual) < STEPS_OF_A_SIZE // 4:
        by_heads = step_of(size, shape.n_heads)
        usual += [one for one in (*multiples(size, by_heads), shape.query_size) if one <= size]
    return [replace(shape, hidden_size=one) for one in sorted({size, *usual}, reverse=True)]


def ffn_options(shape: ModelShape) -> list[ModelShape]:
    """Sizes of the feed-forward, the largest first."""
    return [replace(shape, ffn_size=size) for size in (shape.ffn_size, *multiples(shape.ffn_size, step_of(shape.ffn_size)))]


def multiples(size: int, step: int) -> list[int]:
    """Of the step, below the size, the largest first."""
    return list(range((size - 1) // step * step, 0, -step))


def step_of(size: int, divisor: int = 1) -> int:
    """The largest power of two, up to LARGEST_STEP, that divides the size and of which the size has STEPS_OF_A_SIZE at least; 1
    where there is none. With a divisor, the same of the least common multiples with it, which need not divide the size."""
    powers = [LARGEST_STEP >> shift for shift in range(LARGEST_STEP.bit_length())]
    steps = [math.lcm(power, divisor) for power in powers if divisor > 1 or size % power == 0]
    return next((step for step in steps if size >= STEPS_OF_A_SIZE * step), divisor)


def head_units(shape: ModelShape) -> int:
    """How many parts of the attention can go one by one: the key and value heads, each with its query heads, or the query heads
    where all of them share one."""
    return shape.n_kv_heads if shape.n_kv_heads > 1 else shape.n_heads


def spread(after: ModelShape, before: ModelShape, axes: tuple[str, ...]) -> float:
    """How far the shares that the axes lose are apart: their standard deviation."""
    shares = {
        "ffn": 1 - after.ffn_size / before.ffn_size,
        "heads": 1 - after.n_heads / before.n_heads,
        "hidden": 1 - after.hidden_size / before.hidden_size,
    }
    return pstdev([shares[axis] for axis in axes])


def rate_of(request: Request, shape: ModelShape) -> float:
    """The pruning rate of a model of this shape."""
    return 1 - shape.n_params_non_embedding / request.n_params_base
