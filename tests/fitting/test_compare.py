from dataclasses import replace

import numpy as np
import pytest

from prunescale.errors import FitError
from prunescale.fitting import audit, compare
from prunescale.fitting.paired import behind, pooled
from prunescale.laws import (
    AverageParameterLaw,
    Bound,
    HoffmannLaw,
    P2AdditiveLaw,
    P2BetaRateLaw,
    P2Law,
    P2LogKeptLaw,
    P2NoDeltaLaw,
    P2OddsLaw,
    own_law,
)

from .sweeps import P2, SIZES, hoffmann_sweep, p2_sweep

ODDS = P2OddsLaw(**P2.constants())
NAN = np.nan


@pytest.mark.parametrize(("truth", "name"), [(P2, "p2"), (ODDS, "p2-odds")])
def test_the_law_that_made_the_runs_comes_first(truth, name):
    found = compare(audit([P2Law, P2OddsLaw, P2NoDeltaLaw], p2_sweep(truth, noise=0.002), n_replicates=0))
    first, *others = found.ranks
    assert (first.law, first.verdict, first.behind) == (name, "best", 0.0)
    for rank in others:
        assert rank.verdict == "worse"
        assert 0 < rank.interval[0] <= rank.behind <= rank.interval[1]
    assert found.measure == "excess"
    assert not found.checks


def test_laws_that_coincide_are_undecided():
    # Without noise both are exact, and differ by the search's last digits only.
    found = compare(audit([P2Law, P2BetaRateLaw], p2_sweep(), n_replicates=0))
    assert {rank.verdict for rank in found.ranks} == {"undecided"}
    assert not found.checks  # they predict the same beyond the runs too


def shallow(n_params_total, n_tokens, E, A, B):
    return E + A * n_params_total**-0.35 + B * n_tokens**-0.25


def steep(n_params_total, n_tokens, E, A, B):
    return E + A * n_params_total**-0.35 + B * n_tokens**-0.5


def test_laws_that_part_beyond_the_runs_are_named_with_how_far():
    # The truth's exponent, 0.37, lies between theirs: equally wrong where there are runs, and further on more and more different.
    bounds = {"E": (0.0, 5.0), "A": Bound(1, 1e6, (10, 1e4), log=True), "B": Bound(1, 1e7, (10, 1e5), log=True)}
    laws = [own_law(shallow, bounds), own_law(steep, bounds)]
    found = compare(audit(laws, hoffmann_sweep(noise=0.01), n_replicates=0, holdouts=["run"]))
    first, second = found.ranks
    assert {first.verdict, second.verdict} == {"undecided"}
    (check,) = found.checks
    assert check.code == "undecided"
    assert check.text.startswith("shallow and steep are not told apart by held-out runs")
    assert "at n_params_total of 300M, n_tokens of 1T they predict" in check.text
    assert found.edge == {"n_params_total": 3e8, "n_tokens": 1e12}
    assert abs(first.at_edge - second.at_edge) > 0.1


def test_r2_does_not_rank():
    # Runs of the P2 law with noise: an exponent that may depend on the rate fits the noise too, and predicts worse.
    found = compare(audit([P2BetaRateLaw, P2Law], p2_sweep(noise=0.003), n_replicates=0, holdouts=["run", "rate"]))
    true, richer = found.ranks
    assert (true.law, richer.law) == ("p2", "p2-beta-rate")
    assert richer.r2_excess > true.r2_excess
    assert richer.rmse < true.rmse
    assert richer.n_constants == true.n_constants + 1


def test_a_rank_is_the_mean_of_its_parts():
    found = compare(audit([P2Law, P2LogKeptLaw], p2_sweep(noise=0.002), n_replicates=0, holdouts=["run", "rate"]))
    assert set(found.holdouts) == {"run", "rate"}
    for rank in found.ranks:
        assert rank.error == pytest.approx((rank.by_holdout["run"] + rank.by_holdout["rate"]) / 2)
        assert rank.behind == pytest.approx(rank.error - found.ranks[0].error)
        assert rank.n_constants == 7


def test_only_hold_outs_that_every_law_allows_count():
    audited = audit([P2Law, P2AdditiveLaw], p2_sweep(), n_replicates=0, holdouts=["size", "run"])
    assert audited.row("size", "p2-additive") is None  # three sizes are left, and it has four constants of the size
    assert "size" not in compare(audited).holdouts
    with pytest.raises(FitError, match="size is not possible for all"):
        compare(audited, holdouts=["size"])


def test_without_a_loss_before_the_loss_is_compared():
    columns = hoffmann_sweep()
    columns["n_params_average"] = columns["n_params_total"]
    found = compare(audit([HoffmannLaw, AverageParameterLaw], columns, n_replicates=0, holdouts=["run"]))
    assert found.measure == "loss"
    assert {rank.verdict for rank in found.ranks} == {"undecided"}
    assert {rank.r2_excess for rank in found.ranks} == {None}
    with pytest.raises(FitError, match="have no loss before pruning"):
        compare(audit([HoffmannLaw, AverageParameterLaw], columns, n_replicates=0, holdouts=["run"]), measure="excess")


def test_one_law_is_nothing_to_compare():
    with pytest.raises(FitError, match="Two laws at least"):
        compare(audit([P2Law], p2_sweep(replace(P2, E=0.0), sizes=SIZES[:3]), n_replicates=0, holdouts=["run"]))


def test_pooled_errors_by_hand():
    # Hold-out 1: runs 1 and 2, law A 0.1 and 0.3, law B 0.2 and 0.2. Hold-out 2: run 3, A 0.6, B 0.4.
    # A: mean of 0.2 and 0.6, B of 0.2 and 0.4. With weights 3, 1, 1: A (0.15 + 0.6) / 2, B (0.2 + 0.4) / 2.
    errors = np.array([[[0.1, 0.3, NAN], [0.2, 0.2, NAN]], [[NAN, NAN, 0.6], [NAN, NAN, 0.4]]])
    np.testing.assert_allclose(pooled(errors, np.array([[1, 1, 1], [3, 1, 1]])), [[0.4, 0.3], [0.375, 0.3]])


def test_an_interval_covers_as_often_as_it_says():
    # Differences of mean 0.1 and deviation 0.3 over few runs: the interval holds 0.1 in nine of ten studies.
    for n_runs in (5, 16):
        rng, n_covered = np.random.default_rng(n_runs), 0
        for _ in range(300):
            first = rng.uniform(1.0, 2.0, n_runs)
            second = first + 0.1 + 0.3 * rng.standard_normal(n_runs)
            errors = np.stack([first, second])[None]
            if second.mean() < first.mean():
                _, low, high = behind(errors, n=200, seed=0, level=0.9)
                n_covered += low[0] <= -0.1 <= high[0]
            else:
                _, low, high = behind(errors, n=200, seed=0, level=0.9)
                n_covered += low[1] <= 0.1 <= high[1]
        assert 0.86 < n_covered / 300 < 0.94  # two standard errors of 0.017, and the bootstrap's own


def test_one_run_says_nothing_of_others():
    _, low, high = behind(np.array([[[0.1], [0.2]]]), n=50, seed=0, level=0.9)
    assert (low[1], high[1]) == (-np.inf, np.inf)
    assert (low[0], high[0]) == (0.0, 0.0)
