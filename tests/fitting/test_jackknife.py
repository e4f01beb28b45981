from dataclasses import replace

import numpy as np
import pytest

from prunescale.fitting import fit, jackknife
from prunescale.laws import P2Law

from .sweeps import P2, SIZES, p2_sweep, rows


def test_each_refit_is_the_fit_of_the_other_runs():
    columns = p2_sweep(sizes=SIZES, rates=(0.25, 0.5), noise=1e-3)
    full = jackknife(fit(P2Law, columns), columns)
    assert [refit.left_out for refit in full.refits] == sorted(np.unique(columns["run"]))
    for refit in full.refits[::3]:
        alone = fit(P2Law, rows(columns, columns["run"] != refit.left_out))
        np.testing.assert_allclose(
            list(refit.law.constants().values()), list(alone.law.constants().values()), rtol=1e-4, atol=1e-5
        )


def test_without_noise_no_run_matters_with_noise_the_range_holds_the_fit():
    exact = p2_sweep()
    for low, high in jackknife(fit(P2Law, exact), exact).refit_ranges().values():
        assert high - low < 1e-5
    noisy = p2_sweep(noise=2e-3)
    full = jackknife(fit(P2Law, noisy), noisy)
    for name, (low, high) in full.refit_ranges().items():
        assert low < full.law.constants()[name] < high


def test_a_run_that_alone_determines_a_constant_is_skipped_and_the_reason_given():
    # Two sizes, and the second rate at one of them only: without that run gamma is open; without the other size's, delta is.
    pieces = [p2_sweep(replace(P2, E=0.0), sizes=(n,), rates=(r,)) for n, r in ((4e5, 0.25), (4e5, 0.5), (1e6, 0.25))]
    columns = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    full = jackknife(fit(P2Law, columns, fixed={"E": 0.0}), columns)
    assert set(full.refits_skipped) == {"400000-0.25", "400000-0.5", "1000000-0.25"}
    assert "1 pruning rate" in full.refits_skipped["400000-0.5"]
    assert "1 model size" in full.refits_skipped["1000000-0.25"]
    assert "rates that go with the size" in full.refits_skipped["400000-0.25"]
    assert full.refits == ()
    assert full.refit_ranges() == {}


def test_refits_keep_what_the_fit_was_asked():
    columns = p2_sweep(noise=1e-3)
    full = jackknife(fit(P2Law, columns, fixed={"E": 0.1}, objective="squared-log", min_tokens=2e6), columns)
    assert {refit.law.E for refit in full.refits} == {0.1}
    assert full.refit_ranges()["beta"][0] == pytest.approx(full.law.beta, rel=0.05)
