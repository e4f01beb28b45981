"""A law carried on from the last measured point of a curve."""

from dataclasses import replace

import numpy as np
import pytest

from prunescale.errors import FitError
from prunescale.fitting import audit, bootstrap, fit, through
from prunescale.laws import LAWS, HoffmannLaw, P2Law
from prunescale.planner import forecast, plan

from .sweeps import P2, hoffmann_sweep, p2_sweep

POINT = {"n_params_before": 1e6, "n_tokens": 5e6, "pruning_rate": 0.25, "loss_before": 3.5}


def unlike(columns, share=0.3, seed=0):
    """The same runs, each with its own factor on its excess."""
    _, index = np.unique(columns["run"], return_inverse=True)
    factor = np.exp(share * np.random.default_rng(seed).standard_normal(index.max() + 1))[index]
    return columns | {"loss": columns["loss_before"] + factor * (columns["loss"] - columns["loss_before"])}


def test_it_goes_through_the_point_and_keeps_its_shape():
    found = fit(P2Law, p2_sweep())
    moved = through(found, POINT, 3.9)
    assert forecast(moved, POINT, 5e6).loss == pytest.approx(3.9)
    before, after = ([forecast(each, POINT, n).loss - 3.5 for n in (5e6, 1e7, 1e8)] for each in (found, moved))
    np.testing.assert_allclose(np.array(after) / before, 0.4 / before[0])
    constants = moved.law.constants()
    assert {name: constants[name] for name in ("gamma", "delta", "alpha", "beta")} == pytest.approx(
        {name: P2.constants()[name] for name in ("gamma", "delta", "alpha", "beta")}, rel=1e-5
    )


def test_each_study_that_might_have_been_goes_through_it_too():
    found = bootstrap(fit(P2Law, p2_sweep(noise=0.01)), n=100)
    there = forecast(found, POINT, 5e6).loss
    moved = through(found, POINT, there)
    low, high = forecast(moved, POINT, 5e6).loss_interval
    assert (low, high) == pytest.approx((there, there))
    width = [np.diff(forecast(each, POINT, 2e7).loss_interval)[0] for each in (found, moved)]
    assert 0 < width[1] < width[0]
    assert plan(moved, POINT, 0.01).tokens > 0


@pytest.mark.parametrize("name", [name for name, law in LAWS.items() if law.amplitudes])
def test_the_excess_of_a_law_is_proportional_to_its_amplitudes(name):
    law = LAWS[name]
    start = {constant: float(np.sqrt(max(b.start[0], 1e-2) * max(b.start[1], 1e-2))) for constant, b in law.bounds.items()}
    point = POINT | {"loss_control": 3.5}
    columns = {column: np.array([point[column]]) for column in law.columns}
    once, thrice = (
        law(**start | {amplitude: factor * start[amplitude] for amplitude in law.amplitudes}).predict(columns) - 3.5
        for factor in (1, 3)
    )
    np.testing.assert_allclose(thrice, 3 * once)


def test_an_audit_shows_it_where_curves_go_on():
    found = audit([P2Law], unlike(p2_sweep()), holdouts=["checkpoints", "size"], n_replicates=0)
    plain, anchored = (found.row("checkpoints", name).score.excess_error for name in ("p2", "p2 +"))
    assert anchored < 0.1 * plain  # runs differ by a factor each, and in nothing else
    assert found.row("checkpoints", "p2 +").is_baseline
    assert found.row("size", "p2 +") is None


def test_what_cannot_be_scaled_is_refused():
    found = fit(P2Law, p2_sweep())
    with pytest.raises(FitError, match=r"must be above the loss_before of 3.5, got 3.4: there is no excess to carry on from"):
        through(found, POINT, 3.4)
    with pytest.raises(FitError, match="has no excess that could be scaled to a measured loss"):
        through(fit(HoffmannLaw, hoffmann_sweep()), {"n_params_total": 1e7, "n_tokens": 1e9}, 3.0)
    nothing = replace(found, law=P2Law(**found.law.constants() | {"N_C": 0.0, "D_C": 0.0, "E": 0.0}))
    with pytest.raises(FitError, match="predicts no excess at this point"):
        through(nothing, POINT, 3.9)
