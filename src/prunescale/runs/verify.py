"""Whether a store is as it was written: SQLite's own checks, and every figure that follows from others, computed again and compared.

A figure that cannot be computed again from what is kept (a loss, a count of zeros) is not checked, nor is one that nobody knows.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from prunescale.errors import StoreError
from prunescale.recipe import hash_of
from prunescale.runs.check import check
from prunescale.runs.record import Run, average_over
from prunescale.runs.store import Store
from prunescale.shape import ModelShape

ROUNDING = 1e-9  # relative: sums of floats in another order differ by far less, and a wrong term by far more

Figure = tuple[str, Any, Any]
"""What it is called, what is stored, and what it should be."""


@dataclass(frozen=True)
class Verified:
    """What was checked, how often by the name of the figure, and what is wrong, a sentence each."""

    n_runs: int
    n_points: int
    n_checked: dict[str, int]
    faults: tuple[str, ...]


def verify(store: Store) -> Verified:
    """Check the file, each run's record, and each derived figure of it. Nothing is changed. Raises StoreError where the file cannot be
    read at all."""
    faults = list(store.faults())
    n_runs = n_points = 0
    n_checked: dict[str, int] = {}
    for id in store.ids():
        n_runs += 1
        try:
            run = store.get(id)
        except StoreError as error:  # a damaged page; JSON of something else
            faults.append(f"Run {id!r} cannot be read: {error}")
            continue
        try:
            check(run)
            found = (*figures(run), ("bits_per_byte", store.curve_end_in_bits(id), run.bits_per_byte))
        except (StoreError, ValueError, TypeError, KeyError, AttributeError) as error:
            faults.append(str(error) if isinstance(error, StoreError) else f"Run {id!r} cannot be read: {error}.")
            continue
        n_points += len(run.points)
        if not store.curve_is_copied(run):
            faults.append(f"Run {id!r}: the packed copy of its curve is not that of its points.")
        for name, stored, computed in found:
            if stored is None and computed is None:
                continue
            n_checked[name] = n_checked.get(name, 0) + 1
            if not _same(stored, computed):
                faults.append(f"Run {id!r}: {name} is {_shown(stored)}, and computed again {_shown(computed)}.")
    return Verified(n_runs, n_points, n_checked, tuple(faults))


def figures(run: Run) -> Iterator[Figure]:
    """The figures of a run that follow from others, where these are known."""
    for of in DERIVED:
        for name, stored, computed in of(run):
            if stored is not None:
                yield name, stored, computed


def recipe_hash(run: Run) -> Iterator[Figure]:
    """Of the recipe as it was kept, not as today's prunescale would read it: entries that are younger have no part in it."""
    if run.recipe:
        yield "recipe_hash", run.recipe_hash, hash_of(run.recipe)


def sums(run: Run) -> Iterator[Figure]:
    groups = (run.n_params_attention, run.n_params_ffn, run.n_params_norm)
    if None not in groups:
        yield "n_params_non_embedding", run.n_params_non_embedding, sum(groups)
    parts = (run.n_params_embedding, run.n_params_head, run.n_params_non_embedding)
    if None not in parts:
        yield "n_params_total", run.n_params_total, sum(parts)


def shape_from_nothing(run: Run) -> ModelShape | None:
    """Of a model that the recipe describes from nothing; its vocabulary is told by the embedding."""
    model = run.recipe.get("model")
    if not isinstance(model, dict) or not run.n_params_embedding:
        return None
    return ModelShape(
        n_layers=model["layers"],
        hidden_size=model["hidden_size"],
        ffn_size=model["ffn_size"],
        n_heads=model["heads"],
        n_kv_heads=model.get("kv_heads") or model["heads"],
        head_dim=model.get("head_dim") or model["hidden_size"] // model["heads"],
        vocab_size=run.n_params_embedding // model["hidden_size"],
        tied_embeddings=model.get("tied", False),
    )


def sizes(run: Run) -> Iterator[Figure]:
    shape = shape_from_nothing(run)
    if shape:
        for group in ("attention", "ffn", "norm", "embedding", "head", "linear"):
            name = f"n_params_{group}"
            yield name, getattr(run, name), getattr(shape, name)


def flops(run: Run) -> Iterator[Figure]:
    """Exactly for a model made from nothing that had no teacher; for others what their linear layers alone cost is a lower bound."""
    shape = shape_from_nothing(run)
    beside = run.inputs.get("flops_between", 0.0) + run.inputs.get("flops_cooldowns", 0.0)
    if run.flops is None or not run.recipe:
        return
    if shape and run.sequence_length and "distill" not in run.recipe:
        yield "flops", run.flops, float(shape.flops_per_token(run.sequence_length) * run.n_tokens) + beside
    elif run.n_params_linear is not None:
        least = 6.0 * run.n_params_linear * run.n_tokens + beside
        yield "flops", run.flops, max(run.flops, least)


def of_weights_left(run: Run) -> Iterator[Figure]:
    if run.n_params_left and "sparse" in run.recipe:
        average = average_over(run.n_params_left, run.n_tokens)
        yield "n_params_final", run.inputs.get("n_params_final"), run.n_params_left[-1][1]
        yield "flops_sparse", run.inputs.get("flops_sparse"), 6.0 * average * run.n_tokens


def tokens(run: Run) -> Iterator[Figure]:
    """A training ends with whole batches."""
    train = run.recipe.get("train")
    if isinstance(train, dict) and train.get("batch_tokens"):
        yield "n_tokens", run.n_tokens, math.ceil(train["tokens"] / train["batch_tokens"]) * train["batch_tokens"]


DERIVED: tuple[Callable[[Run], Iterator[Figure]], ...] = (recipe_hash, sums, sizes, flops, of_weights_left, tokens)


def _same(stored: Any, computed: Any) -> bool:
    if isinstance(stored, float) and isinstance(computed, int | float):
        return math.isclose(stored, computed, rel_tol=ROUNDING)
    return stored == computed


def _shown(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)
