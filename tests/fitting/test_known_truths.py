from dataclasses import replace

import numpy as np
import pytest

from prunescale.fitting import OBJECTIVES, FitStatus, fit
from prunescale.laws import LAWS, AverageParameterLaw, HoffmannLaw, P2Law, own_law

from .sweeps import HOFFMANN, P2, SIZES, hoffmann_sweep, p2_sweep, rows


def assert_constants(found, truth, rtol):
    np.testing.assert_allclose(list(found.law.constants().values()), list(truth.constants().values()), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_p2_constants_come_back_from_four_sizes(objective):
    found = fit(P2Law, p2_sweep(), objective=objective)
    assert_constants(found, P2, 1e-5)
    assert found.status is FitStatus.CONVERGED
    assert (found.n_points, found.n_runs, found.objective) == (160, 16, objective)


def test_p2_constants_come_back_from_two_sizes_with_E_fixed():
    truth = replace(P2, E=0.0)
    assert_constants(fit(P2Law, p2_sweep(truth, sizes=SIZES[:2]), fixed={"E": 0.0}), truth, 1e-5)


def test_p2_predicts_a_size_and_a_rate_it_has_not_seen():
    found = fit(P2Law, p2_sweep(sizes=SIZES[:3], rates=(0.125, 0.25, 0.375)))
    unseen = p2_sweep(sizes=SIZES[3:], rates=(0.5,))
    np.testing.assert_allclose(found.predict(unseen), unseen["loss"], rtol=1e-6)


def test_hoffmann_constants_come_back():
    assert_constants(fit(HoffmannLaw, hoffmann_sweep()), HOFFMANN, 1e-5)


def test_average_parameter_constants_come_back():
    columns = hoffmann_sweep()
    columns["n_params_average"] = columns.pop("n_params_total")
    assert_constants(fit(AverageParameterLaw, columns), HOFFMANN, 1e-5)


def test_noise_moves_constants_by_about_their_standard_errors():
    found = fit(P2Law, p2_sweep(noise=1e-3))
    errors = np.array([found.standard_errors[name] for name in P2.constants()])
    assert found.weighting == "runs"
    distances = np.array(list(found.law.constants().values())) - np.array(list(P2.constants().values()))
    assert np.all(np.abs(distances / errors) < 4)  # independent noise here: beyond 4 once in 16,000
    assert np.all(errors < 0.1)
    assert found.metrics.rmse == pytest.approx(1e-3, rel=0.2)  # 160 points: the spread's own error is 6 %


@pytest.mark.parametrize("law_and_sweep", [(P2Law, p2_sweep), (HoffmannLaw, hoffmann_sweep)], ids=["p2", "hoffmann"])
def test_row_order_changes_nothing(law_and_sweep):
    law, sweep = law_and_sweep
    columns = sweep(noise=0.01)
    shuffled = rows(columns, np.random.default_rng(1).permutation(len(columns["loss"])))
    assert fit(law, columns) == fit(law, shuffled)


def test_noise_free_hoffmann_on_a_shifted_scale_is_found():
    truth = replace(HOFFMANN, A=20.0, alpha=0.15, B=5e4, beta=0.6)
    assert_constants(fit(HoffmannLaw, hoffmann_sweep(truth)), truth, 1e-8)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_every_law_gets_its_constants_back(law):
    rng = np.random.default_rng(0)
    columns = {name: 10 ** rng.uniform(6, 10, 300) for name in law.columns}
    shares = {name: rng.uniform(0.1, 0.6, 300) for name in ("pruning_rate", "sparsity") if name in columns}
    losses = {name: rng.uniform(2, 3, 300) for name in ("loss_before", "loss_control") if name in columns}
    columns |= shares | losses | {"run": np.array([f"{i:03d}" for i in range(300)])}
    truth = law.from_constants({name: middle(bound) for name, bound in law.bounds.items()})
    found = fit(law, columns | {"loss": truth.predict(columns)}, phases=None)
    assert_constants(found, truth, 1e-6)


def middle(bound):
    low, high = bound.start
    return (low * high) ** 0.5 if bound.log else low + 0.4 * (high - low)


def test_a_long_curve_does_not_drown_a_short_one():
    # Two runs of one law that disagree by 0.1 nats, one with 9 times the points: weighted by runs the fit lies between, weighted
    # by points it lies nine tenths of the way to the long one.
    columns = p2_sweep(sizes=(1e6,), rates=(0.5,), tokens=np.geomspace(1e6, 1e8, 10))
    long = {name: np.tile(column, 9) for name, column in columns.items()}
    long |= {"loss": long["loss"] + 0.1, "run": np.full(90, "long")}
    both = {name: np.concatenate([columns[name], long[name]]) for name in columns}
    fixed = {name: value for name, value in P2.constants().items() if name != "E"}
    truth, scale = P2.E, 0.5**1.6
    by_run, by_point = (fit(P2Law, both, fixed=fixed, weighting=weighting).law.E for weighting in ("runs", "points"))
    assert by_run == pytest.approx(truth + 0.05 / scale, abs=1e-9)
    assert by_point == pytest.approx(truth + 0.09 / scale, abs=1e-9)


def test_fixed_constants_stay_and_all_may_be_fixed():
    columns = p2_sweep()
    assert fit(P2Law, columns, fixed={"gamma": -1.5}).law.gamma == -1.5
    every = fit(P2Law, columns, fixed=P2.constants())
    assert every.law == P2
    assert every.metrics.rmse < 1e-14


def test_a_law_without_a_value_at_some_constants_is_fitted_where_it_has_one():
    # The root has no value where k is above the smallest number of tokens: half of the range.
    def law(n_tokens, a, k):
        return a + 1e-3 * np.sqrt(n_tokens - k)

    own = own_law(law, {"a": (0.0, 10.0), "k": (0.0, 2e6)})
    columns = p2_sweep(sizes=(1e6,), rates=(0.5,), tokens=np.geomspace(1e6, 6e7, 30))
    columns["loss"] = law(columns["n_tokens"], 2.0, 7e5)
    with np.errstate(all="raise", under="ignore"):
        found = fit(own, columns)
    np.testing.assert_allclose(list(found.law.constants().values()), [2.0, 7e5], rtol=1e-6)
