"""How a run goes on by the end of its own curve."""

import numpy as np
import pytest

from prunescale.errors import FitError
from prunescale.planner import onward
from prunescale.runs import read_runs

TOKENS = np.geomspace(1e6, 64e6, 13)  # steps of the square root of 2


def test_a_power_law_goes_on_as_one():
    found = onward(TOKENS, 0.8 * (TOKENS / 1e6) ** -0.5)
    assert (found.exponent, found.excess) == (pytest.approx(0.5), pytest.approx(0.1))
    assert found.wobble == pytest.approx(0, abs=1e-9)
    assert found.at(256e6) == pytest.approx(0.05)
    # A doubling from 64 M wins back 0.1 (1 - 2^-0.5), and from 16 times as many tokens a quarter of that.
    gain = 0.1 * (1 - 2**-0.5)
    assert found.worth(gain / 4) == pytest.approx(16 * 64e6)
    assert found.worth_interval(gain / 4) == pytest.approx((16 * 64e6,) * 2)
    assert found.worth(2 * gain) == 64e6  # it has had enough


def test_the_order_of_points_does_not_matter():
    excess = 0.8 * (TOKENS / 1e6) ** -0.5 * np.exp(0.02 * np.sin(np.arange(13)))
    shuffled = np.random.default_rng(0).permutation(13)
    assert onward(TOKENS[shuffled], excess[shuffled]) == onward(TOKENS, excess)


def test_what_it_missed_before_is_how_far_it_is_to_be_believed():
    # The exponent falls from 0.6 to 0.2 at 8 M tokens: ends before that tell points behind it wrong.
    bent = np.where(TOKENS < 8e6, (TOKENS / 8e6) ** -0.6, (TOKENS / 8e6) ** -0.2)
    found = onward(TOKENS, bent)
    assert found.exponent == pytest.approx(0.2)
    assert 0.1 < found.wobble < 0.4
    low, high = found.interval_at(256e6)
    assert low < found.at(256e6) < high
    assert found.interval_at(64e6) == pytest.approx((found.excess, found.excess))


def test_many_points_close_together_are_an_end_only_as_far_as_they_reach():
    dense = np.linspace(1e6, 64e6, 2000)
    noisy = 0.8 * (dense / 1e6) ** -0.5 * np.exp(0.01 * np.random.default_rng(0).standard_normal(2000))
    assert onward(dense, noisy).exponent == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("excess", "words"),
    [
        ([0.3, 0.2, 0.1], "has 3 points"),
        ([0.4, 0.3, 0.2, 0.1, -0.01], "has no excess"),
    ],
)
def test_what_cannot_be_carried_on_is_refused(excess, words):
    with pytest.raises(FitError, match=words):
        onward(TOKENS[: len(excess)], np.array(excess))
    with pytest.raises(FitError, match="The least gain must be"):
        onward(TOKENS, 1e6 / TOKENS).worth(0.0)


def test_nine_in_ten_points_of_real_runs_lie_within():
    """The runs of the family that come with prunescale, carried on from half of their tokens and from a third."""
    runs = read_runs("embedded:p2")
    controls = {run.base: run for run in runs if run.kind == "post-training" and run.pruning_method is None}
    inside, errors = [], []
    for run in runs:
        if run.pruning_method is None:
            continue
        of_control = {point.n_tokens: point.loss for point in controls[run.base].points if point.phase == "constant"}
        points = [(point.n_tokens, point.loss - of_control[point.n_tokens]) for point in run.points if point.phase == "constant"]
        n_tokens, excess = np.array(points).T
        for most in (20e6, 30e6):
            seen = n_tokens <= most
            found = onward(n_tokens[seen], excess[seen])
            for tokens, measured in zip(n_tokens[~seen], excess[~seen], strict=True):
                low, high = found.interval_at(tokens)
                inside.append(low <= measured <= high)
                errors.append(abs(found.at(tokens) / measured - 1))
    assert len(inside) > 300
    assert 0.8 < np.mean(inside) < 0.99
    assert np.mean(errors) < 0.05


def test_a_flat_curve_is_worth_at_most_a_million_times_its_tokens():
    """The power overflowed once."""
    n_tokens = np.geomspace(1e6, 6e7, 12)
    found = onward(n_tokens, 0.5 * n_tokens**-0.004)
    assert found.worth(1e-5) == pytest.approx(1e6 * 6e7)
    assert found.worth_interval(1e-5)[1] == pytest.approx(1e6 * 6e7)


def test_the_fewest_points_have_the_widest_interval():
    """One error says little of how far the next may be off: Student's t for one is 6.3, not 1.6."""
    n_tokens, excess = np.array([1e6, 2e6, 4e6, 8e6]), np.array([0.4, 0.33, 0.27, 0.224])
    found = onward(n_tokens, excess)
    assert found.n_points == 1
    low, high = found.exponents
    assert (high - low) / 2 / found.wobble == pytest.approx(6.314, abs=1e-3)
