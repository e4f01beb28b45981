"""What a fit says about itself."""

from dataclasses import replace

import numpy as np
import pytest

from prunescale.errors import FitError
from prunescale.fitting import FitStatus, fit
from prunescale.fitting.least_squares import _status
from prunescale.fitting.precision import Precision
from prunescale.fitting.solve import Optimum
from prunescale.laws import HoffmannLaw, P2Law

from .sweeps import P2, SIZES, p2_sweep, rows


def test_a_constant_that_wants_beyond_its_bound_is_put_on_it_and_named():
    columns = p2_sweep()
    # Below the largest E that the bounds allow nothing would show; so draw from one below zero, which they don't.
    columns["loss"] = replace(P2, E=-0.1).predict(columns)
    found = fit(P2Law, columns)
    assert found.status is FitStatus.AT_BOUND
    assert found.law.E == 0.0
    assert found.standard_errors["E"] is None
    assert any(note.startswith("E ended at its lower bound") for note in found.notes)


def test_a_term_that_the_points_do_not_want_vanishes():
    found = fit(P2Law, p2_sweep(replace(P2, N_C=0.0, E=0.0)), fixed={"E": 0.0})
    assert abs(found.law.N_C / P2Law.bounds["N_C"].low - 1) < 1e-9
    assert any("N_C ended at its lower bound" in note and "vanish" in note for note in found.notes)
    assert found.law.beta == pytest.approx(P2.beta, abs=1e-5)


def test_constants_that_only_act_together_are_named():
    # With alpha fixed at 0 the floor is N_C + E: any split of the sum predicts the same, and no start finds a better one.
    columns = p2_sweep(noise=1e-3)
    found, without_E = (fit(P2Law, columns, fixed=fixed) for fixed in ({"alpha": 0.0}, {"alpha": 0.0, "E": 0.0}))
    assert found.status is FitStatus.NOT_IDENTIFIED
    assert any(note.startswith("The points determine N_C and E only together") for note in found.notes)
    assert pytest.approx(1, rel=1e-5) == (found.law.N_C + found.law.E) / without_E.law.N_C


def test_a_constant_without_effect_is_named():
    found = fit(P2Law, p2_sweep(noise=1e-3), fixed={"N_C": 0.0})
    assert found.status is FitStatus.NOT_IDENTIFIED
    assert found.notes[0].startswith("The points determine alpha hardly at all")
    assert found.standard_errors["alpha"] is None


def test_flat_directions_and_lonely_optima_have_their_own_status():
    def status(share=1.0, at_bound=(), weak=()):
        return _status(Optimum(np.zeros(2), 1.0, at_bound, share), Precision({}, weak))

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
    assert found.left_out == {
        "learning-rate phase not constant": 2,
        "pruning_rate of 0": 1,
        "fewer than 1,000,000 tokens": 1,
    }
    clean = fit(P2Law, rows(columns, slice(0, 160)))
    assert found.law == clean.law
    assert found.ranges == clean.ranges
    assert sum("Left out" in note for note in found.notes) == 3


def test_all_phases_are_used_when_none_is_named():
    columns = p2_sweep()
    columns["phase"][::2] = "decay"
    assert fit(P2Law, columns).n_points == 80
    assert fit(P2Law, columns, phases=("constant", "decay")).n_points == 160
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
            "The P2 law cannot be fitted to 1 model size: delta and two of N_C, alpha, E are not identified; "
            "add runs of another size or fix them, for example --fix delta=0 --fix alpha=0 --fix E=0.",
        ),
        (
            p2_sweep(sizes=SIZES[:2]),
            {},
            "The P2 law cannot be fitted to 2 model sizes: one of N_C, alpha, E is not identified; "
            "add runs of another size or fix it, for example --fix E=0.",
        ),
        (
            p2_sweep(rates=(0.5,)),
            {},
            "The P2 law cannot be fitted to 1 pruning rate: gamma is not identified; "
            "add runs at another rate or fix it, for example --fix gamma=0.",
        ),
        (
            p2_sweep(sizes=SIZES[:1], rates=(0.5,)),
            {},
            "The P2 law cannot be fitted to 1 model size and 1 pruning rate: delta and two of N_C, alpha, E, and gamma are not "
            "identified; add runs of another size and runs at another rate or fix them, for example --fix delta=0 --fix alpha=0 "
            "--fix E=0 --fix gamma=0.",
        ),
        (
            p2_sweep(tokens=np.array([1e6, 2e6])),
            {},
            "The P2 law cannot be fitted to 2 token counts at each size and rate: beta, D_C and the floor are not identified; "
            "add points until one curve has 3 token counts.",
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
        (p2_sweep(), {"objective": "cubed"}, "No objective is called cubed; there are squared, squared-log."),
    ],
)
def test_an_impossible_fit_says_why_in_one_line(columns, options, message):
    with pytest.raises(FitError) as error:
        fit(P2Law, columns, **options)
    assert str(error.value) == message


def test_a_missing_column_is_named():
    with pytest.raises(FitError, match="n_params_total is missing"):
        fit(HoffmannLaw, p2_sweep())
