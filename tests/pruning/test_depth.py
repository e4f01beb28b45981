import math
from dataclasses import replace

import pytest
import torch

from prunescale.errors import PruningError
from prunescale.pruning import METHODS, blocks_for_rate, rate_of_blocks
from prunescale.shape import ModelShape

# Four blocks. Influences, one minus the entries above the diagonal: 0.5, 0.125, 0.25, 0.125.
COSINES = torch.eye(5, dtype=torch.float64)
for block, cosine in enumerate([0.5, 0.875, 0.75, 0.875]):
    COSINES[block, block + 1] = COSINES[block + 1, block] = cosine

# Angles from boundary i to boundary j > i, in units of pi.
ANGLES = torch.tensor(
    [
        [0.00, 0.30, 0.35, 0.50, 0.45],
        [0.30, 0.00, 0.10, 0.25, 0.40],
        [0.35, 0.10, 0.00, 0.20, 0.15],
        [0.50, 0.25, 0.20, 0.00, 0.05],
        [0.45, 0.40, 0.15, 0.05, 0.00],
    ],
    dtype=torch.float64,
)

# A block has 2 * 8 * 2 * 4 + 2 * 8 * 1 * 4 = 192 weights of attention, 3 * 8 * 20 = 480 of the feed-forward, 16 of its norms:
# 688. Eight of them and the norm at the end are 5512, so that one is a share of 0.12482 and eight are 0.99855.
SHAPE = ModelShape(
    n_layers=8, hidden_size=8, ffn_size=20, n_heads=2, n_kv_heads=1, head_dim=4, vocab_size=30, tied_embeddings=True
)


@pytest.mark.parametrize(
    ("n_drop", "blocks"),
    [
        (1, (3,)),  # of blocks 1 and 3, which are equal, the later
        (2, (1, 3)),
        (3, (1, 2, 3)),
    ],
)
def test_block_influence(n_drop, blocks):
    choice = METHODS["block-influence"](COSINES, ANGLES, n_drop)
    assert choice.blocks == blocks
    assert choice.scores == (0.5, 0.125, 0.25, 0.125)


@pytest.mark.parametrize(
    ("n_drop", "blocks", "scores"),
    [
        (1, (3,), (0.30, 0.10, 0.20, 0.05)),
        (2, (2, 3), (0.35, 0.25, 0.15)),
        (3, (1, 2, 3), (0.50, 0.40)),
    ],
)
def test_contiguous(n_drop, blocks, scores):
    choice = METHODS["contiguous"](COSINES, ANGLES, n_drop)
    assert choice.blocks == blocks
    assert choice.scores == scores


def test_the_methods_look_at_different_things():
    # The pair of least influence is 1 and 3, which are no neighbours.
    assert METHODS["block-influence"](COSINES, ANGLES, 2).blocks != METHODS["contiguous"](COSINES, ANGLES, 2).blocks


@pytest.mark.parametrize(("n_drop", "rate"), [(1, 688 / 5512), (3, 2064 / 5512), (7, 4816 / 5512)])
def test_the_rate_of_blocks(n_drop, rate):
    assert rate_of_blocks(SHAPE, n_drop) == rate
    after = replace(SHAPE, n_layers=8 - n_drop).n_params_non_embedding
    assert math.isclose(rate, 1 - after / SHAPE.n_params_non_embedding, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("rate", "n_drop"), [(0.0625, 1), (0.125, 1), (0.18, 1), (0.19, 2), (0.25, 2), (0.5, 4), (0.875, 7), (0.93, 7)]
)
def test_a_rate_becomes_the_nearest_number_of_blocks(rate, n_drop):
    assert blocks_for_rate(SHAPE, rate) == n_drop


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.25, 1.5, math.nan, math.inf])
def test_a_rate_is_between_0_and_1(rate):
    with pytest.raises(PruningError, match=f"strictly between 0 and 1, got {rate:g}"):
        blocks_for_rate(SHAPE, rate)


@pytest.mark.parametrize(("rate", "which"), [(0.06, "no block"), (0.94, "every block")])
def test_a_rate_that_rounds_to_nothing_or_all_is_told_what_would_do(rate, which):
    with pytest.raises(PruningError) as caught:
        blocks_for_rate(SHAPE, rate)
    assert str(caught.value) == (
        f"A pruning rate of {rate} rounds to {which} of 8: "
        "with this model give a rate from 0.125 (one block) to 0.874 (all but one)."
    )
    assert blocks_for_rate(SHAPE, 0.125) == 1
    assert blocks_for_rate(SHAPE, 0.874) == 7


def test_one_block_is_too_few():
    with pytest.raises(PruningError, match="has one block"):
        blocks_for_rate(replace(SHAPE, n_layers=1), 0.5)
