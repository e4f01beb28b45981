import numpy as np
import pytest

from prunescale.fitting import errors, fit, measure
from prunescale.fitting.metrics import average_slope_difference, r_squared
from prunescale.fitting.objective import huber
from prunescale.laws import LAWS, HoffmannLaw, P2Law

from .sweeps import P2, p2_sweep


def test_r_squared_by_hand():
    # mean 2, total 1 + 0 + 1 = 2; residuals 0, 1, 0: 1 - 1/2
    assert r_squared(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 3.0])) == 0.5
    assert r_squared(np.array([2.0, 2.0]), np.array([1.0, 3.0])) is None


def test_huber_by_hand():
    # |r| = 1 <= delta 2: 1/2. |r| = 5 > 2: 2 * (5 - 1) = 8.
    assert huber(np.array([1.0, -5.0]), delta=2.0).tolist() == [0.5, 8.0]


def test_average_slope_difference_by_hand():
    # Run a, tokens 1 M, 2 M, 4 M. Measured slopes -1 and -0.25, predicted -0.5 and -0.25 nats per M: differences 0.5 and 0.
    # Run b, tokens 1 M, 3 M. Measured -0.5, predicted -1: 0.5. The step from a's last to b's first is none. Mean of 0.5, 0, 0.5.
    run = np.array(["a", "a", "a", "b", "b"])
    tokens = np.array([1e6, 2e6, 4e6, 1e6, 3e6])
    measured = np.array([5.0, 4.0, 3.5, 5.0, 4.0])
    predicted = np.array([5.0, 4.5, 4.0, 6.0, 4.0])
    assert average_slope_difference(run, tokens, measured, predicted) == pytest.approx(1 / 3, rel=1e-12)


def test_a_level_that_is_off_leaves_the_slope_alone():
    columns = p2_sweep(sizes=(1e6,), rates=(0.5,))
    assert measure(P2, columns | {"loss": columns["loss"] + 0.3}).asd == pytest.approx(0.0, abs=1e-12)


def test_average_slope_difference_needs_two_points_of_a_run():
    one_each = np.array([1e6, 2e6])
    assert average_slope_difference(np.array(["a", "b"]), one_each, one_each, one_each) is None


def test_r2_is_flattered_by_the_loss_before():
    # Losses before pruning spread over 1 nat, the excess only over 0.1: being blind to the excess still earns a high R2.
    columns = p2_sweep()
    columns["loss_before"] = 3.0 + np.arange(len(columns["loss"])) / len(columns["loss"])
    excess = 0.1 * np.linspace(0, 1, len(columns["loss"]))
    columns["loss"] = columns["loss_before"] + excess[::-1]
    blind = P2Law(gamma=0.0, delta=0.0, N_C=0.0, alpha=0.0, D_C=0.0, beta=0.0, E=0.05)
    metrics = measure(blind, columns)
    assert metrics.r2 > 0.98
    assert metrics.r2_excess == pytest.approx(0.0, abs=1e-12)


def test_a_law_without_a_loss_before_has_no_excess():
    columns = {"n_params_total": np.full(2, 1e6), "n_tokens": np.array([1e6, 2e6]), "run": np.array(["a", "a"])}
    columns["loss"] = np.array([4.0, 3.0])
    assert measure(HoffmannLaw(E=1, A=1, alpha=1, B=1, beta=1), columns).r2_excess is None


def test_the_excess_of_a_law_over_the_control_is_over_the_control():
    columns = p2_sweep()
    columns["loss_control"] = columns.pop("loss_before")
    law = LAWS["p2-control"](**P2.constants())
    columns["loss"] = law.predict(columns) + 0.01 * (-1.0) ** np.arange(160)
    excess = columns["loss"] - columns["loss_control"]
    # Residuals of 0.01 either way: 160 * 1e-4 of the total sum of squares.
    assert measure(law, columns).r2_excess == pytest.approx(1 - 0.016 / np.sum((excess - np.mean(excess)) ** 2), rel=1e-9)
    (first, *_) = errors(fit(type(law), columns), columns)
    assert first.excess_error is not None


def test_errors_of_the_end_of_runs_that_were_held_out():
    found = fit(P2Law, p2_sweep(sizes=(4e5, 1e6, 2.5e6)))
    unseen = p2_sweep(sizes=(1e7,), rates=(0.25, 0.5))
    unseen["loss"] = unseen["loss"] / 1.02  # so that a right prediction is 2 % above
    low, high = errors(found, unseen)
    assert (low.run, high.run) == ("10000000-0.25", "10000000-0.5")
    assert low.n_tokens == pytest.approx(6e7)
    assert low.error == pytest.approx(0.02, rel=1e-4)
    measured_excess = high.loss - high.loss_before
    assert high.excess_error == pytest.approx(0.02 * high.loss / measured_excess, rel=1e-4)
    assert high.predicted == pytest.approx(1.02 * high.loss, rel=1e-6)
    assert high.rmse == pytest.approx(0.02 * np.sqrt(np.mean(unseen["loss"][10:] ** 2)), rel=1e-4)


def test_errors_use_the_points_that_the_fit_would_have_used():
    columns = p2_sweep()
    found = fit(P2Law, columns)
    unseen = p2_sweep(sizes=(2e7,), rates=(0.3,))
    unseen["phase"][-1] = "decay"
    assert errors(found, unseen)[0].n_tokens == unseen["n_tokens"][-2]
