"""Bootstrap and profile likelihood. That 90 % intervals cover the truth that often is simulated in benchmarks/coverage.py."""

from dataclasses import replace

import numpy as np
import pytest

from prunescale.fitting import bootstrap, fit, profile
from prunescale.fitting.conclude import coordinates_of, problem_of
from prunescale.fitting.precision import held_out_residuals, neighbourhood
from prunescale.fitting.replicate import BLOCKS, PAIRS, WILD, WILD_BASES
from prunescale.laws import HoffmannLaw, P2Law, TokensPerParameterLaw

from .sweeps import HOFFMANN, P2, SIZES, hoffmann_sweep, p2_sweep, rows


def many_runs(noise=0.01, seed=0):
    """120 runs of one point each."""
    rng = np.random.default_rng(seed)
    columns = {"n_params_total": 10 ** rng.uniform(7, 9, 120), "n_tokens": 10 ** rng.uniform(9, 11, 120)}
    columns |= {"run": np.array([f"{i:03d}" for i in range(120)]), "phase": np.full(120, "constant")}
    return columns | {"loss": HOFFMANN.predict(columns) + noise * rng.standard_normal(120)}


def test_how_studies_are_made_depends_on_how_many_runs_there_are():
    assert bootstrap(fit(HoffmannLaw, many_runs()), n=5).replicates.method == PAIRS
    assert bootstrap(fit(P2Law, p2_sweep(noise=1e-3)), n=5).replicates.method == WILD
    few = fit(P2Law, p2_sweep(sizes=SIZES[:3], rates=(0.25, 0.5), noise=1e-3))
    assert bootstrap(few, n=5).replicates.method == BLOCKS


def test_the_same_seed_gives_the_same_intervals_another_one_nearly():
    found = fit(P2Law, p2_sweep(noise=1e-3))
    assert bootstrap(found, n=50) == bootstrap(found, n=50)
    one, two = (bootstrap(found, n=400, seed=seed).interval("beta") for seed in (0, 1))
    width = one[1] - one[0]
    assert one != two
    np.testing.assert_allclose(one, two, atol=0.25 * width)  # an end of 400 draws errs by about 0.1 widths


def test_without_noise_intervals_shrink_to_the_truth():
    found = bootstrap(fit(P2Law, p2_sweep()), n=20)
    for name, value in P2.constants().items():
        np.testing.assert_allclose(found.interval(name), value, atol=1e-5)


def test_runs_drawn_anew_are_refitted_exactly():
    # One study by hand: the runs that it drew, as often as it drew them, fitted from scratch.
    columns = many_runs()
    found = bootstrap(fit(HoffmannLaw, columns), n=3, seed=5)
    times = np.random.default_rng(5).multinomial(120, np.full(120, 1 / 120), size=3)[1]
    copies = np.repeat(np.arange(120), times)
    again = rows(columns, copies) | {"run": np.array([f"{i:03d}" for i in range(120)])}
    np.testing.assert_allclose(found.replicates.constants[1], list(fit(HoffmannLaw, again).law.constants().values()), rtol=2e-3)


def test_points_of_a_run_that_err_together_widen_the_interval():
    # The same 160 errors, either dealt to points singly or one to all ten points of each run.
    exact, rng = p2_sweep(), np.random.default_rng(0)
    singly, together = rng.standard_normal(160), np.repeat(rng.standard_normal(16), 10)
    widths = []
    for errors in (singly, together):
        found = bootstrap(fit(P2Law, exact | {"loss": exact["loss"] + 1e-3 * errors}), n=300)
        low, high = found.interval("gamma")
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]  # sqrt(10) were all errors of a run alike and the design balanced


def test_residuals_freed_of_the_fit_are_those_of_the_fit_without_the_run():
    # The law is nearly linear this close to its optimum, so leaving a run out by refitting gives nearly the same.
    columns = p2_sweep(noise=1e-4)
    found = fit(P2Law, columns)
    problem, here = problem_of(found), coordinates_of(found)
    freed = held_out_residuals(neighbourhood(problem, here, ()), problem.points.run_index)
    run = problem.points.columns["run"] == "2500000-0.25"
    without = fit(P2Law, rows(columns, columns["run"] != "2500000-0.25"))
    there = {name: column[run] for name, column in problem.points.columns.items()}
    np.testing.assert_allclose(freed[run], without.predict(there) - there["loss"], rtol=0.02, atol=2e-7)


def test_a_profile_of_a_linear_law_is_the_textbook_interval():
    # With alpha, beta and the factors fixed, E is a mean: its interval is t times the standard error, here over 24 single points.
    columns = hoffmann_sweep(noise=0.01) | {"run": np.array([f"{i:02d}" for i in range(24)])}
    fixed = {name: value for name, value in HOFFMANN.constants().items() if name != "E"}
    found = fit(HoffmannLaw, columns, fixed=fixed)
    off = columns["loss"] - HOFFMANN.predict(columns) + HOFFMANN.E
    half = 1.7139 * np.std(off, ddof=1) / np.sqrt(24)  # t of 23 degrees of freedom at 95 %
    of_E = profile(found, "E")
    assert found.standard_errors["E"] == pytest.approx(np.std(off, ddof=1) / np.sqrt(24), rel=1e-6)
    assert (of_E.low, of_E.high) == pytest.approx((np.mean(off) - half, np.mean(off) + half), rel=1e-4)


def test_the_profile_of_a_constant_holds_the_bootstraps_interval_roughly():
    found = bootstrap(fit(P2Law, p2_sweep(noise=1e-3)), n=300)
    for name in P2.constants():
        of_name, (low, high) = profile(found, name), found.interval(name)
        assert of_name.low < found.law.constants()[name] < of_name.high
        assert (of_name.high - of_name.low) / (high - low) == pytest.approx(1, abs=0.5)


def test_the_profile_of_a_constant_is_the_fit_with_it_held():
    found = fit(P2Law, p2_sweep(noise=3e-3), objective="squared-log")
    of_beta = profile(found, "beta")
    unit = None
    for value, rise in zip(of_beta.values[[0, -1]], of_beta.rise[[0, -1]], strict=True):
        held = fit(P2Law, p2_sweep(noise=3e-3), objective="squared-log", fixed={"beta": float(value)})
        ratio = (held.cost - found.cost) / rise
        assert unit is None or ratio == pytest.approx(unit, rel=1e-3)
        unit = ratio


def test_an_answer_that_nothing_bounds_has_an_open_end():
    # E from zero on, and its estimate near zero: nothing speaks against zero, so the lower end is open.
    found = fit(P2Law, p2_sweep(replace(P2, E=0.001), noise=5e-3))
    assert found.at_bound == ("E",)
    assert profile(found, "E").low == -np.inf
    assert 0.005 < profile(found, "E").high < 0.1


def test_a_factor_that_vanished_is_bounded_from_above():
    found = fit(P2Law, p2_sweep(replace(P2, N_C=0.0, E=0.3), noise=2e-3, seed=1), fixed={"alpha": 0.5})
    assert found.law.N_C == 0  # as in about half of such draws
    bounded = profile(found, "N_C")
    assert 0 < bounded.high < 0.3


def test_an_answer_may_be_profiled_like_a_constant():
    def halved(law):
        return law.beta / 2

    found = bootstrap(fit(P2Law, p2_sweep(noise=1e-3)), n=50)
    direct, through = profile(found, "beta"), profile(found, halved)
    assert (2 * through.low, 2 * through.high) == pytest.approx((direct.low, direct.high), rel=1e-4)
    by_log = profile(found, halved, log=True)
    assert (by_log.low, by_log.high) == pytest.approx((through.low, through.high), rel=1e-3)
    low, high = found.interval("beta")
    assert found.interval(halved) == pytest.approx((low / 2, high / 2))


def test_the_loss_can_be_known_where_the_answer_is_not():
    # A weak token term and a floor: the loss at ten times the tokens is known to a hundredth, the tokens worth spending are not.
    weak = P2Law(gamma=-1.6, delta=0.1, N_C=0.3, alpha=0.6, D_C=0.3, beta=0.15, E=0.5)
    found = bootstrap(fit(P2Law, p2_sweep(weak, noise=5e-3)), n=200)

    def tokens(law):
        scale = 0.5**-law.gamma * 10.0**-law.delta
        return (law.D_C * scale * (1 - 2**-law.beta) / 0.002) ** (1 / np.maximum(law.beta, 1e-3))

    model = {"n_params_before": 1e7, "n_tokens": 6e8, "pruning_rate": 0.5, "loss_before": 3.0}
    low, high = found.interval(lambda law: law.loss(**model))
    assert high - low < 0.05
    low, high = found.interval(tokens)
    assert high > 1e3 * low
    assert profile(found, tokens, log=True).high > 1e2 * profile(found, tokens, log=True).low


def over_controls(n_bases, seed=0, base=None):
    """Runs of the tokens-per-parameter law, three rates a base; the error of each control is that of all runs of its base."""
    law, rng = TokensPerParameterLaw(A=0.3, gamma=1.06, beta=0.31), np.random.default_rng(seed)
    n_tokens, rows = np.geomspace(1e6, 6e7, 8), []
    for size in np.geomspace(3.5e6, 5e7, n_bases):
        error = 0.01 * rng.standard_normal()
        for rate in (0.125, 0.25, 0.5):
            excess = law.loss(n_params_before=size, n_tokens=n_tokens, pruning_rate=rate, loss_control=0.0)
            loss = 3.0 + excess + 0.001 * rng.standard_normal(8)
            row = {"n_params_before": size, "pruning_rate": rate, "loss_control": 3.0 + error}
            row |= {"run": f"{size:.0f} {rate}", "base": base or f"{size:.0f}", "n_tokens": n_tokens, "loss": loss}
            rows.append({name: np.broadcast_to(value, 8) for name, value in row.items()})
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def test_runs_of_a_base_err_together_over_the_control_that_they_share():
    """Taken one by one, they gave intervals that held the truth in seven of ten studies."""
    columns = over_controls(8)
    alone = columns | {"base": columns["run"]}
    together, apart = (bootstrap(fit(TokensPerParameterLaw, each, phases=None), n=100) for each in (columns, alone))
    assert (together.replicates.method, apart.replicates.method) == (WILD_BASES, WILD_BASES)
    assert together.law == apart.law
    assert together.standard_errors["beta"] > 1.2 * apart.standard_errors["beta"]
    widths = [np.ptp(found.interval("beta")) for found in (together, apart)]
    assert widths[0] > 1.2 * widths[1]


def test_hardly_more_bases_than_constants_are_told_of():
    found = fit(TokensPerParameterLaw, over_controls(4), phases=None)
    (check,) = [check for check in found.checks if check.code == "shared-control"]
    assert check.text.startswith("12 runs share the controls of 4 bases, too few for 3 constants: ")
    assert bootstrap(found, n=5).replicates.method == WILD
    assert not [
        check for check in fit(TokensPerParameterLaw, over_controls(8), phases=None).checks if check.code == "shared-control"
    ]
    p2 = p2_sweep(noise=1e-3)
    assert not [check for check in fit(P2Law, p2).checks if check.code == "shared-control"]
