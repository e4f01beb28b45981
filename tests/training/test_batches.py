import tracemalloc
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch

from prunescale.errors import DataError
from prunescale.training import Batches, StoredIds, Tokens, positions_of


def counting(n: int) -> Tokens:
    """0, 1, 2, ...: a window shows where it was taken."""
    return Tokens(torch.arange(n), None)


def in_turn(tokens: Tokens, sequence_length: int, n_sequences: int, seed: int):
    """The same batches one after the other, by one generator: how they were made before they could be asked for by step."""
    n_windows = (len(tokens) - 1) // sequence_length - 1
    rng, start = np.random.default_rng(seed), 0
    while True:
        order = torch.from_numpy(rng.permutation(n_windows))
        for windows in order[: n_windows // n_sequences * n_sequences].split(n_sequences):
            yield tokens.ids[(start + windows * sequence_length)[:, None] + torch.arange(sequence_length + 1)]
        start = int(rng.integers(sequence_length))


def stored(ids: torch.Tensor, *cuts: int) -> StoredIds:
    """The ids as 16 bits without a sign, in pieces."""
    narrow = torch.from_numpy(ids.numpy().astype(np.uint16).view(np.int16))
    return StoredIds(narrow.tensor_split(cuts), int(ids.max()))


@pytest.mark.parametrize("steps", [range(1, 101), (100, 1, 50, 49, 51, 2, 100, 100)], ids=["in order", "jumping"])
def test_a_batch_depends_on_seed_and_step_alone(steps):
    # (203 - 1) // 10 - 1 = 19 windows, 4 batches of 4 an epoch: 100 steps are 25 epochs.
    tokens = counting(203)
    wanted = list(islice(in_turn(tokens, 10, 4, seed=3), 100))
    batches = Batches(tokens, 10, 4, seed=3)
    assert all(torch.equal(batches.at(step), wanted[step - 1]) for step in steps)
    assert not torch.equal(batches.at(1), Batches(tokens, 10, 4, seed=4).at(1))


@pytest.mark.parametrize("cuts", [(), (1,), (100, 101, 150)])
def test_where_the_ids_lie_changes_nothing(cuts):
    ids = torch.randint(0, 2**16, (203,), generator=torch.Generator().manual_seed(0))
    ids[7] = 2**16 - 1
    plain = Batches(Tokens(ids, None), 10, 4, seed=0)
    for other in (stored(ids, *cuts), ids.to(torch.int32)):
        batches = Batches(Tokens(other, None), 10, 4, seed=0)
        for step in (1, 2, 9, 30):
            assert batches.at(step).dtype == torch.int64
            assert torch.equal(batches.at(step), plain.at(step))


def test_stored_ids_are_sliced_like_a_tensor():
    ids = torch.arange(50) * 1300
    found = stored(ids, 20, 20, 33)
    assert len(found) == 50
    assert found.nbytes == 100
    for part in (slice(5), slice(18, 40), slice(20, 33), slice(-7, None), slice(60, 70), slice(None)):
        assert torch.equal(found[part], ids[part])
    assert torch.equal(found.to(torch.device("cpu"))[:], ids)
    with pytest.raises(ValueError, match="a step of 2"):
        found[::2]


def test_ranks_share_a_batch_row_by_row():
    batches = Batches(counting(300), 10, 6, seed=1)
    for n_ranks in (1, 2, 3, 4):
        shares = [batches.rows(7, rank, n_ranks) for rank in range(n_ranks)]
        assert torch.equal(torch.cat(shares), batches.at(7))


def test_each_epoch_takes_each_window_once():
    # (107 - 1) // 10 - 1 = 9 windows, of which four batches of two are taken before the next epoch begins.
    every = Batches(counting(107), 10, 2, seed=3)
    batches = [every.at(step) for step in range(1, 401)]
    offsets = set()
    for epoch in range(100):
        rows = torch.cat(batches[4 * epoch : 4 * epoch + 4])
        assert rows.shape == (8, 11)
        assert torch.equal(rows, rows[:, :1] + torch.arange(11))  # a window is a piece of the text
        firsts = rows[:, 0].tolist()
        assert len(set(firsts)) == 8
        (offset,) = {first % 10 for first in firsts}  # windows touch and do not overlap
        offsets.add(offset)
        if epoch == 0:
            assert offset == 0
    assert offsets == set(range(10))
    taken = Counter(torch.cat(batches)[:, 0].tolist())
    assert max(taken) + 10 <= 106
    # Nothing is left out for good: each of 90 starts is expected 8.9 times; never at all has a chance of e^-8.9 for each but
    # those of the first epoch's offset, 1 in 100 for all of them, and the seed is fixed.
    assert len(taken) == 90


def test_an_order_takes_four_bytes_a_window():
    tracemalloc.start()
    Batches(counting(2_000_003), 2, 4, seed=0).at(1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4.5 * 1_000_000


def test_too_little_to_train_on():
    Batches(counting(41), 10, 3, seed=0).at(1)
    with pytest.raises(DataError, match="has 40 tokens, and a batch of 3 x 10 needs 41 at least"):
        Batches(counting(40), 10, 3, seed=0)
    with pytest.raises(ValueError, match="counted from 1, got 0"):
        Batches(counting(41), 10, 3, seed=0).at(0)


def test_positions_begin_anew_after_each_end():
    # 9 ends a document, and belongs to it. Two ends in a row: the second is a document of its own.
    ids = torch.tensor([[5, 6, 9, 7, 9, 9, 8], [9, 1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 9]])
    wanted = [[0, 1, 2, 0, 1, 0, 0], [0, 0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6]]
    positions = positions_of(ids, 9)
    assert positions.tolist() == wanted
    assert positions.dtype == torch.int64


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_batches_and_positions_are_the_same():
    gpu = torch.device("cuda")
    ids = torch.randint(0, 2**16, (5003,), generator=torch.Generator().manual_seed(0))
    here = Batches(Tokens(ids, None), 10, 4, seed=0)
    for other in (ids.to(gpu), ids.to(gpu, torch.int32), stored(ids, 1000, 1001).to(gpu)):
        there = Batches(Tokens(other, None), 10, 4, seed=0)
        assert there.at(200).device.type == "cuda"
        assert torch.equal(there.at(200).cpu(), here.at(200))
    assert torch.equal(positions_of(here.at(3).to(gpu) % 5, 2).cpu(), positions_of(here.at(3) % 5, 2))
