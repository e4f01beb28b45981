"""The threshold is the one that sorting finds, however the weights are counted and over whatever processes they are spread."""

from datetime import timedelta

import pytest
import torch
from torch import distributed, multiprocessing

from prunescale.training import threshold
from prunescale.training.threshold import by_digits, magnitude, magnitude_threshold, narrowed, prune_smallest_

CPU = torch.device("cpu")


def masks_of(weights):
    return [torch.ones_like(weight, dtype=torch.bool) for weight in weights]


@pytest.fixture
def weights():
    torch.manual_seed(0)
    few_values = torch.randint(-3, 4, (40, 8)).float()  # many are alike, and many zero
    tiny = torch.randn(30, 8) * 1e-40  # below the smallest normal float
    return [torch.randn(50, 8), 300 * torch.randn(7, 8), few_values, tiny, torch.empty(0, 8), torch.randn(9, 8).bfloat16()]


@pytest.mark.parametrize(("found_by", "at_once"), [(magnitude_threshold, 2**26), (by_digits, 2**26), (by_digits, 100)])
def test_it_is_the_order_statistic(weights, monkeypatch, found_by, at_once):
    monkeypatch.setattr(threshold, "AT_ONCE", at_once)
    sizes = torch.cat([weight.float().flatten().abs() for weight in weights]).sort().values
    for n_below in (1, 2, 17, 300, 301, 600, len(sizes) - 1):
        found = found_by(lambda: (magnitude(weight, None) for weight in weights), n_below, CPU)
        assert found == sizes[n_below], n_below


def narrowed_first(magnitudes, n_below, device):
    return by_digits(*narrowed(magnitudes, n_below, device), device)


@pytest.mark.parametrize("every", [1, 7, 10**6])
def test_a_sample_changes_nothing(weights, monkeypatch, every):
    monkeypatch.setattr(threshold, "EVERY", every)
    test_it_is_the_order_statistic(weights, monkeypatch, narrowed_first, 2**26)


def test_a_sample_leaves_few_in_question(monkeypatch):
    monkeypatch.setattr(threshold, "EVERY", 100)
    torch.manual_seed(0)
    sizes = torch.randn(20, 50_000).abs()
    few, rank = narrowed(lambda: iter(sizes), 300_000, CPU)
    assert sum(map(len, few())) < 0.06 * sizes.numel()
    assert torch.cat(list(few())).sort().values[rank] == sizes.flatten().sort().values[300_000]


def test_a_sample_that_misleads_is_not_believed(monkeypatch):
    monkeypatch.setattr(threshold, "EVERY", 100)
    sizes = torch.arange(10_000.0)
    sizes[::100] += 1e6  # all that is looked at
    few, rank = narrowed(lambda: iter([sizes]), 5_000, CPU)
    assert (rank, sum(map(len, few()))) == (5_000, 10_000)


@pytest.mark.parametrize("found_by", [magnitude_threshold, by_digits, narrowed_first])
def test_infinite_and_not_a_number_are_the_largest(found_by):
    sizes = torch.tensor([1.0, torch.nan, 0.5, torch.inf])
    assert [float(found_by(lambda: iter([sizes]), n, CPU)) for n in (0, 1, 2)] == [0.5, 1.0, torch.inf]
    assert found_by(lambda: iter([sizes]), 3, CPU).isnan()
    weight = torch.tensor([[1.0, -torch.inf, torch.nan, 0.5]])
    keeps = masks_of([weight])
    keeps[0][0, 1] = False
    assert prune_smallest_([weight], keeps, 0.75) == 2
    assert (weight[0, :2].tolist(), weight[0, 3]) == ([1.0, 0.0], 0.0)  # not inf times 0
    assert weight[0, 2].isnan()


SPREAD = {2: "2:4", 3: None}
"""Numbers of processes, and the pattern that is tried on so many."""


def to_spread():
    torch.manual_seed(3)
    return [torch.randn(7, 8), torch.randint(-2, 3, (5, 8)).float(), torch.randn(1, 8)]  # no row of the last on all ranks but one


def pruned_twice(weights, pattern, group=None):
    keeps = masks_of(weights)
    return [prune_smallest_(weights, keeps, share, pattern=pattern, group=group) for share in (0.8, 0.5)], weights, keeps


def one_of_three(rank, folder):
    """A process: prunes its rows of all weights, and keeps what they have become."""
    store = distributed.FileStore(f"{folder}/store", 3)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=3, timeout=timedelta(seconds=60))
    for n_ranks, pattern in SPREAD.items():
        group = distributed.new_group(range(n_ranks))
        if rank < n_ranks:
            rows = [weight.tensor_split(n_ranks)[rank].clone() for weight in to_spread()]
            torch.save(pruned_twice(rows, pattern, group), f"{folder}/{n_ranks}-{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_the_same_however_the_rows_are_spread(tmp_path):
    multiprocessing.spawn(one_of_three, (tmp_path,), 3)
    for n_ranks, pattern in SPREAD.items():
        left, weights, keeps = pruned_twice(to_spread(), pattern)
        parts = [torch.load(tmp_path / f"{n_ranks}-{rank}.pt") for rank in range(n_ranks)]
        assert [part[0] for part in parts] == [left] * n_ranks
        for number, (weight, keep) in enumerate(zip(weights, keeps, strict=True)):
            assert torch.equal(torch.cat([part[1][number] for part in parts]), weight)
            assert torch.equal(torch.cat([part[2][number] for part in parts]), keep)


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
