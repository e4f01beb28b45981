import pytest

from prunescale.runs.importers.phases import phases_of

W, C, D = "warm-up", "constant", "decay"


@pytest.mark.parametrize(
    ("rates", "phases"),
    [
        ([1, 2, 3, 3, 3, 2, 1], [W, W, W, C, C, D, D]),  # the first at its highest ended a rise: still warm-up
        ([3, 3, 3], [C, C, C]),
        ([3, 3 * (1 + 5e-7), 3], [C, C, C]),  # a float32 rounds
        ([3, 2, 1], [D, D, D]),
        ([0, 1, 2], [W, W, W]),
        ([1, 1, 2, 2], [W, W, W, C]),  # a warm-up in stairs
        ([3, 3, 1, 1, 0.3], [C, C, D, D, D]),  # a decay in stairs: what is below the highest rate is annealed
        ([1, 3, 2, 1, 1], [W, W, D, D, D]),  # the floor of a cosine is no constant phase
        ([0, 0], [C, C]),
    ],
)
def test_rising_flat_and_falling(rates, phases):
    assert phases_of(rates) == phases


def test_one_rate_tells_nothing():
    assert phases_of([3e-4]) is None
    assert phases_of([]) is None
