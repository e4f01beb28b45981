"""Points weighted by their excess: errors count as shares of what pruning costs."""

import numpy as np
import pytest

from prunescale.errors import FitError
from prunescale.fitting import bootstrap, fit, predictive_interval
from prunescale.fitting.excess import SMALL, scale_of_curves, smoothed
from prunescale.fitting.points import weights
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


def of_curves(noise, seed):
    """Four curves over a control, with the true excess of each point."""
    rng, n_tokens = np.random.default_rng(seed), np.tile(np.geomspace(1e6, 6e7, 14), 4)
    run = np.repeat(np.arange(4), 14)
    excess = 0.03 * 2.0**run * (n_tokens / 6e7) ** -0.4
    loss = 3.0 + excess + noise * rng.standard_normal(len(run))
    return {"run": run, "n_tokens": n_tokens, "loss": loss, "loss_control": np.full(len(run), 3.0)}, excess


def test_what_is_low_by_chance_does_not_count_for_more():
    """A weight was that of the point's own excess once, so that a fit followed the points that chance had put low."""
    pull, of_itself = [], []
    for seed in range(200):
        columns, excess = of_curves(0.01, seed)
        error = (columns["loss"] - 3.0 - excess) / excess
        smooth = (excess / scale_of_curves(columns)) ** 2
        own = (excess / np.maximum(columns["loss"] - 3.0, SMALL)) ** 2
        pull.append(np.mean(smooth * error))
        of_itself.append(np.mean(own * error))
    assert np.mean(of_itself) < -0.02
    assert abs(np.mean(pull)) < 0.2 * abs(np.mean(of_itself))


def test_a_curve_without_noise_is_left_as_it_is_and_one_without_an_excess_is_small():
    columns, excess = of_curves(0.0, 0)
    np.testing.assert_allclose(scale_of_curves(columns), excess, rtol=2e-3)
    below = columns | {"loss": np.where(columns["run"] == 2, 2.9, columns["loss"])}
    found = scale_of_curves(below)
    np.testing.assert_array_equal(found[columns["run"] == 2], SMALL)
    np.testing.assert_allclose(found[columns["run"] != 2], excess[columns["run"] != 2], rtol=2e-3)


def test_curves_may_be_short_and_bend():
    n_tokens = np.array([5e6, 1e6, 1e7, *np.geomspace(1e6, 1e8, 12)])
    index = np.array([0, 1, 1, *[2] * 12])
    excess = np.array([0.2, 0.3, 0.1, *np.exp(-0.1 * np.log(n_tokens[3:] / 1e6) ** 2)])
    np.testing.assert_allclose(smoothed(index, n_tokens, excess), excess, rtol=1e-3)


def test_points_are_over_the_control_where_all_that_are_used_have_one():
    """Rows that a fit leaves out once decided what the others' excess was over."""
    columns = noisy(0.05)
    columns |= {"loss_control": columns["loss_before"] - 0.05, "phase": np.full(len(columns["run"]), "constant")}
    more = {name: np.append(values, values[-1:]) for name, values in columns.items()}
    more["phase"][-1], more["loss_control"][-1] = "annealed", np.nan
    few, all_of_them = (fit(P2Law, each, phases=("constant",), weighting="excess") for each in (columns, more))
    assert few.law == all_of_them.law
