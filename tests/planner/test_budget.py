from dataclasses import replace

import numpy as np
import pytest

from prunescale.errors import PrunescaleError
from prunescale.fitting import Check, FitStatus, Replicates, bootstrap, fit
from prunescale.laws import P2Law
from prunescale.planner import BudgetStatus, forecast, loss_at, plan, tokens_worth_doubling, tokens_worth_hour

LAW = P2Law(gamma=-1.6, delta=0.1, N_C=0.3, alpha=0.6, D_C=2.5, beta=0.45, E=0.15)
MODEL = {"n_params_before": 2.5e6, "pruning_rate": 0.25, "loss_before": 3.4}


@pytest.fixture(scope="module")
def fitted():
    """Sizes 1, 2.5 and 5 M, rates 0.125 to 0.5, 1 to 50 M tokens."""
    sizes, rates, tokens = [1e6, 2.5e6, 5e6], [0.125, 0.25, 0.5], np.geomspace(1e6, 5e7, 8)
    size, rate, token = (a.ravel() for a in np.meshgrid(sizes, rates, tokens, indexing="ij"))
    columns = {"n_params_before": size, "pruning_rate": rate, "n_tokens": token, "loss_before": np.full(len(size), 3.4)}
    runs = np.array([f"{n:.0f}-{r}" for n, r in zip(size, rate, strict=True)])
    return fit(P2Law, columns | {"run": runs, "loss": LAW.predict(columns)}, phases=None)


def studied(fitted, laws):
    """The fit with these laws as its studies that might have been."""
    return replace(fitted, replicates=Replicates(np.array([list(law.constants().values()) for law in laws]), "by hand"))


def test_a_plan_within_what_was_fitted(fitted):
    budget = plan(fitted, MODEL, 0.02)
    assert budget.status is BudgetStatus.FOUND
    assert budget.step == "doubling"
    assert budget.tokens == pytest.approx(tokens_worth_doubling(LAW, MODEL, 0.02), rel=1e-4)  # the fit's own 1e-5
    assert budget.loss == pytest.approx(loss_at(LAW, budget.tokens, **MODEL), rel=1e-6)
    assert budget.gain == pytest.approx(0.02, rel=1e-9)
    assert budget.extrapolation == {"n_params_before": 1.0, "pruning_rate": 1.0, "n_tokens": 1.0}
    assert budget.hours is None
    assert budget.tokens_interval is None
    assert budget.tokens_profile is None


def test_a_plan_by_the_hour_says_how_many(fitted):
    budget = plan(fitted, MODEL, 0.02, tokens_per_second=1000.0)
    assert budget.step == "GPU-hour"
    assert budget.tokens == pytest.approx(tokens_worth_hour(LAW, MODEL, 0.02, 1000.0), rel=1e-4)
    assert budget.hours == pytest.approx(budget.tokens / 3.6e6, rel=1e-12)


def test_intervals_are_quantiles_over_the_studies(fitted):
    # 21 studies: the 5 % and 95 % quantiles by nearest rank are the second from below and from above.
    laws = [replace(LAW, D_C=d) for d in np.linspace(2.0, 3.5, 21)]
    budget = plan(studied(fitted, laws), MODEL, 0.02)
    answers = [float(tokens_worth_doubling(law, MODEL, 0.02)) for law in laws]
    assert budget.tokens_interval == pytest.approx((answers[1], answers[19]), rel=1e-9)
    losses = [float(loss_at(laws[i], budget.tokens, **MODEL)) for i in (1, 19)]
    assert budget.loss_interval == pytest.approx(losses, rel=1e-12)
    # (3.425 / 2.075)^(1 / 0.45) = 3 times between the ends: worth a warning.
    (wide,) = [check for check in budget.checks if check.code == "wide"]
    assert wide.text.startswith("The 90% interval of the tokens worth their cost is wide: ")


def test_a_profile_holds_the_answer_and_the_bootstraps_interval_roughly(fitted):
    noise = 1e-3 * np.random.default_rng(0).standard_normal(fitted.n_points)
    columns = fitted.points.columns
    found = bootstrap(fit(P2Law, columns | {"loss": columns["loss"] + noise}, phases=None), n=300)
    budget = plan(found, MODEL, 0.02, profiled=True)
    low, high = budget.tokens_profile
    assert low < budget.tokens < high
    narrow, wide = budget.tokens_interval
    assert np.log(high / low) / np.log(wide / narrow) == pytest.approx(1, abs=0.6)


def test_extrapolation_is_counted_from_the_nearer_end(fitted):
    # 5 M is the largest fitted size: 13 M is 2.6 times beyond. 0.125 is the lowest rate: 0.1 is 1.25 times below.
    budget = plan(fitted, {"n_params_before": 1.3e7, "pruning_rate": 0.1, "loss_before": 9.0}, 0.002)
    assert budget.extrapolation["n_params_before"] == pytest.approx(2.6)
    assert budget.extrapolation["pruning_rate"] == pytest.approx(1.25)
    assert budget.extrapolation["n_tokens"] == pytest.approx(max(1.0, budget.tokens / 5e7))
    assert "loss_before" not in budget.extrapolation
    far = [check.text for check in budget.checks if check.code == "far"]
    assert "n_params_before of 13M is 2.6 times above the most that was fitted (1M to 5M)." in far
    assert "pruning_rate of 0.1 is 1.25 times below the least that was fitted (0.125 to 0.5)." in far


def test_a_gain_that_no_step_brings(fitted):
    budget = plan(fitted, MODEL, 5.0)
    assert budget.status is BudgetStatus.BELOW_FROM_START
    assert budget.tokens == fitted.ranges["n_tokens"][0]
    assert budget.gain < 5.0


def test_a_gain_that_every_step_brings(fitted):
    budget = plan(replace(fitted, law=replace(LAW, beta=0.001)), MODEL, 1e-6)
    assert budget.status is BudgetStatus.NEVER_BELOW
    assert budget.tokens == pytest.approx(5e13)
    assert budget.gain > 1e-6


def test_doubts_about_the_fit_come_with_the_plan(fitted):
    (unknown,) = plan(fitted, MODEL, 0.02).checks
    assert unknown.text == "The fit holds no refits to studies that might have been, so the interval of this answer is not known."
    doubtful = replace(studied(fitted, [LAW]), status=FitStatus.AT_BOUND)
    assert plan(doubtful, MODEL, 0.02).checks == (Check("at-bound", FitStatus.AT_BOUND.value),)


def test_a_forecast_is_the_loss_with_its_interval(fitted):
    laws = [replace(LAW, E=e) for e in (0.1, 0.2)]
    found = forecast(studied(fitted, laws), MODEL, 3e8)
    assert found.loss == pytest.approx(loss_at(LAW, 3e8, **MODEL), rel=1e-6)
    # E is multiplied by rho^1.6 N0^-0.1, so the ends lie 0.1 times that apart.
    assert found.loss_interval[1] - found.loss_interval[0] == pytest.approx(0.1 * 0.25**1.6 * 2.5**-0.1, rel=1e-9)
    assert found.extrapolation["n_tokens"] == pytest.approx(6.0)
    assert found.checks == (Check("far", "n_tokens of 300M is 6 times above the most that was fitted (1M to 50M)."),)


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ({"n_params_before": 1e6}, {"min_gain": 0.01}, "pruning_rate, loss_before is missing"),
        (MODEL | {"pruning_rate": 1.5}, {"min_gain": 0.01}, "pruning_rate must be above 0 and below 1, got 1.5"),
        (MODEL | {"n_params_before": -1.0}, {"min_gain": 0.01}, "n_params_before must be above 0 and finite, got -1"),
        (MODEL | {"loss_before": float("nan")}, {"min_gain": 0.01}, "loss_before must be above 0 and finite, got nan"),
        (MODEL, {"min_gain": 0.0}, "The least gain must be above 0 and finite, got 0"),
        (MODEL, {"min_gain": 0.01, "tokens_per_second": 0.0}, "The speed in tokens per second must be above 0 and finite, got 0"),
    ],
)
def test_an_impossible_question_is_refused_in_one_line(fitted, inputs, options, message):
    with pytest.raises(PrunescaleError, match=message):
        plan(fitted, inputs, **options)


def test_planning_needs_no_scipy():
    import subprocess
    import sys

    code = "import sys, prunescale.planner; sys.exit(any(name.split('.')[0] == 'scipy' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_answer_below_what_was_seen_has_a_profile_of_its_own():
    """It had no width at all once: at the end of a search an answer does not move with the constants."""
    sizes, rates, tokens = [1e6, 2.5e6, 5e6], [0.125, 0.25, 0.5], np.geomspace(1e6, 5e7, 8)
    size, rate, token = (a.ravel() for a in np.meshgrid(sizes, rates, tokens, indexing="ij"))
    columns = {"n_params_before": size, "pruning_rate": rate, "n_tokens": token, "loss_before": np.full(len(size), 3.4)}
    columns["run"] = np.array([f"{n:.0f}-{r}" for n, r in zip(size, rate, strict=True)])
    loss = LAW.predict(columns) + 0.002 * np.random.default_rng(0).standard_normal(len(size))
    found = fit(P2Law, columns | {"loss": loss}, phases=None)
    min_gain = 1.3 * float(loss_at(LAW, 1e6, **MODEL) - loss_at(LAW, 2e6, **MODEL))
    budget = plan(found, MODEL, min_gain, profiled=True)
    assert budget.status is BudgetStatus.BELOW_FROM_START
    low, high = budget.tokens_profile
    truth = float(tokens_worth_doubling(LAW, MODEL, min_gain))
    assert (low, low <= truth <= high < 1e6) == (0, True)


def test_a_perplexity_in_the_place_of_a_loss_is_doubted(fitted):
    codes = [check.text for check in plan(fitted, MODEL | {"loss_before": 24.0}, 0.02).checks if check.code == "far"]
    assert codes == [
        "loss_before of 24 is 7.1 times the largest that was fitted. It is to be in nats per token, not a perplexity."
    ]
