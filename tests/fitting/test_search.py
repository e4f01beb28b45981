"""The parts of the search for the optimum."""

import numpy as np
import pytest
from scipy.optimize import nnls

from prunescale.fitting.linear import linear_constants, non_negative
from prunescale.fitting.minimise import minimise
from prunescale.fitting.objective import HUBER_DELTA, OBJECTIVES
from prunescale.fitting.points import select
from prunescale.fitting.problem import CHUNK, Problem
from prunescale.fitting.search import evenly, starts
from prunescale.laws import LAWS, P2Law

from .sweeps import P2, p2_sweep


def problem(objective="squared", fixed=None, noise=0.01, **sweep):
    return Problem(P2Law, select(P2Law, p2_sweep(noise=noise, **sweep)), objective, fixed or {})


def truth(posed):
    return posed.coordinates(np.array(list(P2.constants().values())))


def test_positions_are_spread_evenly():
    # Each eighth of each side holds an eighth of 512 positions, give or take four; random ones would miss by 18 somewhere.
    counts = [np.histogram(side, bins=8, range=(0, 1))[0] for side in evenly(512, 4).T]
    assert np.max(np.abs(np.array(counts) - 64)) <= 4


def test_factors_lie_at_their_logarithms_and_zero_at_minus_infinity():
    posed = problem()
    constants = np.array([-1.6, 0.1, 0.0, 0.6, 2.5, 0.45, 0.15])  # gamma, delta, N_C, alpha, D_C, beta, E
    expected = [-1.6, 0.1, -np.inf, 0.6, np.log(2.5), 0.45, 0.15]
    np.testing.assert_allclose(posed.coordinates(constants), expected, rtol=1e-15)
    np.testing.assert_allclose(posed.constants(posed.coordinates(constants)), constants, rtol=1e-15)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_rho_and_its_derivatives(objective):
    terms = OBJECTIVES[objective]
    r, step = np.array([-3.3, -0.7, 0.2, 0.6, 5.0]) * HUBER_DELTA, 1e-4 * HUBER_DELTA
    np.testing.assert_allclose((terms.rho(r + step) - terms.rho(r - step)) / (2 * step), terms.influence(r), rtol=1e-6)
    np.testing.assert_allclose(
        (terms.influence(r + step) - terms.influence(r - step)) / (2 * step), terms.curvature(r), atol=1e-6
    )
    np.testing.assert_allclose(terms.weight(r) * r, terms.influence(r), rtol=1e-12)
    loss = np.array([0.7, 2.0, 9.0])
    np.testing.assert_allclose(terms.inverse(terms.transform(loss)), loss, rtol=1e-15)
    np.testing.assert_allclose((terms.transform(loss + 1e-6) - terms.transform(loss - 1e-6)) / 2e-6, terms.slope(loss), rtol=1e-8)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("fixed", [{}, {"gamma": -1.5, "N_C": 0.0}])
def test_the_slope_of_the_objective_is_the_finite_difference(objective, fixed):
    posed, step = problem(objective, fixed), 1e-6
    here = posed.coordinates(np.array([fixed.get(name, value) for name, value in P2.constants().items()]))
    slope = posed.local(here[None]).slope[0]
    for part, index in zip(slope, np.flatnonzero(posed.free), strict=True):
        move = step * np.eye(len(here))[index]
        up, down = posed.cost(np.stack([here + move, here - move]))
        assert part == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-8)


def test_the_matrices_are_sums_over_points():
    posed = problem("huber-log")
    local = posed.local(truth(posed)[None])
    residual, jacobian = posed.scores(truth(posed))
    near = np.abs(residual) <= HUBER_DELTA
    assert 0 < near.sum() < len(near)
    np.testing.assert_allclose(local.newton[0], jacobian[near].T @ jacobian[near], rtol=1e-12)
    weight = HUBER_DELTA / np.maximum(np.abs(residual), HUBER_DELTA)
    np.testing.assert_allclose(local.majorant[0], (jacobian.T * weight) @ jacobian, rtol=1e-12)


def test_chunks_of_points_and_candidates_change_nothing():
    posed = problem(tokens=np.geomspace(1e6, 6e7, 1 + CHUNK // 16), noise=0.01)  # more points than are evaluated at a time
    z = np.stack([truth(posed), truth(posed) + 0.01])
    whole = [posed.terms.rho(posed.law_at(row).predict(posed.points.columns) - posed.points.loss) for row in z]
    np.testing.assert_allclose(posed.cost(z), [np.sum(posed.points.weight * part) for part in whole], rtol=1e-12)
    np.testing.assert_allclose(posed.local(z).cost, posed.cost(z), rtol=1e-12)


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        ("p2", ("N_C", "D_C", "E")),
        ("p2-beta-rate", ("N_C", "D_C", "E")),
        ("hoffmann", ("E", "A", "B")),
        ("frantar", ("a_S", "c_S", "a_D", "c")),
        ("skaling", ("E", "A")),
        ("kaplan", ()),
        ("compression", ()),
    ],
)
def test_linear_constants_are_found(law, expected):
    law, rng = LAWS[law], np.random.default_rng(0)
    columns = {name: 10 ** rng.uniform(6, 9, 30) for name in law.columns}
    columns |= {name: rng.uniform(0.1, 0.6, 30) for name in ("pruning_rate", "sparsity") if name in columns}
    assert linear_constants(law, columns, {}) == expected
    fixed = dict.fromkeys(expected[:1], 0.5)
    assert linear_constants(law, columns, fixed) == expected[1:]


def test_non_negative_least_squares_is_scipys():
    rng = np.random.default_rng(0)
    basis, target, weight = rng.random((40, 3, 25)), rng.standard_normal(25), rng.uniform(0.5, 2, 25)
    factors, cost = non_negative(basis, target, weight)
    assert np.any(factors == 0)
    assert np.any(np.all(factors > 0, axis=1)) or np.any(np.sum(factors > 0, axis=1) == 2)
    for one, found, left in zip(basis, factors, cost, strict=True):
        expected, norm = nnls(one.T * np.sqrt(weight)[:, None], target * np.sqrt(weight))
        np.testing.assert_allclose(found, expected, atol=1e-9)
        assert left == pytest.approx(norm**2, rel=1e-9)


def test_starts_depend_on_nothing_but_the_points_and_lie_within_bounds():
    posed = problem()
    once, again = starts(posed, 24), starts(posed, 24)
    np.testing.assert_array_equal(once, again)
    assert np.all((once >= posed.box[0]) & (once <= posed.box[1]))
    assert len(np.unique(once, axis=0)) == 24
    assert np.all(starts(problem(fixed={"gamma": -1.5}), 24)[:, 0] == -1.5)


def test_each_candidate_ends_as_if_alone():
    posed = problem("huber-log")
    begin = starts(posed, 12)
    together = minimise(posed, begin)
    alone = [minimise(posed, row[None]) for row in begin]
    np.testing.assert_allclose(together.cost, [end.cost[0] for end in alone], rtol=1e-9)


def test_a_step_never_leaves_the_bounds_and_what_is_not_free_stays():
    posed = problem(noise=0.3)
    free = np.array([name not in ("delta", "E") for name in posed.names])
    begin = starts(posed, 24)
    ends = minimise(posed, begin, free=free).coordinates
    assert np.all((ends >= posed.box[0]) & (ends <= posed.box[1]))
    np.testing.assert_array_equal(ends[:, ~free], begin[:, ~free])
