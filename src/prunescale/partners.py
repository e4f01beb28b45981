"""The dense model that a sparse one is compared with: as many weights in its linear layers as the other had on average, or has in the end.

Jin et al. 2025, arXiv:2501.12486, change the hidden size until they come out equal. Here depth, vocabulary, tying and norms stay, and
the hidden size, the heads and the feed-forward size change, in proportions as near to the original's as the count allows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, floor, gcd, inf, isfinite, log, sqrt

from prunescale.amounts import short
from prunescale.errors import ModelError
from prunescale.shape import ModelShape

AS_NEAR = 0.05
"""Proportions are as good as the nearest ones if they lie no further off than by this more: then rounder sizes win."""

ROUND = 64
"""Sizes that are multiples of it are as good for a GPU as any; otherwise of 32, 16 or 8."""

HEAD_SIZE_COUNTS = 0.25
"""What another head size costs, beside another feed-forward or another width of all heads by the same factor."""


@dataclass(frozen=True)
class Partner:
    """A dense model's sizes. n_params_linear: what was wanted of it; error: how far its linear weights lie above that, as a share of it."""

    shape: ModelShape
    n_params_linear: float
    error: float


def dense_partner(shape: ModelShape, n_params_linear: float, *, tolerance: float = 0.005, multiple: int = 8) -> Partner:
    """The dense model of the same depth whose linear weights, head included, are `n_params_linear` but for a share of `tolerance`.

    Hidden and feed-forward size are multiples of `multiple`, and so is the head size where it cannot stay; several queries to a key stay
    as many. Of the shapes that are near enough in weights those win whose proportions (feed-forward and all heads to the hidden size, and
    the head size) are nearest to the original's, or hardly further off; of these the roundest; of these the nearest in weights.

    Raises ModelError where none is near enough, and names the nearest."""
    if not (isfinite(n_params_linear) and n_params_linear > 0):
        raise ValueError(f"A dense partner needs a number of linear weights above 0, got {n_params_linear}.")
    for bent in (False, True):
        partners = [
            Partner(each, n_params_linear, each.n_params_linear / n_params_linear - 1)
            for each in dict.fromkeys(shapes(shape, n_params_linear, multiple, bent=bent))
        ]
        distances = {each.shape: distance(each.shape, shape) for each in partners if abs(each.error) <= tolerance}
        if distances:
            break
    else:
        raise none_near(shape, n_params_linear, tolerance, multiple, partners)
    limit = min(distances.values()) + AS_NEAR
    return min(
        (each for each in partners if distances.get(each.shape, inf) <= limit),
        key=lambda each: (-roundness(each.shape), abs(each.error), distances[each.shape], each.shape.hidden_size),
    )


def shapes(like: ModelShape, n_params_linear: float, multiple: int, *, bent: bool) -> Iterator[ModelShape]:
    """Shapes of all hidden sizes and heads, each with the feed-forward sizes that bring it nearest to so many linear weights. In none are
    the feed-forward or the heads to the hidden size more than twice or less than half of what they were. Where a feed-forward would be, it
    is left out, or, if bent, made as wide as it may be: near enough in weights at times, and else what a refusal can name."""
    by_head = n_params_linear / like.vocab_size  # at most so wide, or the head alone is more, and so are heads half as wide
    by_attention = sqrt(n_params_linear * like.hidden_size / (like.n_layers * like.query_size))
    for hidden_size in range(multiple, int(min(by_head, by_attention)) + multiple, multiple):
        per_channel = 3 * like.n_layers * hidden_size
        in_proportion = like.ffn_size * hidden_size / like.hidden_size
        for n_kv_heads, head_dim in heads(like, hidden_size, multiple):
            n_heads = like.n_heads // like.n_kv_heads * n_kv_heads
            attention = 2 * like.n_layers * hidden_size * head_dim * (n_heads + n_kv_heads)
            channels = (n_params_linear - attention - like.vocab_size * hidden_size) / per_channel
            for step in steps(multiple):
                least, most = ceil(0.5 * in_proportion / step), floor(2 * in_proportion / step)
                wanted = round(channels / step)
                if bent and least <= most:
                    wanted = min(max(wanted, least), most)
                if least <= wanted <= most:
                    ffn_size = step * wanted
                    yield replace(
                        like,
                        hidden_size=hidden_size,
                        ffn_size=ffn_size,
                        n_heads=n_heads,
                        n_kv_heads=n_kv_heads,
                        head_dim=head_dim,
                    )


def heads(like: ModelShape, hidden_size: int, multiple: int) -> Iterator[tuple[int, int]]:
    """Numbers of key-value heads, with their size, that have all heads about as wide to a hidden size as those of the other shape."""
    n_queries = like.n_heads // like.n_kv_heads
    wanted = hidden_size * like.query_size / like.hidden_size
    even = multiple if multiple % 2 == 0 else 2 * multiple  # as rotary positions need it
    for head_dim in sorted({like.head_dim, *range(even, like.head_dim, even)}):
        below = int(wanted / (n_queries * head_dim))
        for n_kv_heads in (below, below + 1):
            if 0.5 * wanted <= n_queries * n_kv_heads * head_dim <= 2 * wanted:
                yield n_kv_heads, head_dim


def steps(multiple: int) -> list[int]:
    """The multiple and what it becomes when doubled, up to the roundest."""
    found = [multiple]
    while 2 * found[-1] <= ROUND:
        found.append(2 * found[-1])
    return found


def distance(shape: ModelShape, like: ModelShape) -> float:
    """How far the proportions of one shape are from those of another: differences of logarithms, summed."""
    ffn = log(shape.ffn_size / shape.hidden_size) - log(like.ffn_size / like.hidden_size)
    heads = log(shape.query_size / shape.hidden_size) - log(like.query_size / like.hidden_size)
    head = log(shape.head_dim / like.head_dim)
    return abs(ffn) + abs(heads) + HEAD_SIZE_COUNTS * abs(head)


def roundness(shape: ModelShape) -> int:
    """The largest power of two, up to 64, that all sizes are multiples of, which matrix products on a GPU run best at."""
    return gcd(ROUND, shape.hidden_size, shape.ffn_size, shape.query_size)


def none_near(like: ModelShape, n_params_linear: float, tolerance: float, multiple: int, partners: list[Partner]) -> ModelError:
    wanted = (
        f"No dense model of {like.n_layers} layers and a vocabulary of {like.vocab_size:,} comes within {tolerance:.2%} of "
        f"{short(n_params_linear)} linear weights in sizes that are multiples of {multiple}"
    )
    if not partners:
        return ModelError(f"{wanted}; none has proportions that are near at all: use smaller multiples, or a larger model.")
    nearest = min(partners, key=lambda partner: (abs(partner.error), distance(partner.shape, like)))
    return ModelError(
        f"{wanted}; the nearest, {words(nearest.shape)}, has {abs(nearest.error):.2%} {'more' if nearest.error > 0 else 'fewer'}: "
        "allow more, or use smaller multiples."
    )


def words(shape: ModelShape) -> str:
    heads = "1 head" if shape.n_heads == 1 else f"{shape.n_heads} heads"
    return f"hidden size {shape.hidden_size:,}, feed-forward {shape.ffn_size:,}, {heads} of {shape.head_dim}"
