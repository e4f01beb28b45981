import pytest
import torch

from prunescale.errors import DataError
from prunescale.training import Domain, Tokens, held_out_set, held_out_windows


def counting(n: int, *domains: tuple[str, int, int]) -> Tokens:
    """0, 1, 2, ...: a window shows where it was taken."""
    return Tokens(torch.arange(n), None, domains=tuple(Domain(*domain) for domain in domains))


@pytest.mark.parametrize(("n_tokens", "n_windows"), [(9, 2), (12, 2), (13, 3)])
def test_windows_predict_each_token_but_the_first_once(n_tokens, n_windows):
    windows = held_out_windows(counting(n_tokens), 4)
    assert windows.shape == (n_windows, 5)
    assert windows[:, 1:].flatten().tolist() == list(range(1, 4 * n_windows + 1))
    assert windows[:, :-1].flatten().tolist() == list(range(4 * n_windows))


@pytest.mark.parametrize(("limit", "n_windows"), [(4, 1), (7, 1), (8, 2), (None, 4), (1000, 4)])
def test_a_limit_counts_the_tokens_predicted(limit, n_windows):
    assert len(held_out_windows(counting(17), 4, limit)) == n_windows


def test_too_little_to_measure_on():
    assert len(held_out_windows(counting(5), 4)) == 1
    with pytest.raises(DataError, match="has 4 tokens, and one window of 4 "):
        held_out_windows(counting(4), 4)
    with pytest.raises(DataError, match="has 100 tokens, of which 3 are to be used, and one window of 4 "):
        held_out_windows(counting(100), 4, limit=3)
    with pytest.raises(DataError, match="has 8 tokens, and one window of 10 "):
        held_out_set(counting(8, ("a", 0, 8)), 10)


def test_without_domains_a_set_is_its_windows():
    found = held_out_set(counting(17), 4, 8)
    assert torch.equal(found.windows_NL, held_out_windows(counting(17), 4, 8))
    assert (found.domain_N.tolist(), found.names) == ([0, 0], ())


def test_windows_are_cut_inside_each_domain():
    # a has 0-8 and 20-23 behind one another: 13 tokens, three windows. b has 9-19: two, and one token is left over.
    tokens = counting(24, ("a", 0, 9), ("b", 9, 11), ("a", 20, 4))
    found = held_out_set(tokens, 4)
    assert found.names == ("a", "b")
    assert found.domain_N.tolist() == [0, 0, 0, 1, 1]
    assert found.windows_NL.tolist() == [
        [0, 1, 2, 3, 4],
        [4, 5, 6, 7, 8],
        [8, 20, 21, 22, 23],
        [9, 10, 11, 12, 13],
        [13, 14, 15, 16, 17],
    ]


def test_what_is_too_small_or_in_no_domain_is_put_together():
    # Of windows of 4, b (3 tokens) and c (4) are too small for one; 12 and 13 belong to none.
    tokens = counting(25, ("b", 0, 3), ("a", 3, 9), ("c", 14, 4), ("d", 18, 7))
    found = held_out_set(tokens, 4)
    assert found.names == ("a", "d", "other")
    assert found.domain_N.tolist() == [0, 0, 1, 2, 2]
    assert found.windows_NL[-2:].tolist() == [[0, 1, 2, 12, 13], [13, 14, 15, 16, 17]]


@pytest.mark.parametrize(
    ("limit", "counts"),
    # 60, 30 and 10 windows of 4 are possible.
    [(40, [6, 3, 1]), (20, [3, 2, 0]), (4, [1, 0, 0]), (400, [60, 30, 10]), (4000, [60, 30, 10]), (36, [5, 3, 1])],
)
def test_a_limit_is_shared_by_size(limit, counts):
    tokens = counting(403, ("a", 0, 241), ("b", 241, 121), ("c", 362, 41))
    found = held_out_set(tokens, 4, limit)
    names = [found.names[number] for number in found.domain_N.tolist()]
    assert [names.count(name) for name in "abc"] == counts
    assert set(names) == set(found.names)  # a domain without a window is not named


def test_windows_of_domains_begin_with_the_start():
    tokens = Tokens(torch.arange(1, 12), None, start=0, domains=(Domain("a", 0, 11),))
    assert held_out_set(tokens, 5).windows_NL.tolist() == [[0, 2, 3, 4, 5, 6], [0, 7, 8, 9, 10, 11]]
