"""What a fit says about itself."""

from dataclasses import replace

import numpy as np
import pytest

from prunescale.errors import FitError
from prunescale.fitting import CODES, FitStatus, fit
from prunescale.fitting.conclude import _status
from prunescale.fitting.precision import Precision
from prunescale.fitting.solve import Optimum
from prunescale.laws import HoffmannLaw, P2Law

from .sweeps import P2, SIZES, hoffmann_sweep, p2_sweep, rows


def texts(found, code):
    return [check.text for check in found.checks if check.code == code]


def test_a_constant_that_wants_beyond_its_bound_is_put_on_it_and_named():
    columns = p2_sweep()
    # Below the largest E that the bounds allow nothing would show; so draw from one below zero, which they don't.
    columns["loss"] = replace(P2, E=-0.1).predict(columns)
    found = fit(P2Law, columns)
    assert found.status is FitStatus.AT_BOUND
    assert found.law.E == 0.0
    assert found.standard_errors["E"] is None
    assert "E ended at its lower bound, 0." in texts(found, "at-bound")
    assert found.at_bound == ("E",)


def test_a_term_that_the_points_do_not_want_vanishes():
    found = fit(P2Law, p2_sweep(replace(P2, N_C=0.0, E=0.0)), fixed={"E": 0.0})
    assert found.law.N_C == 0.0
    assert texts(found, "at-bound") == ["N_C ended at 0: the points want its term to vanish."]
    assert texts(found, "void") == ["alpha has no effect: the term that it belongs to vanished."]
    assert found.law.alpha == 0.0  # one of its values, since all are the same
    assert found.law.beta == pytest.approx(P2.beta, abs=1e-5)


def test_constants_that_only_act_together_are_refused_with_what_would_help():
    # With alpha fixed at 0 the floor is N_C + E: any split of the sum predicts the same, whatever the runs.
    with pytest.raises(FitError) as error:
        fit(P2Law, p2_sweep(noise=1e-3), fixed={"alpha": 0.0})
    assert str(error.value) == (
        "The P2 law cannot be fitted to runs like these: 1 of N_C, E is not identified; add runs unlike them."
    )


def test_a_constant_without_effect_is_refused():
    with pytest.raises(FitError, match="cannot be fitted to runs like these: alpha is not identified"):
        fit(P2Law, p2_sweep(noise=1e-3), fixed={"N_C": 0.0})


def test_constants_hardly_told_apart_are_named():
    # Rates that differ by a thousandth: gamma can be told from the factors that it goes with in principle, not in practice.
    found = fit(P2Law, p2_sweep(rates=(0.5, 0.5005), noise=1e-6))
    assert any(text.startswith("The points determine gamma and") for text in texts(found, "weak"))


def test_flat_directions_and_lonely_optima_have_their_own_status():
    def status(share=1.0, at_bound=(), weak=()):
        return _status(Optimum(np.zeros(2), 1.0, at_bound, (), share), Precision({}, weak, (), None, True))

    assert status() is FitStatus.CONVERGED
    assert status(weak=((("N_C", "E"), 1e-9),)) is FitStatus.NOT_IDENTIFIED
    assert status(weak=((("N_C", "E"), 1e-3),)) is FitStatus.CONVERGED
    assert status(at_bound=("E",)) is FitStatus.AT_BOUND
    assert status(share=1 / 32, at_bound=("E",)) is FitStatus.STARTS_DISAGREE


@pytest.mark.parametrize("status", FitStatus)
def test_a_status_says_what_happened_in_sentences(status):
    assert status.value[0].isupper()
    assert status.value.endswith(".")


def test_what_was_left_out_is_counted_and_does_not_matter():
    columns = p2_sweep(noise=1e-3)
    columns["n_tokens"] = np.concatenate([columns["n_tokens"], [0.0, 5e5, 3e6, 2e6]])
    columns["pruning_rate"] = np.concatenate([columns["pruning_rate"], [0.25, 0.25, 0.25, 0.0]])
    columns["phase"] = np.concatenate([columns["phase"], ["before", "constant", "decay", "constant"]])
    for name in ("run", "n_params_before", "loss_before", "loss"):
        columns[name] = np.concatenate([columns[name], columns[name][:4]])
    found = fit(P2Law, columns, min_tokens=1e6 * (1 - 1e-9))
    assert found.points.left_out == {
        "learning-rate phase not constant": 2,
        "pruning_rate of 0": 1,
        "fewer than 1,000,000 tokens": 1,
    }
    clean = fit(P2Law, rows(columns, slice(0, 160)))
    assert found.law == clean.law
    assert found.ranges == clean.ranges
    assert len(texts(found, "left-out")) == 3


def test_all_phases_are_used_when_none_is_named():
    columns = p2_sweep()
    columns["phase"][::2] = "decay"
    assert fit(P2Law, columns).n_points == 80
    both = fit(P2Law, columns, phases=("constant", "decay"))
    assert both.n_points == 160
    assert texts(both, "mixed-phases") == [
        "Points of several learning-rate phases are fitted as one: 80 of the phase constant, 80 of the phase decay."
    ]
    del columns["phase"]
    assert fit(P2Law, columns, phases=None).n_points == 160


def with_value(name, value):
    columns = p2_sweep()
    columns[name][7] = value
    return columns


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (
            p2_sweep(sizes=SIZES[:1]),
            {},
            "The P2 law cannot be fitted to 1 model size: 3 of delta, N_C, alpha, D_C, E are not identified; "
            "add runs with another model size or fix them, for example --fix E=0 --fix alpha=0 --fix delta=0.",
        ),
        (
            p2_sweep(sizes=SIZES[:2]),
            {},
            "The P2 law cannot be fitted to 2 model sizes: 1 of N_C, alpha, E is not identified; "
            "add runs with another model size or fix it, for example --fix E=0.",
        ),
        (
            p2_sweep(rates=(0.5,)),
            {},
            "The P2 law cannot be fitted to 1 pruning rate: 1 of gamma, N_C, D_C, E is not identified; "
            "add runs with another pruning rate or fix it, for example --fix gamma=0.",
        ),
        (
            p2_sweep(sizes=SIZES[:1], rates=(0.5,)),
            {},
            "The P2 law cannot be fitted to 1 model size and 1 pruning rate: 3 of gamma, delta, N_C, alpha, D_C, E, and 1 of gamma, "
            "N_C, D_C, E are not identified; add runs with another model size and runs with another pruning rate or fix them, for "
            "example --fix E=0 --fix alpha=0 --fix delta=0 --fix gamma=0.",
        ),
        (
            p2_sweep(tokens=np.array([1e6, 2e6])),
            {},
            "The P2 law cannot be fitted to at most 2 token counts a curve: 1 of D_C, beta, E is not identified; "
            "add points at other token counts or fix it, for example --fix E=0.",
        ),
        (
            p2_sweep(sizes=SIZES[:1], rates=(0.5,), tokens=np.array([1e6, 2e6])),
            {},
            "Got 2 points for the 7 free constants of the P2 law, with none left out; it needs at least 8: "
            "add runs, or points to them.",
        ),
        (
            p2_sweep(),
            {"phases": ("decay",)},
            "Got 0 points for the 7 free constants of the P2 law, with 160 left out (learning-rate phase not decay); "
            "it needs at least 8: add runs, or points to them.",
        ),
        (
            with_value("loss", np.nan),
            {},
            "Run 400000-0.125 has a loss of nan at 24,154,971 tokens; "
            "a fit needs positive finite numbers: leave the run out or measure it again.",
        ),
        (
            with_value("loss_before", -1.0),
            {},
            "Run 400000-0.125 has a loss_before of -1 at 24,154,971 tokens; "
            "a fit needs positive finite numbers: leave the run out or measure it again.",
        ),
        (
            p2_sweep(),
            {"fixed": {"zeta": 1.0}},
            "The P2 law has no constant zeta to fix; it has gamma, delta, N_C, alpha, D_C, beta, E.",
        ),
        (p2_sweep(), {"fixed": {"beta": -1.0}}, "beta is fixed at -1, outside its bounds 0 to 3."),
        (p2_sweep(), {"objective": "cubed"}, "No objective is called cubed; there are huber-log, squared, squared-log."),
    ],
)
def test_an_impossible_fit_says_why_in_one_line(columns, options, message):
    with pytest.raises(FitError) as error:
        fit(P2Law, columns, **options)
    assert str(error.value) == message


def test_a_missing_column_is_named():
    with pytest.raises(FitError, match="n_params_total is missing"):
        fit(HoffmannLaw, p2_sweep())


def test_an_unknown_input_is_left_out_and_counted():
    columns = p2_sweep()
    columns["loss_before"][:10] = np.nan
    assert fit(P2Law, columns).points.left_out == {"loss_before not known": 10}


def test_a_curve_whose_end_is_missed_is_told_of():
    # A law without a floor fitted to curves with one: it lies above in the middle and below at the end, everywhere.
    columns = p2_sweep(replace(P2, E=0.8), tokens=np.geomspace(1e6, 1e9, 15), noise=1e-4)
    found = fit(P2Law, columns, fixed={"E": 0.0, "N_C": 0.0, "alpha": 0.0})
    (drift,) = texts(found, "drift")
    assert "below the measured losses" in drift
    assert not texts(fit(P2Law, columns), "drift")


def test_a_law_that_leans_at_one_end_of_an_input_is_told_of():
    # Loss rises as rate^3 above 0.4: no power of the rate fits both ends.
    columns = p2_sweep(noise=1e-4)
    columns["loss"] = columns["loss"] + 5 * np.maximum(columns["pruning_rate"] - 0.4, 0) ** 2
    leans = texts(fit(P2Law, columns), "leans")
    assert any(text.startswith("At the highest pruning_rate (0.5) the law lies") and "below" in text for text in leans)


def test_few_runs_are_told_of():
    found = fit(P2Law, p2_sweep(sizes=SIZES[:3], rates=(0.25, 0.5), noise=1e-3))
    assert texts(found, "few-runs")[0].startswith("6 runs for 7 constants")
    assert not texts(fit(P2Law, p2_sweep(noise=1e-3)), "few-runs")


def test_every_code_has_its_explanation():
    assert all(text.endswith(".") and text[0].isupper() for text in CODES.values())


def test_a_plateau_of_hubers_objective_is_told_of():
    # Four runs at each size and token count that the law cannot tell apart, 0.1 nats from one another: anything between the two
    # in the middle is as good. Two of 48 sparse T5 models' laws stood like that, and were called converged.
    columns = hoffmann_sweep()
    four = {name: np.tile(column, 4) for name, column in columns.items()}
    four["loss"] = four["loss"] + np.repeat([-0.15, -0.05, 0.05, 0.15], 24)
    four["run"] = np.array([f"{i:03d}" for i in range(96)])
    found = fit(HoffmannLaw, four, objective="huber-log")
    assert found.status is FitStatus.NOT_IDENTIFIED
    assert texts(found, "plateau")[0].startswith("Too few points lie within 0.001 of the law to hold ")
    assert fit(HoffmannLaw, four, objective="squared-log").status is FitStatus.CONVERGED
