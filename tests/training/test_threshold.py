"""The threshold is the one that sorting finds."""

import pytest
import torch

from prunescale.training import threshold
from prunescale.training.threshold import magnitude, magnitude_threshold, prune_smallest_

CPU = torch.device("cpu")


def masks_of(weights):
    return [torch.ones_like(weight, dtype=torch.bool) for weight in weights]


@pytest.fixture
def weights():
    torch.manual_seed(0)
    few_values = torch.randint(-3, 4, (40, 8)).float()  # many are alike, and many zero
    tiny = torch.randn(30, 8) * 1e-40  # below the smallest normal float
    return [torch.randn(50, 8), 300 * torch.randn(7, 8), few_values, tiny, torch.empty(0, 8), torch.randn(9, 8).bfloat16()]


@pytest.mark.parametrize("at_once", [2**26, 100])
def test_it_is_the_order_statistic(weights, monkeypatch, at_once):
    monkeypatch.setattr(threshold, "AT_ONCE", at_once)
    sizes = torch.cat([weight.float().flatten().abs() for weight in weights]).sort().values
    for n_below in (1, 2, 17, 300, 301, 600, len(sizes) - 1):
        found = magnitude_threshold(lambda: (magnitude(weight, None) for weight in weights), n_below, CPU)
        assert found == sizes[n_below], n_below


def test_the_smallest_go_and_the_number_left_is_exact():
    weight = torch.tensor([[3.0, -1.0, 0.5], [2.0, -4.0, 0.1]])
    keeps = masks_of([weight])
    assert prune_smallest_([weight], keeps, 0.5) == 3
    assert weight.tolist() == [[3.0, 0.0, 0.0], [2.0, -4.0, 0.0]]
    assert torch.equal(keeps[0], weight != 0)


def test_what_is_pruned_stays_pruned():
    first, second = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[5.0, 6.0, 7.0, 8.0]])
    keeps = masks_of([first, second])
    assert prune_smallest_([first, second], keeps, 0.75) == 6
    keeps[1][0, 3] = False  # pruned earlier, though the largest
    second[0, 3] = 0
    assert prune_smallest_([first, second], keeps, 0.5) == 4
    assert (first.tolist(), second.tolist()) == ([[0.0, 0.0, 0.0, 4.0]], [[5.0, 6.0, 7.0, 0.0]])


def test_all_or_nothing():
    weight = torch.tensor([[1.0, 2.0]])
    keeps = masks_of([weight])
    assert prune_smallest_([weight], keeps, 1.0) == 2
    assert weight.tolist() == [[1.0, 2.0]]


def test_as_large_as_the_threshold_stay():
    # Of 1, 1, 1, 2 two are to go: the threshold is 1, and nothing is below it (the authors' code: abs(w) >= threshold).
    weight = torch.tensor([[1.0, -1.0, 1.0, 2.0]])
    assert prune_smallest_([weight], masks_of([weight]), 0.5) == 4


def test_a_pattern_protects_the_largest_of_each_group():
    weight = torch.tensor([[9.0, 8.0, 7.0, 6.0, 0.4, 0.3, 0.2, 0.1]])
    keeps = masks_of([weight])
    assert prune_smallest_([weight], keeps, 0.75, pattern="2:4") == 6
    assert weight[0].tolist() == pytest.approx([9.0, 8.0, 7.0, 6.0, 0.4, 0.3, 0.0, 0.0])
    assert prune_smallest_([weight], keeps, 0.5, pattern="2:4") == 4
    assert weight[0].tolist() == pytest.approx([9.0, 8.0, 0.0, 0.0, 0.4, 0.3, 0.0, 0.0])


def test_a_million_at_once():
    torch.manual_seed(1)
    weights = [torch.randn(700, 1000), torch.randn(300, 1000)]
    assert prune_smallest_(weights, masks_of(weights), 0.2) == 200_000


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_more_than_two_to_the_31_on_a_gpu():
    n = 2**31 + 2**20
    weight = torch.randn(n // 2**20, 2**20, device="cuda", dtype=torch.bfloat16)
    keep = torch.ones_like(weight, dtype=torch.bool)
    left = prune_smallest_([weight], [keep], 0.3)
    assert left == int(keep.sum())
    assert left / n == pytest.approx(0.3, abs=2e-3)  # bfloat16: many are as large as the threshold, and stay
