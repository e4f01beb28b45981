import numpy as np
import pytest

from prunescale.errors import FitError
from prunescale.fitting import HOLDOUTS
from prunescale.fitting.same_points import allowed, same_points
from prunescale.laws import LAWS, CompressionLaw, HoffmannLaw, P2ControlLaw, P2Law

from .sweeps import hoffmann_sweep, p2_sweep


def points(columns, *laws, min_tokens=0.0, phases=("constant",)):
    return same_points(laws or [P2Law], columns, min_tokens=min_tokens, phases=phases, weighting="runs")


def held(name, given):
    (mask,) = HOLDOUTS[name](given)
    return mask


def one_run(n_points):
    return points(p2_sweep(sizes=(1e6,), rates=(0.5,), tokens=np.linspace(1e6, 1e7, n_points)))


@pytest.mark.parametrize(("n_points", "n_held"), [(2, 1), (4, 1), (5, 1), (8, 2), (10, 2), (35, 7)])
def test_the_last_fifth_of_the_checkpoints(n_points, n_held):
    assert held("checkpoints", one_run(n_points)).tolist() == [False] * (n_points - n_held) + [True] * n_held


def test_tokens_beyond_80_percent_of_the_last():
    # 1 to 10 M: 8 M is 80 % and stays, 9 M and 10 M are beyond.
    assert np.flatnonzero(held("tokens", one_run(10))).tolist() == [8, 9]


def test_ten_times_the_tokens():
    given = points(p2_sweep(sizes=(1e6,), rates=(0.5,), tokens=[1e5, 5e5, 1e6, 1.1e6, 1e7]))
    assert np.flatnonzero(held("tenfold", given)).tolist() == [3, 4]


def test_size_rate_and_both():
    given = points(p2_sweep(sizes=(1e6, 1e7), rates=(0.25, 0.5), tokens=[1e6]))  # sorted: 1e6 0.25, 1e6 0.5, 1e7 0.25, 1e7 0.5
    np.testing.assert_array_equal(given.columns["run"], sorted(given.columns["run"]))
    size, rate = given.columns["n_params_before"], given.columns["pruning_rate"]
    np.testing.assert_array_equal(held("size", given), size == 1e7)
    np.testing.assert_array_equal(held("rate", given), rate == 0.5)
    np.testing.assert_array_equal(held("size-and-rate", given), (size == 1e7) | (rate == 0.5))


def test_rates_that_blocks_round_differently_are_one_rate():
    given = points(p2_sweep(sizes=(1e6,), rates=(0.25, 0.49, 0.5), tokens=[1e6]))
    assert given.columns["pruning_rate"][held("rate", given)].tolist() == [0.49, 0.5]


def test_each_run_in_turn():
    given = points(p2_sweep(sizes=(1e6, 1e7), rates=(0.25,), tokens=[1e6, 2e6]))
    np.testing.assert_array_equal(HOLDOUTS["run"](given), [[False, False, True, True], [True, True, False, False]][::-1])


@pytest.mark.parametrize(
    ("name", "columns", "words"),
    [
        ("checkpoints", p2_sweep(tokens=[1e6]), "more than one point"),
        ("tokens", p2_sweep(tokens=[1e6]), "both sides"),
        ("tokens", p2_sweep(tokens=[1e6, 1.1e6]), "both sides"),
        ("tenfold", p2_sweep(tokens=[1e6, 9e6]), "both sides of a tenth"),
        ("size", p2_sweep(sizes=(1e6,)), "one model size"),
        ("rate", p2_sweep(rates=(0.5,)), "one pruning rate"),
        ("rate", hoffmann_sweep(), "one pruning rate or none"),
        ("size-and-rate", p2_sweep(sizes=(1e6,)), "one model size"),
        ("run", p2_sweep(sizes=(1e6,), rates=(0.5,)), "one run only"),
    ],
)
def test_what_the_runs_do_not_allow_is_refused_with_the_reason(name, columns, words):
    law = P2Law if "n_params_before" in columns else HoffmannLaw
    with pytest.raises(FitError, match=words):
        HOLDOUTS[name](points(columns, law))


def test_points_are_those_that_every_law_can_use():
    columns = p2_sweep(sizes=(1e6,), rates=(0.25, 0.5), tokens=[1e3, 1e6, 2e6, 3e6])
    columns["n_tokens"][columns["n_tokens"] == 1e3] = 0.0
    columns["n_params_total"] = columns["n_params_before"] * 2
    columns["n_params_total"][1] = np.nan
    columns["phase"][-1] = "decay"
    given = points(columns, P2Law, HoffmannLaw, min_tokens=1.5e6)
    assert dict(given.left_out) == {"learning-rate phase not constant": 1, "fewer than 1,500,000 tokens": 4}
    assert len(given.loss) == 3
    assert dict(points(columns, P2Law, HoffmannLaw).left_out)["no usable n_params_total"] == 1


def test_points_never_hold_what_has_no_tokens():
    columns = p2_sweep(tokens=[1e6, 2e6])
    columns["n_tokens"][:2] = 0.0
    assert points(columns, CompressionLaw).columns["n_tokens"].min() == 1e6


def test_points_that_no_law_can_use():
    columns = p2_sweep() | {"loss_control": np.full(160, np.nan)}
    with pytest.raises(FitError, match=r"No point can be used by p2 and p2-control \(160: no usable loss_control\)"):
        points(columns, P2Law, P2ControlLaw)
    with pytest.raises(FitError, match="no n_params_total"):
        points(p2_sweep(), HoffmannLaw)


def test_laws_that_a_table_allows():
    columns = p2_sweep() | {"loss_control": np.full(160, np.nan), "n_params_total": np.full(160, 1e6)}
    columns["loss_control"][:10] = 3.0
    laws, reasons = allowed(list(LAWS.values()), columns, min_tokens=0, phases=None)
    assert [law.name for law in laws] == [
        "p2",
        "p2-no-delta",
        "p2-additive",
        "p2-odds",
        "p2-log-kept",
        "p2-beta-rate",
        "compression",
    ]
    assert reasons["p2-control"] == "only 10 of 160 points have loss_control"
    assert reasons["frantar"] == "no point has n_params_nonzero and sparsity"
    assert reasons["hoffmann"] == "pruning_rate, which it does not read, differs between these runs"
    assert set(reasons) | {law.name for law in laws} == set(LAWS)
