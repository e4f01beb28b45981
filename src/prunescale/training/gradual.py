"""Gradual magnitude pruning: when to prune while a model trains, and what share of the weights to keep each time.

Jin et al. 2025, arXiv:2501.12486: K prunings at even distances; after the k-th, counted from 0, (1 - S)^((k + 1) / K) of the weights
are left. The window is a share of the compute, which is 6 N(t) a token, N(t) being the weights of the linear layers that are left at
that time: since a step costs less the more is pruned, in steps the window lies earlier.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from prunescale.recipe import SparseRecipe


@dataclass(frozen=True)
class Pruning:
    """After this step, counted from 1, this share of the weights that can be pruned is kept."""

    step: int
    keep: float


def prunings(recipe: SparseRecipe, n_steps: int, n_prunable: int, n_linear: int) -> tuple[Pruning, ...]:
    """The prunings of a training of so many steps. n_prunable: weights that compete; n_linear: all those of the linear layers, head
    included, by which compute is counted.

    There is one pruning at least, none before the first step or after the last, and steps from the first to the last are a multiple of
    `every`, as near to the window's end as that allows."""
    if recipe.of == "steps":
        first, last = (round(share * n_steps) for share in (recipe.start, recipe.end))
        n_prunings = 1 + (last - first) // recipe.every
    else:
        first, n_prunings = window_by_compute(recipe, n_steps, n_prunable, n_linear)
    first = min(max(first, 1), n_steps)
    n_prunings = max(1, min(n_prunings, 1 + (n_steps - first) // recipe.every))
    shares = keep_shares(recipe, n_prunings)
    return tuple(Pruning(first + number * recipe.every, float(share)) for number, share in enumerate(shares))


def keep_shares(recipe: SparseRecipe, n_prunings: int) -> np.ndarray:
    """What is kept after each of K prunings."""
    done = np.arange(1, n_prunings + 1) / n_prunings
    sparsity = recipe.final_sparsity
    if recipe.schedule == "cubic":  # Zhu and Gupta 2017, arXiv:1710.01878, eq. 1, from no zeros at all
        return 1 - sparsity * (1 - (1 - done) ** 3)
    return (1 - sparsity) ** done


def window_by_compute(recipe: SparseRecipe, n_steps: int, n_prunable: int, n_linear: int) -> tuple[int, int]:
    """The step of the first pruning, and how many there are, so that they begin and end at the shares of the compute that are wanted, as
    nearly as whole steps allow."""

    def shares_of(first: int, n_prunings: int) -> tuple[float, float]:
        """The shares of all compute that are spent at the first pruning and at the last."""
        left = n_linear - n_prunable * (1 - keep_shares(recipe, n_prunings))
        last = first + (n_prunings - 1) * recipe.every
        at_first = first * float(n_linear)
        at_last = at_first + recipe.every * float(left[:-1].sum())
        total = at_last + (n_steps - last) * float(left[-1])
        return at_first / total, at_last / total

    def first_of(n_prunings: int) -> int:
        latest = n_steps - (n_prunings - 1) * recipe.every
        return nearest(lambda first: shares_of(first, n_prunings)[0], recipe.start, 0, latest)

    most = 1 + n_steps // recipe.every
    n_prunings = nearest(lambda n: shares_of(first_of(n), n)[1], recipe.end, 1, most)
    return first_of(n_prunings), n_prunings


def nearest(rising: Callable[[int], float], wanted: float, low: int, high: int) -> int:
    """The whole number from low to high at which a rising function is nearest to a value; the lower of two that are as near."""
    low, high = low, max(low, high)
    first, last = low, high
    while first < last:
        middle = (first + last) // 2
        if rising(middle) < wanted:
            first = middle + 1
        else:
            last = middle
    below = max(low, first - 1)
    return below if wanted - rising(below) <= rising(first) - wanted else first


def weights_over_steps(planned: tuple[Pruning, ...], n_steps: int, n_prunable: int, n_linear: int) -> float:
    """The weights left, summed over the steps: times 6 and the tokens of a step, the compute of a training."""
    steps = np.array([0, *(pruning.step for pruning in planned), n_steps])
    left = np.array([n_linear, *(n_linear - n_prunable * (1 - pruning.keep) for pruning in planned)])
    return float((np.diff(steps) * left).sum())


def average_share(recipe: SparseRecipe, n_steps: int, n_prunable: int, n_linear: int) -> float:
    """N_avg / N: the weights left, averaged over the training, as a share of those at first."""
    planned = prunings(recipe, n_steps, n_prunable, n_linear)
    return weights_over_steps(planned, n_steps, n_prunable, n_linear) / (n_steps * n_linear)


def steps_of_equal_compute(recipe: SparseRecipe, dense_steps: int, n_prunable: int, n_linear: int) -> int:
    """How many steps may be taken for what so many steps of the dense model cost, at 6 N(t) a token."""

    def cost(n_steps: int) -> float:
        return n_steps * average_share(recipe, n_steps, n_prunable, n_linear)

    most = int(dense_steps / (1 - recipe.final_sparsity * n_prunable / n_linear)) + 1
    return nearest(cost, float(dense_steps), dense_steps, most)
