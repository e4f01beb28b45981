import pytest

from prunescale.amounts import short


@pytest.mark.parametrize(
    ("number", "words"), [(0.25, "0.25"), (999.6, "1k"), (20_480, "20.5k"), (999_999, "1M"), (2.5e9, "2.5B"), (1e18, "1e+06T")]
)
def test_counts_in_words(number, words):
    assert short(number) == words
