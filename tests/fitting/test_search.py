"""The parts of the search for the optimum."""

import numpy as np
import pytest

from prunescale.fitting.objective import OBJECTIVES
from prunescale.fitting.points import select
from prunescale.fitting.problem import Problem
from prunescale.fitting.space import Space, fractions_of_line, line_of_fractions, slope_of_line
from prunescale.fitting.starts import latin_hypercube, promising_starts
from prunescale.laws import Bound, P2Law

from .sweeps import P2, p2_sweep


def problem(objective="squared", fixed=None):
    return Problem(P2Law, select(P2Law, p2_sweep(noise=0.01)), objective, fixed or {})


def test_a_latin_hypercube_has_one_position_in_each_slice_of_each_side():
    positions = latin_hypercube(50, 3, np.random.default_rng(0))
    for side in positions.T:
        assert sorted(np.floor(side * 50).astype(int)) == list(range(50))


def test_fractions_span_a_range_or_the_logarithm_of_one():
    space = Space({"E": Bound(0.0, 4.0, start=(1.0, 2.0)), "A": Bound(1e-2, 1e4, start=(1.0, 1e2), log=True)})
    # Halfway from 0 to 4 is 2; halfway from 1e-2 to 1e4 on a log scale is 10.
    np.testing.assert_allclose(space.constants(np.array([0.5, 0.5])), [2.0, 10.0], rtol=1e-12)
    np.testing.assert_allclose(space.fractions(np.array([2.0, 10.0])), [0.5, 0.5], rtol=1e-12)
    np.testing.assert_allclose(space.start_box(), [[0.25, 1 / 3], [0.5, 2 / 3]], rtol=1e-12)


def test_slopes_of_the_coordinates_are_finite_differences():
    space = Space(P2Law.bounds)
    fractions, step = np.linspace(0.2, 0.7, space.size), 1e-6
    difference = (space.constants(fractions + step) - space.constants(fractions - step)) / (2 * step)
    np.testing.assert_allclose(space.slope(fractions), difference, rtol=1e-6)
    u = line_of_fractions(fractions)
    np.testing.assert_allclose(
        slope_of_line(u), (fractions_of_line(u + step) - fractions_of_line(u - step)) / (2 * step), rtol=1e-6
    )
    np.testing.assert_allclose(fractions_of_line(u), fractions, rtol=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("fixed", [{}, {"gamma": -1.5, "E": 0.1}])
def test_the_jacobian_of_the_residuals_is_the_finite_difference(objective, fixed):
    posed, step = problem(objective, fixed), 1e-7
    here = posed.space.fractions(np.array([P2.constants()[name] for name in posed.space.bounds]))
    for i, column in enumerate(posed.jacobian(here).T):
        move = step * np.eye(posed.space.size)[i]
        difference = (posed.residual(here + move) - posed.residual(here - move)) / (2 * step)
        np.testing.assert_allclose(column, difference, rtol=1e-4, atol=1e-6)  # rounding: 1e-15 / 1e-7


def test_the_best_of_the_candidates_are_followed_best_first():
    posed = problem()
    few = promising_starts(posed, n_candidates=200, n_starts=5, seed=1)
    every = promising_starts(posed, n_candidates=200, n_starts=200, seed=1)
    costs = [posed.cost(start) for start in every]
    assert costs == sorted(costs)
    np.testing.assert_array_equal(few, every[:5])


def test_memory_for_candidates_is_bounded_without_changing_the_starts(monkeypatch):
    whole = promising_starts(problem(), n_candidates=100, n_starts=100, seed=1)
    monkeypatch.setattr("prunescale.fitting.starts.CHUNK", 1000)
    np.testing.assert_array_equal(promising_starts(problem(), n_candidates=100, n_starts=100, seed=1), whole)
