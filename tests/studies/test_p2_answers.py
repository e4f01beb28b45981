"""What the P2 study says of curves, on runs made from a law that is known, and of those that it ships."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prunescale.laws import TokensPerParameterLaw
from prunescale.runs import Point, read_runs
from prunescale.sweep import Study
from studies.p2.answers import METHODS, OURS, asked, control_of, foretold, refitted, registered, to_come
from studies.p2.decisions import LAST, MIN_TOKENS, from_few_runs, from_few_tokens, held_out_decisions, of_another, worth
from studies.p2.planned import is_of
from studies.p2.trends import curves, over_rates, over_sizes, slope
from tests.conftest import RUN

FOLDER = Path(__file__).parents[2] / "studies" / "p2"
LAW = TokensPerParameterLaw(A=0.3, gamma=1.1, beta=0.3)
TOKENS = np.unique(np.geomspace(1_114_112, LAST, 16).round()).astype(int)


@pytest.fixture(scope="module")
def runs():
    """Four sizes, each with a control whose loss falls, and four rates of two methods that cost the same."""
    found = []
    for size in (3.5e6, 6e6, 14e6, 40e6):
        for method, rate in [(None, 0.0)] + [
            (m, r) for m in ("block-influence", "width-activation") for r in (0.125, 0.25, 0.375, 0.5)
        ]:
            control = 3.0 - 0.02 * np.log(TOKENS / 1e6)
            excess = 0.0
            if rate:
                excess = LAW.loss(n_params_before=size, n_tokens=TOKENS, pruning_rate=rate, loss_control=0.0)
            found.append(
                replace(
                    RUN,
                    id=f"{method}-{size:.0f}-{rate}",
                    name=f"{size / 1e6:g}M {method} {rate}",
                    recipe={"base": f"m{size:.0f}", "prune": {"rate": rate}, "train": {}},
                    base=f"m{size:.0f}",
                    pruning_method=method,
                    pruning_rate=rate,
                    n_params_before=int(size),
                    loss_before=3.0,
                    points=tuple(
                        Point(int(n), float(loss), 5e-4, "constant", 1.0)
                        for n, loss in zip(TOKENS, control + excess, strict=True)
                    ),
                )
            )
    return found


def test_curves_are_over_the_control(runs):
    found = [curve for curve in curves(runs) if (curve.method, curve.rate) == ("width", 0.25)]
    assert [curve.size for curve in found] == [3_500_000, 6_000_000, 14_000_000, 40_000_000]
    for curve in found:
        assert curve.at(2e7) == pytest.approx(0.3 * (1 / 3) ** 1.1 * (curve.size / 2e7) ** 0.3, rel=1e-6)
        assert curve.exponent(2e6, 5e7) == pytest.approx(0.3)
        assert curve.tokens_to(curve.at(1e7)) == pytest.approx(1e7, rel=1e-6)
    assert found[0].tokens_to(1e-6) is None


def test_slopes_are_those_of_the_law(runs):
    some = [curve for curve in curves(runs) if (curve.method, curve.rate) == ("depth", 0.25)]
    found = over_sizes(some, "excess", LAST)
    assert (found.value, found.r2, found.n) == (pytest.approx(0.3), pytest.approx(1), 4)
    low, high = found.interval
    assert low == pytest.approx(0.3)
    assert high == pytest.approx(0.3)
    assert over_sizes(some, "tokens", 0.1).value == pytest.approx(1.0)  # twice the model, twice the tokens
    by_rate = over_rates([curve for curve in curves(runs) if (curve.method, curve.size) == ("depth", 14_000_000)], LAST)
    assert 1.3 < by_rate.value < 1.6  # odds are no power of the rate
    assert by_rate.r2 < 0.9999
    assert slope([1.0], [1.0]) is None


def test_it_decides_rightly_from_little_where_its_law_holds(runs):
    question = asked(runs, "width")
    some = [found for _, found in from_few_tokens(question)]
    some += [found for _, _, found in from_few_runs(question)]
    some += [found for _, found in held_out_decisions(question)]
    assert len(some) == 5 + 2 * 2 + 3
    for found in some:
        by_law = {each.law: each for each in found}
        assert by_law["tokens-per-parameter"].error < 1e-5
        assert (by_law["tokens-per-parameter"].factor or 1) == pytest.approx(1, abs=0.02)
        assert all(each.error > 1e-3 for law, each in by_law.items() if law == "p2")  # L0 does not fall
    assert of_another(asked(runs, "depth"), question)[-1].error < 1e-5


def test_tokens_are_worth_spending_until_a_doubling_gains_too_little():
    # 0.03 nats a doubling up to 8 MIN_TOKENS and nothing beyond: from 8 MIN_TOKENS / 2^(2/3) on one gains less than 0.02.
    assert worth(lambda n: 0.03 * np.log2(8 * MIN_TOKENS / n).clip(0)) == pytest.approx(8 / 2 ** (2 / 3) * MIN_TOKENS, rel=0.02)
    assert worth(lambda n: 0 * n) == MIN_TOKENS
    assert worth(lambda n: -n) == LAST / 2


@pytest.mark.parametrize(("store", "least"), [("p2", 60), ("p2-smollm2", 8), ("p2-variants", 100)])
def test_all_runs_that_are_shipped_are_of_the_study_and_whole(store, least):
    planned = {run.recipe.hash for file in FOLDER.glob("*.toml") for run in Study.from_toml(file).runs}
    found = read_runs(f"embedded:{store}")
    assert len(found) >= least
    assert {run.recipe_hash for run in found} <= planned
    assert len({(run.recipe_hash, run.base, run.loss_before or run.loss) for run in found}) == len(found)
    for run in found:
        assert run.n_tokens == run.recipe["train"]["tokens"]
        assert not Path(run.base).is_absolute()
        assert "H100" in run.device or "H200" in run.device


def test_the_family_has_each_curve_once_from_one_training_of_its_base():
    family = [run for run in read_runs("embedded:p2") if run.kind == "post-training"]
    assert len({run.recipe_hash for run in family}) == len(family) >= 55
    for recipe in {run.recipe["base"] for run in family}:
        assert len({(run.base, run.loss_before) for run in family if run.recipe["base"] == recipe}) == 1
    assert all(control_of(run, family) for run in family)


@pytest.mark.parametrize("law", OURS)
@pytest.mark.parametrize("method", ["depth", "width"])
def test_what_was_foretold_was_foretold_before(method, law):
    """Every run of the curves that came after the fit's, of whichever training of its base."""
    runs = [*read_runs("embedded:p2"), *read_runs("embedded:p2-variants")]
    found = foretold(runs, method, law)
    known = set(registered(law, method).points.columns["run"])
    newest = max(run.created for run in runs if run.id in known)
    of_method = [run for run in runs if is_of("curves", run) and run.pruning_method == METHODS[method]]
    later = [run for run in of_method if run.created > newest and control_of(run, runs)]
    assert not known & {run.id for run in later}
    assert [(each.name, each.base) for each in found] == sorted((run.name, Path(run.base).name) for run in later)
    assert len(found) >= {"tokens-per-parameter": 14, "control-floor": 6}[law]
    assert all(each.interval[0] < each.predicted < each.interval[1] for each in found)


def test_a_rival_is_fitted_to_the_same_runs():
    ours, rival = registered("control-floor", "width"), refitted("control-floor", "width", "control-floor")
    assert set(rival.points.columns["run"]) == set(ours.points.columns["run"])
    assert len(rival.points.loss) == len(ours.points.loss)
    assert rival.law.constants() == pytest.approx(ours.law.constants(), rel=0.1)  # weights were each point's own excess then


@pytest.mark.parametrize("law", OURS)
def test_runs_to_come_are_foretold_until_they_are_there(law):
    large = [run for run in Study.from_toml(FOLDER / "curves-large.toml").runs if run.recipe.prune]
    found = to_come([], "width", law)
    assert [name for name, _, _ in found] == ["d960, width 0.5", "d960, width 0.25"]
    for _, predicted, (low, high) in found:
        assert 0 < low < predicted < high < 2 * low
    half, quarter = (predicted for _, predicted, _ in found)
    assert half / quarter == pytest.approx(
        3 ** {"tokens-per-parameter": 1.07, "control-floor": 1.06}[law], rel=0.01
    )  # odds of 1 and 1/3
    assert to_come([replace(RUN, recipe_hash=run.recipe.hash) for run in large], "width", law) == []
