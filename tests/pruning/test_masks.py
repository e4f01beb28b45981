import math

import pytest
import torch

import prunescale.pruning.masks as masks
from prunescale.errors import PruningError
from prunescale.pruning.masks import Pattern, ScoreHistogram, keep_n_of_m, keep_of_matrix, keep_of_rows

DTYPES = [torch.float32, torch.bfloat16, torch.float64]


def with_ties(*shape, dtype=torch.float32, seed=0):
    """Scores of few values, so that each threshold meets ties."""
    return torch.randint(0, 6, shape, generator=torch.Generator().manual_seed(seed)).to(dtype) / 4


def distinct(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).exp().float()


def plain_best(scores, n_kept):
    """Which of a list of scores are among the n_kept best; the earlier of equals first."""
    best = sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:n_kept]
    return [place in best for place in range(len(scores))]


@pytest.fixture
def small_chunks(monkeypatch):
    """So small that even the matrices here are worked on in several."""
    monkeypatch.setattr(masks, "CHUNK", 64)


@pytest.mark.parametrize(("text", "n_kept", "m", "sparsity"), [("2:4", 2, 4, 0.5), ("1:4", 1, 4, 0.75), ("7:8", 7, 8, 0.125)])
def test_a_pattern(text, n_kept, m, sparsity):
    pattern = Pattern.parse(text)
    assert pattern == Pattern(n_kept, m)
    assert pattern.sparsity == sparsity
    assert str(pattern) == text


@pytest.mark.parametrize("text", ["", "2", "2:", ":4", "2:4:8", "2/4", "2 : 4", "-2:4", "2.0:4", "a:b", "2:4\n", "٢:٤"])
def test_what_is_no_pattern(text):
    with pytest.raises(PruningError, match="reads like 2:4, with 0 < n < m; got ") as caught:
        Pattern.parse(text)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["0:4", "4:4", "5:4", "0:0"])
def test_a_pattern_keeps_some_and_not_all(text):
    with pytest.raises(PruningError, match=f"with 0 < n < m; got {text}"):
        Pattern.parse(text)


def test_two_of_four_by_hand():
    scores = torch.tensor(
        [
            [1.0, 4.0, 3.0, 2.0, 0.0, 0.0, 0.0, 5.0],  # in the second group the first of three zeros stays
            [2.0, 2.0, 2.0, 2.0, 1.0, 3.0, 1.0, 1.0],  # all equal: the first two; then 3 and the first 1
        ]
    )
    expected = [[0, 1, 1, 0, 1, 0, 0, 1], [1, 1, 0, 0, 1, 1, 0, 0]]
    assert keep_n_of_m(scores, Pattern(2, 4)).int().tolist() == expected


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", ["1:2", "2:4", "3:4", "1:8", "5:12"])
@pytest.mark.usefixtures("small_chunks")
def test_n_of_m_is_that_of_a_plain_loop(text, dtype):
    pattern = Pattern.parse(text)
    scores = with_ties(5, 48, dtype=dtype)
    keep = keep_n_of_m(scores, pattern)
    for row, mask in zip(scores.tolist(), keep.tolist(), strict=True):
        for start in range(0, 48, pattern.m):
            group = slice(start, start + pattern.m)
            assert mask[group] == plain_best(row[group], pattern.n_kept)


def test_n_of_m_of_a_transposed_view():
    scores = with_ties(8, 6)
    assert torch.equal(keep_n_of_m(scores.T, Pattern(1, 4)), keep_n_of_m(scores.T.contiguous(), Pattern(1, 4)))


def test_rows_that_m_does_not_divide():
    with pytest.raises(PruningError, match=r"^2:4 sparsity needs a row length divisible by 4, got 4094$"):
        keep_n_of_m(torch.ones(1, 4094), Pattern(2, 4))


def test_rows_by_hand():
    # round(0.4 * 5) = 2 of each row go: of the first 1 and 2; of the second two of the three that are 1, the later ones.
    scores = torch.tensor([[5.0, 1.0, 3.0, 2.0, 4.0], [1.0, 9.0, 1.0, 9.0, 1.0]])
    assert keep_of_rows(scores, 0.4).int().tolist() == [[1, 0, 1, 0, 1], [1, 1, 0, 1, 0]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sparsity", [0, 0.01, 0.3, 0.5, 0.77, 0.99])
@pytest.mark.usefixtures("small_chunks")
def test_rows_are_those_of_a_plain_loop(sparsity, dtype):
    scores = with_ties(7, 41, dtype=dtype)
    keep = keep_of_rows(scores, sparsity)
    n_kept = 41 - round(sparsity * 41)
    assert keep.tolist() == [plain_best(row, n_kept) for row in scores.tolist()]


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, math.nan])
def test_a_sparsity_is_a_share(sparsity):
    with pytest.raises(PruningError, match=f"from 0 to below 1; got {sparsity:g}"):
        keep_of_rows(torch.ones(2, 4), sparsity)


def test_matrix_by_hand():
    scores = torch.tensor([[1.0, 2.0, 0.0], [2.0, 5.0, 2.0]])
    assert keep_of_matrix(scores, 2).int().tolist() == [[0, 1, 0], [1, 1, 1]]
    assert keep_of_matrix(scores, 3).int().tolist() == [[0, 1, 0], [1, 1, 0]]  # of the three that are 2 the last
    assert keep_of_matrix(scores, 4).int().tolist() == [[0, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [with_ties, lambda *shape, dtype: distinct(*shape).to(dtype)], ids=["ties", "distinct"])
@pytest.mark.usefixtures("small_chunks")
def test_a_matrix_is_that_of_a_plain_loop(make, dtype):
    scores = make(9, 23, dtype=dtype)
    flat = scores.flatten().tolist()
    for n_removed in [0, 1, 2, 50, 103, 206, 207]:
        assert keep_of_matrix(scores, n_removed).flatten().tolist() == plain_best(flat, len(flat) - n_removed)
    assert torch.equal(keep_of_matrix(scores.T, 50), keep_of_matrix(scores.T.contiguous(), 50))


def test_scores_that_differ_in_their_last_bit_only():
    # All in one bin of the histogram: what is below it counts.
    scores = (torch.tensor([3, 0, 2, 1]) + 0x3F800000).int().view(torch.float32)
    assert scores.max() - scores.min() == 3 * 2**-23
    assert keep_of_matrix(scores[None], 2).int().tolist() == [[1, 0, 1, 0]]


def test_minus_zero_is_zero():
    scores = torch.tensor([[0.0, -0.0, 1.0, -0.0]])
    assert keep_of_matrix(scores, 1).int().tolist() == [[1, 1, 1, 0]]
    assert keep_of_matrix(scores, 2).int().tolist() == [[1, 0, 1, 0]]


@pytest.mark.parametrize("n_removed", [-1, 7])
def test_more_than_there_is_cannot_go(n_removed):
    with pytest.raises(PruningError, match=f"^{n_removed} weights cannot go of a matrix of 6"):
        keep_of_matrix(torch.ones(2, 3), n_removed)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_scores_are_finite(value):
    scores = torch.tensor([[1.0, value]])
    with pytest.raises(PruningError, match="not all finite"):
        keep_of_matrix(scores, 1)
    with pytest.raises(PruningError, match="not all finite"):
        ScoreHistogram().add("a", scores)


def histogram_of(layers):
    histogram = ScoreHistogram()
    for name, scores in layers.items():
        histogram.add(name, scores)
    return histogram


def test_an_allotment_by_hand():
    # Six of twelve go. One and two are below the threshold: three weights. It lies in the bin of 4, with 3 to go of 2 + 4 + 0:
    # quotas 1 and 2. Of twelve seven: 4 to go of 2 + 4: 4/3 and 8/3, and the remainder 2/3 is the larger.
    layers = {
        "a": torch.tensor([1.0, 4.0, 4.0, 8.0]),
        "b": torch.tensor([[4.0, 4.0, 4.0], [4.0, 9.0, 2.0]]),
        "c": torch.tensor([1.0, 9.0]),
    }
    assert histogram_of(layers).allot(6 / 12) == {"a": 2, "b": 3, "c": 1}
    assert histogram_of(layers).allot(7 / 12) == {"a": 2, "b": 4, "c": 1}
    assert histogram_of(layers).allot(0) == {"a": 0, "b": 0, "c": 0}


def some_layers():
    """Three layers of unlike size and scale, which no two bins of a histogram would share out alike."""
    return {"a": distinct(40, 50, seed=1), "b": 0.7 * distinct(90, 30, seed=2), "c": 1.6 * distinct(7, 11, seed=3)}


def plain_allotment(layers, sparsity):
    everything = sorted((score, name) for name, scores in layers.items() for score in scores.flatten().tolist())
    gone = [name for _, name in everything[: round(sparsity * len(everything))]]
    return {name: gone.count(name) for name in layers}


@pytest.mark.parametrize("sparsity", [0.05, 0.2, 0.5, 0.75, 0.9])
def test_an_allotment_is_one_threshold_but_for_the_bin_that_holds_it(sparsity):
    layers = some_layers()
    allotted, plain = histogram_of(layers).allot(sparsity, most=1), plain_allotment(layers, sparsity)
    assert sum(allotted.values()) == sum(plain.values()) == round(sparsity * (2000 + 2700 + 77))
    for name, scores in layers.items():
        in_one_bin = int(torch.bincount(masks.bins(scores).view(-1)).max())
        assert abs(allotted[name] - plain[name]) <= in_one_bin


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.8])
def test_where_bins_are_not_shared_an_allotment_is_one_threshold(sparsity):
    # Each layer has every third bin, so the bin of the threshold belongs to one of them.
    places = {"a": range(0, 900, 3), "b": range(1, 600, 3), "c": range(302, 400, 3)}
    layers = {}
    for name, of_bins in places.items():
        upper = torch.tensor(of_bins) + 0x3C00
        layers[name] = torch.cat([((upper << 16) + low).int().view(torch.float32) for low in (0, 7, 65535)])
    assert histogram_of(layers).allot(sparsity, most=1) == plain_allotment(layers, sparsity)


def test_a_layer_may_come_in_parts():
    layers = some_layers()
    histogram = ScoreHistogram()
    for part in range(2):
        for name, scores in layers.items():
            histogram.add(name, scores[part::2])
    assert histogram.allot(0.6) == histogram_of(layers).allot(0.6)


def test_no_layer_is_emptied():
    # Layer a is below all of b: one threshold would take it whole. It keeps 1 in 100, and b makes up for it.
    layers = {"a": distinct(10, 30) / 100, "b": distinct(10, 90), "tiny": torch.tensor([1e-6])}
    assert plain_allotment(layers, 0.5) == {"a": 300, "b": 299, "tiny": 1}
    assert histogram_of(layers).allot(0.5) == {"a": 297, "b": 303, "tiny": 0}
    assert histogram_of(layers).allot(0.5, most=0.8) == {"a": 240, "b": 360, "tiny": 0}
    # 297 + 891 + 0 of 1201 can go.
    with pytest.raises(PruningError, match=r"less than 0\.01 of its weights: give 0\.989 at most"):
        histogram_of(layers).allot(0.9899)


def test_the_masks_of_an_allotment_take_what_a_threshold_would():
    layers = some_layers()
    for name, n_removed in histogram_of(layers).allot(0.7).items():
        keep = keep_of_matrix(layers[name], n_removed)
        assert int((~keep).sum()) == n_removed
        assert layers[name][~keep].max() < layers[name][keep].min()
