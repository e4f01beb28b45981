"""What holds of every law: what it offers, its derivatives, many candidates at once, and the corners of its bounds."""

import inspect
from dataclasses import fields
from itertools import product
from math import inf

import numpy as np
import pytest

from prunescale.laws import COLUMNS, LAWS, P2Law
from tests.laws.draws import constants, one, points

every_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)


@every_law
def test_what_a_law_offers(law):
    assert LAWS[law.name] is law
    assert tuple(law.bounds) == tuple(field.name for field in fields(law))
    assert (
        law.columns == tuple(inspect.signature(law.loss).parameters)[1:] == tuple(inspect.signature(law.gradient).parameters)[1:]
    )
    assert set(law.columns) <= set(COLUMNS)
    assert set(law.may_be_zero) <= set(law.columns)
    assert "arXiv" in law.source
    assert inspect.getdoc(law).startswith("L")
    assert law.formula in inspect.getdoc(law).partition("\n")[0]


@every_law
def test_bounds_hold_where_a_search_starts_and_say_what_they_are_for(law):
    for bound in law.bounds.values():
        assert -inf < bound.low <= bound.start[0] < bound.start[1] <= bound.high < inf
        assert bound.low > 0 or not bound.log
        assert bound.off is None or bound.low <= bound.off <= bound.high
        assert bound.role


def test_p2_allows_a_loss_that_rises_with_the_rate_and_either_sign_of_delta():
    assert P2Law.bounds["gamma"].low < -3
    assert P2Law.bounds["delta"].low < 0 < P2Law.bounds["delta"].high


@every_law
def test_gradient_is_the_finite_difference(law):
    columns, candidates = points(law), constants(law, 10)
    for candidate in (one(candidates, i) for i in range(10)):
        gradient = law(**candidate).jacobian(columns)
        assert gradient.shape == (20, len(law.bounds))
        for i, (name, value) in enumerate(candidate.items()):
            step = 1e-5 * abs(value)
            up, down = (law(**candidate | {name: value + s}).predict(columns) for s in (step, -step))
            # A central difference errs by about step^2 of the value. Rounding adds 1e-16 of the loss / step, ten times that
            # where the loss is the exponential of a sum of order ten.
            rounding = 2e-15 * np.max(law(**candidate).predict(columns)) / step
            np.testing.assert_allclose(gradient[:, i], (up - down) / (2 * step), rtol=1e-6, atol=rounding, err_msg=name)


@every_law
def test_gradient_where_a_factor_is_zero_is_its_limit(law):
    columns, candidate = points(law), one(constants(law, 1), 0)
    for factor in (name for name, bound in law.bounds.items() if bound.log):
        gradients = [law(**candidate | {factor: value}).jacobian(columns) for value in (0.0, 1e-200)]
        assert np.all(np.isfinite(gradients[0]))
        with_limit = [i for i, name in enumerate(law.bounds) if (law.name, name) not in NO_LIMIT]
        np.testing.assert_allclose(gradients[0][:, with_limit], gradients[1][:, with_limit], rtol=1e-9, atol=1e-9)


NO_LIMIT = {
    ("kaplan", "N_c"),  # N_c^(a_N/a_D) has an infinite slope at 0 where a_N < a_D
    ("kaplan", "D_c"),
}


@every_law
def test_many_candidates_at_once_equal_one_at_a_time(law):
    columns, candidates = points(law), constants(law, 6)
    for factor in (name for name, bound in law.bounds.items() if bound.log):
        candidates[factor][0] = 0.0
    many = law(**candidates)
    alone = [law(**one(candidates, i)) for i in range(6)]
    # Vectors and numbers may take different paths through exp and log, which agree to the last digit but one.
    np.testing.assert_allclose(many.predict(columns), [each.predict(columns) for each in alone], rtol=1e-14)
    slopes = np.stack([np.broadcast_to(part, (6, 20)) for part in many.derivatives(columns)], axis=-1)
    np.testing.assert_allclose(slopes, [each.jacobian(columns) for each in alone], rtol=1e-12, atol=1e-14)


@every_law
def test_numbers_do_as_well_as_arrays(law):
    columns, candidate = points(law), law(**one(constants(law, 1), 0))
    loss = candidate.predict({name: float(values[7]) for name, values in columns.items()})
    assert np.ndim(loss) == 0
    assert loss == pytest.approx(candidate.predict(columns)[7], rel=1e-14)


@every_law
def test_no_corner_of_the_bounds_overflows(law):
    rng = np.random.default_rng(0)
    extremes = {"loss": [0.3, 1.0, 12.0], "n_params": [1e3, 1e6, 1e13], "share": [1e-4, 0.5, 0.999], "tokens": [1.0, 1e6, 1e15]}
    columns = {}
    for name in law.columns:
        kind = next((k for k in ("loss", "n_params", "tokens") if k in name), "share")
        columns[name] = rng.choice(extremes[kind] + [0.0] * (name in law.may_be_zero), 200)
    ends = [(bound.low, bound.high, 0.0) if bound.log else (bound.low, bound.high) for bound in law.bounds.values()]
    corners = np.array(list(product(*ends)))
    all_corners = law(**{name: corners[:, [i]] for i, name in enumerate(law.bounds)})
    with np.errstate(all="raise", under="ignore"):
        loss, gradient = all_corners.predict(columns), all_corners.derivatives(columns)
    assert np.all(np.isfinite(loss))
    assert all(np.all(np.isfinite(part)) for part in gradient)
    assert len(gradient) == len(law.bounds)
