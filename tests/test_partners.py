"""Dense partners of sparse models: as many linear weights as wanted, in about the same proportions."""

from random import Random

import pytest

from prunescale.errors import ModelError
from prunescale.partners import dense_partner, distance
from prunescale.shape import ModelShape


def llama(n_layers, hidden_size, ffn_size, n_heads, vocab_size, *, n_kv_heads=None, head_dim=None):
    head_dim = head_dim or hidden_size // n_heads
    return ModelShape(n_layers, hidden_size, ffn_size, n_heads, n_kv_heads or n_heads, head_dim, vocab_size, False)


SMALL, SMALLER = llama(8, 256, 704, 4, 8192), llama(6, 128, 352, 4, 8192)
PAPER_162M = llama(12, 768, 3072, 12, 32000)


def test_the_sizes_that_the_cases_below_start_from():
    assert (SMALL.n_params_linear, SMALLER.n_params_linear) == (8_519_680, 2_252_800)
    assert PAPER_162M.n_params_linear == pytest.approx(138e6, rel=2e-3)  # as the paper has it


@pytest.mark.parametrize(
    ("shape", "share", "sizes"),
    [
        # hidden and feed-forward size, heads and their size. By hand for the first: 8 (4 x 144 x 144 + 3 x 144 x 448) + 8192 x 144
        # = 3,391,488, 0.4 % less than 0.39978 of 8,519,680, and 0.61 times the sizes of the first would be 156 wide.
        (SMALL, 3.406e6 / 8_519_680, (144, 448, 3, 48)),
        (SMALL, 0.61, (192, 528, 3, 64)),
        (SMALLER, 0.899e6 / 2_252_800, (64, 240, 2, 32)),
        (PAPER_162M, 0.893, (704, 3008, 11, 64)),
        (PAPER_162M, 0.766, (672, 2624, 10, 64)),
        (PAPER_162M, 0.610, (576, 2400, 9, 64)),
        (PAPER_162M, 0.399, (448, 1920, 7, 64)),
    ],
)
def test_partners(shape, share, sizes):
    wanted = share * shape.n_params_linear
    partner = dense_partner(shape, wanted)
    found = partner.shape
    assert (found.hidden_size, found.ffn_size, found.n_heads, found.head_dim) == sizes
    assert partner.n_params_linear == wanted
    assert partner.error == found.n_params_linear / wanted - 1
    assert abs(partner.error) <= 0.005
    assert (found.n_layers, found.vocab_size, found.n_kv_heads) == (shape.n_layers, shape.vocab_size, found.n_heads)


@pytest.mark.parametrize("shape", [SMALL, PAPER_162M, llama(30, 576, 1536, 9, 49152, n_kv_heads=3)])
def test_as_many_weights_give_the_same_model(shape):
    partner = dense_partner(shape, shape.n_params_linear)
    assert (partner.shape, partner.error) == (shape, 0)


def test_queries_to_a_key_stay_as_many():
    shape = llama(4, 512, 1408, 8, 8192, n_kv_heads=2)
    partner = dense_partner(shape, 0.5 * shape.n_params_linear).shape
    assert partner.n_heads == 4 * partner.n_kv_heads


@pytest.mark.parametrize("n_params", [0, -1.0, float("nan"), float("inf")])
def test_no_number_of_weights(n_params):
    with pytest.raises(ValueError, match="a number of linear weights above 0"):
        dense_partner(SMALL, n_params)


def test_where_none_is_near():
    # At most 16 wide, with steps of 8: 8 channels are 3 x 2 x 16 x 8 = 768 of 7,000 weights.
    tiny = llama(2, 16, 24, 2, 257)
    with pytest.raises(
        ModelError, match=r"within 0.50% of 7k .* the nearest, hidden size 16, .* has \d.\d\d% (more|fewer): allow more"
    ):
        dense_partner(tiny, 7_000)
    assert abs(dense_partner(tiny, 7_000, multiple=1).error) <= 0.005
    assert abs(dense_partner(tiny, 7_000, tolerance=0.1).error) <= 0.1
    with pytest.raises(ModelError, match="none has proportions that are near at all"):
        dense_partner(tiny, 100)


def test_the_nearest_is_named_where_the_head_is_most_of_the_model():
    """None was once, where what fits the count has a feed-forward less than half as wide, or more than twice, as it should be."""
    shape = llama(6, 320, 864, 10, 128256, n_kv_heads=5)
    wanted = 0.12 * shape.n_params_linear
    with pytest.raises(ModelError, match="the nearest, hidden size 40, feed-forward") as refused:
        dense_partner(shape, wanted)
    assert "none has proportions" not in str(refused.value)


def test_random_shapes():
    """Models 64 to 768 wide, for a tenth to all of their weights: within half a percent, or refused, which are narrow ones (48 wide, or
    so), since 8 more hidden channels are many of their weights, with a whole vocabulary in the head."""
    rng, n_refused = Random(0), 0
    for _ in range(80):
        hidden_size, head_dim = 64 * rng.randint(1, 12), rng.choice([32, 64])
        ffn_size, n_heads = 8 * round(hidden_size * rng.uniform(1.5, 4) / 8), hidden_size // head_dim
        shape = llama(rng.randint(2, 24), hidden_size, ffn_size, n_heads, rng.choice([512, 8192, 32000, 128256]))
        share = rng.uniform(0.1, 1)
        try:
            partner = dense_partner(shape, share * shape.n_params_linear)
        except ModelError:
            n_refused += 1
            assert share * hidden_size < 100
            continue
        assert abs(partner.error) <= 0.005
        assert partner.shape.hidden_size % 8 == partner.shape.ffn_size % 8 == 0
        assert distance(partner.shape, shape) < 1
    assert n_refused <= 4
