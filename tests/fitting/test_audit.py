import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prunescale.errors import FitError
from prunescale.fitting import CODES, HOLDOUTS, USUAL, audit, distance, far, fit
from prunescale.fitting.curve_alone import BASELINES
from prunescale.fitting.judge import AuditRow
from prunescale.fitting.leave_out import leave_each_run_out
from prunescale.fitting.same_points import same_points
from prunescale.fitting.score import score
from prunescale.laws import (
    AverageParameterLaw,
    CompressionLaw,
    FinalParameterLaw,
    HoffmannLaw,
    P2AdditiveLaw,
    P2Law,
    P2NoDeltaLaw,
)

from .sweeps import HOFFMANN, P2, SIZES, finished, hoffmann_sweep, p2_sweep, rows

ALONE, OF_LAST_POINTS, LAST = BASELINES


def same(columns, law=P2Law):
    return same_points([law], columns, min_tokens=0, phases=None, weighting="runs")


@pytest.fixture(scope="module")
def exact():
    """Runs from the P2 law without noise, and two laws."""
    return audit([P2Law, P2NoDeltaLaw], p2_sweep(), n_replicates=0)


@pytest.mark.parametrize("holdout", USUAL)
def test_the_law_that_made_the_runs_predicts_what_it_has_not_seen(exact, holdout):
    true, other = (exact.row(holdout, law).score for law in ("p2", "p2-no-delta"))
    assert true.largest_error < 1e-6
    assert true.excess_error < 1e-5
    assert true.asd < 1e-5
    assert other.error > 100 * true.error
    assert other.asd > 100 * true.asd


def test_every_law_is_judged_on_the_same_points(exact):
    for holdout in USUAL:
        scores = [row.score for row in exact.rows if row.holdout == holdout]
        assert len({(each.n_points, each.n_runs) for each in scores}) == 1
        assert len({tuple(of.run for of in each.by_run) for each in scores}) == 1
    assert exact.row("checkpoints", "p2").score.n_points == 2 * 16
    assert (exact.row("run", "p2").score.n_points, exact.row("run", "p2").score.n_runs) == (160, 16)


def test_a_law_that_is_true_predicts_ten_times_the_tokens():
    found = audit([P2Law, P2NoDeltaLaw], p2_sweep(tokens=np.geomspace(1e5, 1e7, 12)), holdouts=["tenfold"], n_replicates=0)
    true = found.row("tenfold", "p2").score
    assert (true.n_points, true.n_runs) == (16 * 6, 16)
    assert true.largest_error < 1e-5
    baselines = {row.law for row in found.rows if row.is_baseline}
    assert baselines == {"p2 +", "p2-no-delta +", *BASELINES}


def test_how_far_outside_is_told(exact):
    # Sizes 0.4, 1, 2.5 and 10 M: the largest is 4 times beyond. Rates up to 0.375, then 0.5. Tokens in steps of 60^(1/9).
    assert exact.row("size", "p2").distance == {"n_params_before": 4.0, "n_tokens": 1.0, "pruning_rate": 1.0}
    assert exact.row("rate", "p2").distance["pruning_rate"] == pytest.approx(0.5 / 0.375)
    assert exact.row("checkpoints", "p2").distance["n_tokens"] == pytest.approx(60 ** (2 / 9))
    assert exact.row("checkpoints", ALONE).distance == pytest.approx({"n_tokens": 60 ** (2 / 9)})


def test_baselines_stand_beside_the_laws_where_curves_go_on(exact):
    asked = {row.holdout for row in exact.rows if row.is_baseline}
    assert asked == {"checkpoints", "tokens"}


def test_scores_by_hand():
    # Run a: tokens 1, 2, 4 M, the last two held out. Measured 3.5, 3.0, 2.5; predicted 3.4, 3.1, 2.5; loss before 2.0.
    # Errors +0.1 and 0: relative 0.1/3 and 0, of the excess 0.1/1.0 and 0/0.5.
    # Slopes measured -0.5 and -0.25, predicted -0.3 and -0.3 nats per M: differences 0.2 and 0.05, mean 0.125, over 0.375: 1/3.
    # Run b: tokens 1, 3 M, the last held out. Measured 2.6, 2.005; predicted 2.6, 2.105: error 0.1; the excess, 0.005, is too
    # small to judge by. Slopes -0.2975 and -0.2475: 0.05.
    columns = {
        "run": np.array(["a", "a", "a", "b", "b"]),
        "n_tokens": np.array([1e6, 2e6, 4e6, 1e6, 3e6]),
        "loss": np.array([3.5, 3.0, 2.5, 2.6, 2.005]),
        "loss_before": np.full(5, 2.0),
        "n_params_before": np.full(5, 1e6),
        "pruning_rate": np.full(5, 0.5),
    }
    predicted = np.array([3.4, 3.1, 2.5, 2.6, 2.105])
    found = score(same(columns), np.array([False, True, True, False, True]), predicted)
    assert (found.n_points, found.n_runs, found.n_excess) == (3, 2, 2)
    assert found.error == pytest.approx((0.1 / 3 + 0 + 0.1 / 2.005) / 3)
    assert found.largest_error == pytest.approx(0.1 / 2.005)
    assert found.excess_error == pytest.approx(0.05)
    assert found.bias == pytest.approx(0.2 / 3)
    assert found.rmse == pytest.approx(np.sqrt(0.02 / 3))
    assert found.asd == pytest.approx((0.2 + 0.05 + 0.05) / 3)
    assert found.slope_error == pytest.approx((0.3 / 3) / ((0.5 + 0.25 + 0.2975) / 3))
    a, b = found.by_run
    assert (a.run, a.n_points, b.run, b.excess_error) == ("a", 2, "b", None)
    assert a.excess_error == pytest.approx(0.05)


def test_the_excess_is_over_the_control_where_every_point_has_one():
    columns = p2_sweep()
    table = columns | {"loss_control": columns["loss_before"] - 0.1}
    assert audit([P2Law], table, n_replicates=0, holdouts=["run"]).over == "loss_control"
    table["loss_control"][3] = np.nan
    assert audit([P2Law], table, n_replicates=0, holdouts=["run"]).over == "loss_before"


@pytest.mark.parametrize("law", [P2Law, P2NoDeltaLaw, CompressionLaw])
def test_leaving_each_run_out_at_once_is_refitting_without_it(law):
    columns = p2_sweep(noise=0.003)
    found = fit(law, columns)
    constants, lost = leave_each_run_out(found)
    assert not lost
    for number, run in enumerate(np.unique(columns["run"])):
        left = fit(law, rows(columns, columns["run"] != run))
        one = law.from_constants(dict(zip(law.bounds, constants[number], strict=True)))
        here = rows(columns, columns["run"] == run)
        np.testing.assert_allclose(one.predict(here), left.predict(here), rtol=1e-6)
        np.testing.assert_allclose(constants[number], list(left.law.constants().values()), rtol=1e-4, atol=1e-4)


def test_a_run_that_alone_holds_a_constant_is_not_judged():
    # Two sizes, the larger in one run: without that run there is one size, and nothing tells the sizes' constants apart.
    columns = p2_sweep(replace(P2, E=0.0), sizes=SIZES[:2], rates=(0.125, 0.25, 0.5))
    columns = rows(columns, (columns["n_params_before"] < 5e5) | (columns["pruning_rate"] == 0.25))
    found = audit([P2Law], columns, fixed={"p2": {"E": 0.0}}, holdouts=["run"], n_replicates=0)
    (row,), (skipped,) = found.rows, found.skipped
    assert (skipped.law, skipped.run) == ("p2", "1000000-0.25")
    assert "would be open" in skipped.reason
    assert row.score.n_runs == 3
    assert row.score.largest_error < 1e-6


def test_what_the_runs_do_not_allow_is_skipped_with_the_reason():
    found = audit([P2Law, P2AdditiveLaw], p2_sweep(sizes=SIZES[:3], rates=(0.25, 0.5)), fixed={"p2": {"E": 0.0}}, n_replicates=0)
    reasons = {(each.holdout, each.law): each.reason for each in found.skipped}
    assert "cannot be fitted to 3 model sizes" in reasons[None, "p2-additive"]
    assert set(found.fits) == {"p2"}
    assert "1 pruning rate" in reasons["rate", "p2"]  # without the higher rate there is one, which tells gamma from nothing
    assert {row.holdout for row in found.rows} == {"checkpoints", "tokens", "size", "run"}


def test_a_curve_that_bends_goes_on_as_its_last_points_say():
    # Excess 0.1 D^-0.5 up to 4, and D^-0.25 from there on, D in millions; the next run falls to its loss before.
    n_tokens = np.array([1, 2, 4, 8, 16, 32, 64], dtype=float)
    excess = np.where(n_tokens <= 4, 0.1 * n_tokens**-0.5, 0.1 * 4**-0.25 * n_tokens**-0.25)
    columns = {
        "run": np.array(["a"] * 7 + ["b"] * 3),
        "n_tokens": 1e6 * np.concatenate([n_tokens, [1, 2, 4]]),
        "loss": 2.0 + np.concatenate([excess, [0.1, 0.0, 0.0]]),
        "loss_before": np.full(10, 2.0),
        "n_params_before": np.full(10, 1e6),
        "pruning_rate": np.full(10, 0.5),
    }
    points = same(columns)
    held = np.array([*[False] * 5, True, True, False, False, True])
    predicted = BASELINES[OF_LAST_POINTS](points, held, "loss_before")
    assert predicted == pytest.approx(columns["loss"])
    assert np.any(np.abs(BASELINES[ALONE](points, held, "loss_before") - columns["loss"])[5:7] > 1e-3)
    of_loss = BASELINES[OF_LAST_POINTS](points, held, None)
    line = np.polyfit(np.log([4, 8, 16]), np.log(columns["loss"][2:5]), 1)
    assert of_loss[5] == pytest.approx(np.exp(np.polyval(line, np.log(32))))


def test_no_law_that_can_be_fitted_is_an_error():
    with pytest.raises(FitError, match="cannot be fitted to 1 model size"):
        audit([P2Law], p2_sweep(sizes=(1e6,)))
    with pytest.raises(FitError, match="No hold-out is called tomorrow"):
        audit([P2Law], p2_sweep(), holdouts=["tomorrow"])


def test_curves_with_floors_of_their_own_are_told_better_by_themselves():
    # The excess of each run is a power law, but its factor follows neither size nor rate: no joint law can know it.
    rng = np.random.default_rng(0)
    columns = p2_sweep()
    run = np.unique(columns["run"], return_inverse=True)[1]
    factor, exponent = rng.uniform(0.2, 2.0, 16)[run], rng.uniform(0.2, 0.6, 16)[run]
    columns["loss"] = columns["loss_before"] + factor * (columns["n_tokens"] / 1e6) ** -exponent
    found = audit([P2Law], columns, holdouts=["checkpoints", "rate"], n_replicates=0)
    assert found.row("checkpoints", ALONE).score.largest_error < 1e-9
    assert found.row("checkpoints", LAST).score.error > 1e-3
    (check,) = [check for check in found.checks if check.code == "baseline"]
    assert "does better than p2 (" in check.text
    assert "in 16 of 16 runs" in check.text


def test_a_curve_without_a_loss_before_is_carried_on_with_a_floor_of_its_own():
    found = audit([HoffmannLaw], hoffmann_sweep(), holdouts=["checkpoints"], n_replicates=0)
    assert found.over is None
    assert found.row("checkpoints", ALONE).score.error < 1e-5  # exponents are tried in steps of 2e-4 of themselves
    assert found.row("checkpoints", ALONE).score.excess_error is None
    # Of 6 points 4 were seen, so the fifth and sixth go on at the fourth loss, whose slope is 0: the error of slope is all of it.
    assert found.row("checkpoints", LAST).score.slope_error == pytest.approx(1.0)


def test_the_wrong_count_of_parameters_is_found_out():
    columns = hoffmann_sweep()
    n_average = columns.pop("n_params_total")
    rng = np.random.default_rng(0)
    columns |= {"n_params_average": n_average, "n_params_final": n_average * rng.uniform(0.2, 1.0, len(n_average))}
    found = audit([AverageParameterLaw, FinalParameterLaw], columns, n_replicates=0)
    for holdout in ("checkpoints", "size", "run"):
        right, wrong = (found.row(holdout, law).score.error for law in ("average-parameter", "final-parameter"))
        assert right < 1e-5 < 1e-2 < wrong


def test_predictive_intervals_hold_what_they_should():
    # Runs that each lie off the law by 5e-3 nats, points by 3e-3 more: nine in ten must lie within, over 3 studies of 16 runs.
    inside = {name: [] for name in USUAL}
    for seed in range(3):
        columns = p2_sweep(noise=0.003, seed=seed)
        run = np.unique(columns["run"], return_inverse=True)[1]
        columns["loss"] = columns["loss"] + 0.005 * np.random.default_rng(100 + seed).standard_normal(16)[run]
        for row in audit([P2Law], columns, n_replicates=100).rows:
            if row.inside is not None:
                inside[row.holdout].append(row.inside)
    for name, shares in inside.items():
        assert 0.8 < np.mean(shares) <= 1, name


def test_a_refit_that_goes_to_a_bound_is_told():
    columns = p2_sweep(noise=0.03, seed=1)
    found = audit([P2Law], columns, holdouts=["size"], n_replicates=0)
    (row,) = found.rows
    assert isinstance(row, AuditRow)
    for check in row.doubts:
        assert any(f"without the held-out size: {check.text}" in each.text for each in found.checks)


def test_the_documentation_lists_every_hold_out_and_every_check():
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (.+) \|$", page, re.MULTILINE)
    assert [name for name, _ in rows] == [*HOLDOUTS, *sorted(CODES)]
    assert all(dict(rows)[code] == meaning for code, meaning in CODES.items())


def test_distance_by_hand():
    fitted = {"n_tokens": (1e6, 1e7), "sparsity": (0.0, 0.5), "loss_before": (2.0, 3.0)}
    asked = {"n_tokens": np.array([5e5, 2e6, 4e7]), "sparsity": np.array([0.0, 0.502, 0.75]), "loss_before": np.full(3, 9.0)}
    found = distance(fitted, asked)
    np.testing.assert_allclose(found["n_tokens"], [2.0, 1.0, 4.0])
    np.testing.assert_allclose(found["sparsity"], [1.0, 1.0, 1.5])
    assert set(found) == {"n_tokens", "sparsity"}


def test_far_says_by_how_much_and_where():
    (tokens,) = far({"n_tokens": (1e6, 6e7), "pruning_rate": (0.1, 0.5)}, {"n_tokens": 6e8, "pruning_rate": 0.3})
    assert (tokens.code, tokens.text) == ("far", "n_tokens of 600M is 10 times above the most that was fitted (1M to 60M).")
    (rate,) = far({"pruning_rate": (0.2, 0.5)}, {"pruning_rate": 0.1})
    assert rate.text == "pruning_rate of 0.1 is 2 times below the least that was fitted (0.2 to 0.5)."


def test_two_hundred_and_forty_runs_are_left_out_in_far_less_than_a_second():
    rng = np.random.default_rng(0)
    columns = {"n_params_total": 10 ** rng.uniform(8, 10, 240), "n_tokens": 10 ** rng.uniform(9, 11, 240)}
    found = fit(HoffmannLaw, finished(HOFFMANN, columns, [f"{i:03}" for i in range(240)], 0.01, 0))
    start = time.perf_counter()
    constants, lost = leave_each_run_out(found)
    assert time.perf_counter() - start < 1  # some 0.1 s
    assert constants.shape == (240, 5)
    assert not lost
