"""Points weighted by their excess: errors count as shares of what pruning costs."""

import numpy as np
import pytest

from prunescale.errors import FitError
from prunescale.fitting import bootstrap, fit, predictive_interval
from prunescale.fitting.points import SMALL, weights
from prunescale.laws import HoffmannLaw, P2Law

from .sweeps import P2, hoffmann_sweep, p2_sweep, rows


def noisy(share, seed=0):
    """A sweep whose excesses are off by so much of themselves, one factor for each run and one for each point."""
    exact = p2_sweep()
    excess, rng = exact["loss"] - exact["loss_before"], np.random.default_rng(seed)
    _, index = np.unique(exact["run"], return_inverse=True)
    factor = 1 + share * (rng.standard_normal(index.max() + 1)[index] + rng.standard_normal(len(index)))
    return exact | {"loss": exact["loss_before"] + factor * excess}


def test_weights_are_one_over_the_square_of_the_excess_with_equal_runs():
    columns = {
        "run": np.array(["a", "a", "b"]),
        "loss": np.array([3.2, 3.1, 3.001]),
        "loss_before": np.array([3.0, 3.0, 3.0]),
    }
    found = weights(columns, "excess")
    np.testing.assert_allclose(found / found[0], [1, 4, 2 * (0.2 / SMALL) ** 2])
    assert np.mean(found) == pytest.approx(1)


def test_the_excess_is_over_the_control_where_there_is_one():
    columns = {name: np.array(values) for name, values in {"run": ["a", "b"], "loss": [3.2, 3.1]}.items()}
    columns |= {"loss_before": np.array([3.1, 3.1]), "loss_control": np.array([3.0, 3.0])}
    found = weights(columns, "excess")
    assert found[1] / found[0] == pytest.approx(4)


def test_where_errors_are_shares_it_finds_small_excesses_better():
    def off(weighting, seed):
        columns = noisy(0.05, seed)
        small = columns["loss"] - columns["loss_before"] < 0.1
        found = fit(P2Law, columns, weighting=weighting)
        truth = P2.predict(columns) - columns["loss_before"]
        return np.mean(np.abs(found.predict(columns) - columns["loss_before"] - truth)[small] / truth[small])

    runs, excess = (np.mean([off(weighting, seed) for seed in range(6)]) for weighting in ("runs", "excess"))
    assert excess < 0.6 * runs


def test_its_predictive_intervals_are_shares_too():
    columns = noisy(0.05)
    seen = columns["n_tokens"] < 2e7
    found = bootstrap(fit(P2Law, rows(columns, seen), weighting="excess"), n=100)
    later = rows(columns, ~seen)
    low, high = predictive_interval(found, later)
    excess = found.predict(later) - later["loss_before"]
    width = (high - low) / excess
    assert width.max() < 3 * width.min()  # of excesses that differ by a factor of twenty
    assert excess.max() > 20 * excess.min()
    assert 0.8 < np.mean((low <= later["loss"]) & (later["loss"] <= high)) < 0.99


def test_a_law_without_a_loss_to_be_above_is_refused():
    with pytest.raises(FitError, match="only where they have a loss before pruning or one of a control"):
        fit(HoffmannLaw, hoffmann_sweep(), weighting="excess")
