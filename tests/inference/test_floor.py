"""The arithmetic of the least time, on numbers worked out by hand."""

import pytest

from prunescale.inference import Rates, cache_bytes, floor_of, prefill_flops, step_flops
from prunescale.shape import ModelShape

SHAPE = ModelShape(
    n_layers=2, hidden_size=8, ffn_size=16, n_heads=2, n_kv_heads=1, head_dim=4, vocab_size=10, tied_embeddings=False
)
# Linear weights: a block has attention 2 * 8 * (8 + 4) = 192 and feed-forward 3 * 8 * 16 = 384; two blocks 1152; the head 80: 1232.


def test_cache():
    # Keys and values (2) of 2 layers, 4 numbers each, 5 positions, 3 texts, 2 bytes.
    assert cache_bytes(SHAPE, length=5, batch_size=3, item_bytes=2) == 2 * 2 * 4 * 5 * 3 * 2 == 480


def test_a_step():
    # Two a weight: 2464. Attention: scores and values, 2 operations each, over 8 numbers of queries, 5 positions, 2 layers: 320.
    assert step_flops(SHAPE, length=5, batch_size=3) == 3 * (2464 + 320)


def test_a_prefill_computes_the_head_once():
    # Per token 2 * 1152 in the blocks, and attention over half of 6 positions on average: 2 layers * 4 * 8 * 3 = 192; the head 160 once.
    assert prefill_flops(SHAPE, prompt_tokens=6, batch_size=2) == 2 * (6 * (2304 + 192) + 160)


def test_the_floor_is_the_longer_of_reading_and_computing():
    given = {"weights_read": 2520, "item_bytes": 2, "prompt_tokens": 3, "new_tokens": 2, "batch_size": 3}
    # Read: 2520 + 480 of the cache = 3000 bytes. Computed: 8352 operations.
    slow_memory = floor_of(SHAPE, Rates(copy=1e3, matmul=8352e3), **given)
    assert (slow_memory.reading, slow_memory.computing, slow_memory.step) == pytest.approx((3.0, 1e-3, 3.0))
    slow_maths = floor_of(SHAPE, Rates(copy=3e6, matmul=8352), **given)
    assert (slow_maths.reading, slow_maths.computing, slow_maths.step) == pytest.approx((1e-3, 1.0, 1.0))
    # 3 texts of 3 tokens: per token 2304 + 96 of attention; the head 160 a text.
    assert slow_maths.prefill == pytest.approx(3 * (3 * 2400 + 160) / 8352)
