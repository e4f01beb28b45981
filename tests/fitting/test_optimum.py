"""The optimum is found: on the points that everybody fits, and against the best of many random starts."""

import numpy as np
import pytest

from benchmarks import hoffmann
from benchmarks.reference import Task, brute_force
from benchmarks.simulated import draw
from prunescale.fitting import OBJECTIVES, fit
from prunescale.laws import DataConstrainedLaw, HoffmannLaw
from studies.published import muennighoff


@pytest.fixture(scope="module")
def points():
    """Hoffmann's 240 points, each a run of its own."""
    N, D, loss = (np.array(column) for column in hoffmann.read())
    return {
        "n_params_total": N,
        "n_tokens": D,
        "loss": loss,
        "run": np.arange(240).astype(str),
        "phase": np.full(240, "constant"),
    }


def test_hoffmanns_points_have_the_published_huber_optimum(points):
    """L-BFGS-B from 4500 starts and variable projection end here too: benchmarks/results.md. Besiroglu et al. 2024, arXiv:2404.10102,
    who stopped a little early, print A 482.01, B 2085.43, E 1.8172, alpha 0.3478, beta 0.3658, at which the objective is 1.0228e-3."""
    found = fit(HoffmannLaw, points, objective="huber-log")
    assert found.cost == pytest.approx(1.0182740178e-3, rel=1e-6)
    assert [*found.law.constants().values()] == pytest.approx([1.8172, 477.8, 0.3473, 2143.4, 0.3672], rel=3e-4)  # as printed


def test_the_objective_moves_hoffmanns_constants_as_published(points):
    beta = {name: fit(HoffmannLaw, points, objective=name).law.beta for name in OBJECTIVES}
    assert beta["huber-log"] == pytest.approx(0.367, abs=5e-4)
    assert beta["squared"] == pytest.approx(0.428, abs=5e-4)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_order_of_rows_changes_nothing(points, objective):
    shuffled = np.random.default_rng(0).permutation(240)
    found, other = (
        fit(HoffmannLaw, table, objective=objective)
        for table in (points, {name: column[shuffled] for name, column in points.items()})
    )
    assert (other.law, other.cost, other.standard_errors) == (found.law, found.cost, found.standard_errors)


SWEEPS = (1, 2, 4, 8, 12, 16, 18, 70, 108, 135, 197, 625)
"""Of those that benchmarks/fit_global.py looks at: of four laws, with noise and outliers; in 135 one start of 24 finds the optimum.
In 625 the term in D becomes a logarithm, beta near 0 and E at 0: Huber's kinks stopped the descent on the way there, 1.3e-4 too high."""


@pytest.mark.parametrize("number", SWEEPS)
def test_no_random_start_and_not_the_truth_leads_lower(number):
    sweep = draw(number)
    objective = "huber-log" if number == 625 else list(OBJECTIVES)[number % 3]
    law = type(sweep.truth)
    found = fit(law, sweep.columns, objective=objective, fixed=sweep.fixed)
    task = Task(law, found.points.columns, found.points.weight, objective, sweep.fixed)
    lowest, _ = brute_force(task, n_starts=3, seed=number, besides=[sweep.truth])
    assert task.value(found.law) == pytest.approx(found.cost, rel=1e-9)
    assert found.cost <= lowest * (1 + 1e-6)


def test_starts_that_crawl_along_a_valley_are_followed_to_its_end():
    # Muennighoff's 229 runs under the data-constrained law: with 200 steps only one start of 24 came near, and the fit said that its
    # starts disagreed, though half of them lead to this optimum.
    found = fit(DataConstrainedLaw, muennighoff.ends(), objective="squared-log", phases=None)
    assert found.cost == pytest.approx(3.2337527, rel=1e-6)
    assert found.share_of_starts > 0.25
