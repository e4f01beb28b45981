"""When a model is pruned while it trains, against what the paper, its code and its model cards say (Jin et al. 2025, arXiv:2501.12486)."""

import re
import runpy
from itertools import pairwise
from pathlib import Path

import pytest

from prunescale.recipe import Recipe, SparseRecipe
from prunescale.training.gradual import Pruning, average_share, keep_shares, prunings, steps_of_equal_compute

SPARSE_PAGE = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "generate_sparse.py"))

N = 137_800_000
"""Weights of the linear layers of the paper's 162M model."""


def test_two_prunings_by_hand():
    # Half of the weights in the end, by two prunings: the first leaves sqrt(1/2). Ten steps, from the 4th to the 8th.
    planned = prunings(SparseRecipe(sparsity=0.5, start=0.4, end=0.8, of="steps", every=4), 10, 100, 100)
    assert planned == (Pruning(4, 0.5**0.5), Pruning(8, 0.5))


def test_cubic():
    # Zhu and Gupta, eq. 1: S (1 - (1 - t)^3) is zero after t; at a half, 7/8 of S.
    shares = keep_shares(SparseRecipe(sparsity=0.8, schedule="cubic"), 2)
    assert shares.tolist() == pytest.approx([1 - 0.8 * 7 / 8, 0.2])


@pytest.mark.parametrize(
    ("sparsity", "average", "steps", "first", "last"),
    [
        # N_avg/N = 1 / (0.25 + 0.5 ln(1/(1-S))/S + 0.25/(1-S)): a dense quarter of the compute, a half in which N falls
        # exponentially in steps, and a quarter at N (1-S). Steps are its inverse, and the window 0.25 of the dense steps, and so on.
        (0.2, 0.893, 1.12, 0.223, 0.721),
        (0.4, 0.766, 1.31, 0.192, 0.681),
        (0.5, 0.693, 1.44, 0.173, 0.654),
        (0.6, 0.610, 1.64, 0.153, 0.619),
        (0.8, 0.399, 2.51, 0.100, 0.501),
    ],
)
def test_the_window_by_compute(sparsity, average, steps, first, last):
    recipe = SparseRecipe(sparsity=sparsity)
    n_steps = steps_of_equal_compute(recipe, 10_000, N, N)
    planned = prunings(recipe, n_steps, N, N)
    assert average_share(recipe, n_steps, N, N) == pytest.approx(average, abs=1.1e-3)
    assert n_steps / 10_000 == pytest.approx(steps, abs=0.006)
    assert planned[0].step / n_steps == pytest.approx(first, abs=0.001)
    assert planned[-1].step / n_steps == pytest.approx(last, abs=0.005)  # 100 steps from one to the next are 0.004 to 0.009
    assert planned[-1].keep == pytest.approx(1 - sparsity)


@pytest.mark.parametrize(("sparsity", "n_steps", "density"), [(0.2, 11200, 0.8919), (0.4, 13050, 0.7651), (0.8, 25050, 0.3984)])
def test_the_released_models(sparsity, n_steps, density):
    """Steps and average densities on the cards of the released 1B models, each of which cost 10,000 dense steps."""
    recipe = SparseRecipe(sparsity=sparsity)
    assert average_share(recipe, n_steps, N, N) == pytest.approx(density, abs=1.2e-3)
    assert steps_of_equal_compute(recipe, 10_000, N, N) == pytest.approx(n_steps, abs=2)


@pytest.mark.parametrize(("sparsity", "first", "last"), [(0.2, 2500, 8100), (0.6, 2500, 10100), (0.8, 2500, 12600)])
def test_the_windows_of_the_released_models(sparsity, first, last):
    """That of 40 %, 2500 to 8875, is no multiple of 100 steps, and so had another interval."""
    planned = prunings(
        SparseRecipe(sparsity=sparsity), steps_of_equal_compute(SparseRecipe(sparsity=sparsity), 10_000, N, N), N, N
    )
    assert (planned[0].step, planned[-1].step) == (pytest.approx(first, abs=6), pytest.approx(last, abs=6))


@pytest.mark.parametrize(("sparsity", "n_steps", "n_prunings"), [(0.6, 4255, 80), (0.8, 6487, 106)])
def test_steps_of_a_plan_by_another_program(sparsity, n_steps, n_prunings):
    """A loop of its own, for 2,593 dense steps and a pruning every 25: within a quarter of a percent of our steps, and as many prunings."""
    recipe = SparseRecipe(sparsity=sparsity, every=25)
    found = steps_of_equal_compute(recipe, 2593, N, N)
    assert found == pytest.approx(n_steps, rel=0.0025)
    assert len(prunings(recipe, found, N, N)) == n_prunings


def test_a_head_that_stays_counts_as_compute():
    recipe = SparseRecipe(sparsity=0.8, head=False)
    assert average_share(recipe, 1000, 700, 1000) > 0.7 * average_share(recipe, 1000, 1000, 1000) + 0.3


@pytest.mark.parametrize("n_steps", [1, 2, 7, 40, 1000])
@pytest.mark.parametrize(("start", "end"), [(0.0, 0.0), (0.0, 1.0), (0.5, 0.5), (0.9, 1.0), (1.0, 1.0), (0.25, 0.75)])
@pytest.mark.parametrize("of", ["compute", "steps"])
def test_whatever_the_window_it_ends_as_sparse_as_wanted(n_steps, start, end, of):
    planned = prunings(SparseRecipe(sparsity=0.6, start=start, end=end, of=of, every=3), n_steps, 90, 100)
    assert 1 <= planned[0].step <= planned[-1].step <= n_steps
    assert planned[-1].keep == pytest.approx(0.4)
    assert all(after.step - before.step == 3 for before, after in pairwise(planned))
    if start == end:
        assert len(planned) == 1


def test_the_page_of_sparse_training_has_these_numbers():
    page = SPARSE_PAGE["PAGE"].read_text("utf-8")
    assert page == SPARSE_PAGE["page"](page), "docs/sparse.md is out of date: run python docs/generate_sparse.py"
    (example,) = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    assert Recipe.from_toml(example).sparse == SparseRecipe(sparsity=0.8, every=10)
