import math
from dataclasses import replace

import pytest

from prunescale.errors import PruningError
from prunescale.pruning.plan import Request
from prunescale.pruning.sizes import AXES, head_units, multiples, rate_of, sizes_for_rate, step_of
from prunescale.shape import ModelShape

# A block: 4 of attention and 3 of the feed-forward times 64 times 64, and two norms; with the last norm
# 2 * (7 * 4096 + 128) + 64 = 57664 in all.
SHAPE = ModelShape(
    n_layers=2, hidden_size=64, ffn_size=64, n_heads=4, n_kv_heads=4, head_dim=16, vocab_size=30, tied_embeddings=True
)
LLAMA_8B = ModelShape(
    n_layers=32,
    hidden_size=4096,
    ffn_size=14336,
    n_heads=32,
    n_kv_heads=8,
    head_dim=128,
    vocab_size=128256,
    tied_embeddings=False,
)
SMOLLM2_135M = ModelShape(
    n_layers=30, hidden_size=576, ffn_size=1536, n_heads=9, n_kv_heads=3, head_dim=64, vocab_size=49152, tied_embeddings=True
)


def request(rate, shape=SHAPE, **fields):
    return Request("width-magnitude", rate, shape, **{"n_params_base": shape.n_params_non_embedding, **fields})


def divisible(shape):
    """What Llama's configuration insists on."""
    return shape.hidden_size % shape.n_heads == 0


@pytest.mark.parametrize(
    ("size", "step"), [(4096, 128), (14336, 128), (11008, 128), (1536, 32), (576, 16), (64, 2), (40, 1), (63, 1), (8190, 2)]
)
def test_steps_are_what_hardware_likes_and_leave_a_choice(size, step):
    assert step_of(size) == step


def test_a_step_with_a_divisor():
    assert step_of(576, 9) == 18
    assert step_of(4096, 28) == 112  # of which 4096 has 36; 224 would be too few


def test_multiples_lie_below_the_size():
    assert multiples(10, 4) == [8, 4]
    assert multiples(12, 4) == [8, 4]
    assert multiples(1, 1) == []


def test_one_axis_comes_as_near_as_its_steps_allow():
    # Two channels of the feed-forward are 2 * 3 * 64 * 2 = 768 of 57664 parameters, so a rate of 0.2 is 15.02 steps.
    after = sizes_for_rate(request(0.2), ("ffn",))
    assert after == replace(SHAPE, ffn_size=64 - 2 * 15)
    assert math.isclose(rate_of(request(0.2), after), 15 * 768 / 57664)
    # A head is 2 * 4 * 64 * 16 = 8192, so a rate of 0.2 is 1.41 heads, and of 0.25 it is 1.76.
    assert sizes_for_rate(request(0.2), ("heads",)) == replace(SHAPE, n_heads=3, n_kv_heads=3)
    assert sizes_for_rate(request(0.25), ("heads",)) == replace(SHAPE, n_heads=2, n_kv_heads=2)
    # All of the model but nothing else is proportional to the hidden size.
    assert sizes_for_rate(request(0.25), ("hidden",)) == replace(SHAPE, hidden_size=48)


def test_groups_keep_their_query_heads():
    after = sizes_for_rate(request(0.1, LLAMA_8B), ("heads",))
    assert (after.n_heads, after.n_kv_heads) == (16, 4)


def test_where_all_share_one_key_query_heads_go():
    shape = replace(SHAPE, n_kv_heads=1)
    assert head_units(shape) == 4
    assert sizes_for_rate(request(0.1, shape), ("heads",)) == replace(shape, n_heads=3)


def test_several_axes_lose_about_the_same_share():
    # Three quarters of each of the sizes: what is left is 2 * (7 * 48 * 48 + 2 * 48) + 48 = 32496.
    after = sizes_for_rate(request(1 - 32496 / 57664), AXES)
    assert after == replace(SHAPE, ffn_size=48, hidden_size=48, n_heads=3, n_kv_heads=3)


@pytest.mark.parametrize("axes", [("ffn",), ("ffn", "hidden"), ("ffn", "heads"), AXES])
@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("shape", [SMOLLM2_135M, LLAMA_8B], ids=["135M", "8B"])
def test_real_models_come_near_every_rate(shape, rate, axes):
    asked = request(rate, shape)
    after = sizes_for_rate(asked, axes, divisible)
    assert divisible(after)
    assert abs(rate_of(asked, after) - rate) < 0.02


def test_sizes_that_a_model_may_not_have_are_passed_over():
    # Of the multiples of 16 only 144, 288 and 432 are divisible by 9 heads, so multiples of 18 come in.
    after = sizes_for_rate(request(0.2, SMOLLM2_135M), ("hidden",), divisible)
    assert after.hidden_size == 468
    with pytest.raises(PruningError, match="allows no smaller size along hidden"):
        sizes_for_rate(request(0.2), ("hidden",), lambda shape: shape == SHAPE)


def test_a_rate_counts_from_the_model_before_its_first_pruning():
    half = replace(SHAPE, hidden_size=32)
    again = request(0.75, half, n_params_base=SHAPE.n_params_non_embedding)
    assert sizes_for_rate(again, ("hidden",)) == replace(SHAPE, hidden_size=16)


@pytest.mark.parametrize(("rate", "axes"), [(0.05, ("heads",)), (0.6, ("heads",)), (0.001, ("ffn",)), (0.7, ("ffn",))])
def test_a_rate_out_of_reach_is_refused_with_what_is_within(rate, axes):
    reach = {("heads",): "from 0.142 to 0.426", ("ffn",): "from 0.013 to 0.413"}[axes]
    with pytest.raises(PruningError, match=f"along {axes[0]} come near .* {reach}"):
        sizes_for_rate(request(rate), axes)


def test_one_head_cannot_go():
    with pytest.raises(PruningError, match="no smaller size along heads"):
        sizes_for_rate(request(0.2, replace(SHAPE, n_heads=1, n_kv_heads=1)), ("heads",))
