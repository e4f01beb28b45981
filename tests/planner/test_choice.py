"""The best size and the best sparsity for a budget of compute."""

from dataclasses import replace

import numpy as np
import pytest

from prunescale.errors import FitError
from prunescale.fitting import bootstrap, fit
from prunescale.laws import LAWS, HoffmannLaw, P2Law
from prunescale.planner import best_size, best_sparsity, choose_size, choose_sparsity

HOFFMANN = HoffmannLaw(E=1.8, A=480.0, alpha=0.35, B=2100.0, beta=0.37)
FRANTAR = LAWS["frantar"](a_S=0.44, b_S=1.34, c_S=1.7, b_N=0.23, a_D=0.4, b_D=0.38, c=0.83)


def closed_form(law, compute):
    """Hoffmann et al. 2022, eq. 4: N* = G (C / 6)^(beta / (alpha + beta)), G = (alpha A / (beta B))^(1 / (alpha + beta))."""
    both = law.alpha + law.beta
    return (law.alpha * law.A / (law.beta * law.B)) ** (1 / both) * (compute / 6) ** (law.beta / both)


@pytest.mark.parametrize("compute", [1e15, 1e20, 5.76e23])
def test_the_best_size_in_closed_form(compute):
    # The least of a function is flat: a value is found to the root of what a double can tell of the loss, 1e-8, and a little more.
    assert best_size(HOFFMANN, compute, "n_params_total", {})[0] == pytest.approx(closed_form(HOFFMANN, compute), rel=1e-6)


def test_many_laws_at_once():
    many = replace(HOFFMANN, alpha=np.array([[0.3], [0.35], [0.4]]))
    expected = [closed_form(replace(HOFFMANN, alpha=alpha), 1e20) for alpha in (0.3, 0.35, 0.4)]
    np.testing.assert_allclose(best_size(many, 1e20, "n_params_total", {}), expected, rtol=1e-6)


def test_the_best_sparsity_is_best_among_all():
    compute, n = 6 * 1e8 * 2e8 * 50, 1e8
    best = best_sparsity(FRANTAR, compute, n)[0]
    tried = np.linspace(0, 0.99, 10_000)
    losses = FRANTAR.loss(n_params_nonzero=n, n_tokens=compute / (6 * n / (1 - tried) * (1 - 0.625 * tried)), sparsity=tried)
    assert best == pytest.approx(tried[np.argmin(losses)], abs=1e-4)
    assert 0.1 < best < 0.98


def test_more_compute_allows_more_sparsity_and_little_none():
    found = [best_sparsity(FRANTAR, compute, 1e8)[0] for compute in (1e13, 1e17, 1e19)]
    assert found[0] == pytest.approx(0, abs=1e-12)
    assert found[0] < found[1] < found[2]


def test_a_choice_has_its_intervals():
    rng = np.random.default_rng(0)
    columns = {"n_params_total": 10 ** rng.uniform(7, 9, 60), "n_tokens": 10 ** rng.uniform(9, 11, 60)}
    columns |= {"run": np.array([f"{i:02d}" for i in range(60)])}
    columns["loss"] = HOFFMANN.predict(columns) + 3e-3 * rng.standard_normal(60)
    found = bootstrap(fit(HoffmannLaw, columns, phases=None), n=200)
    choice = choose_size(found, 1e20, {}, profiled=True)
    truth = closed_form(HOFFMANN, 1e20)
    assert choice.tokens == pytest.approx(1e20 / 6 / choice.value)
    assert choice.loss == pytest.approx(float(found.law.loss(n_params_total=choice.value, n_tokens=choice.tokens)))
    for low, high in (choice.interval, choice.profile):
        assert low < choice.value < high
        assert low < truth < high
        assert high < 3 * low


def test_laws_without_a_size_or_a_sparsity_are_refused():
    rng = np.random.default_rng(0)
    columns = {"n_params_total": 10 ** rng.uniform(7, 9, 30), "n_tokens": 10 ** rng.uniform(9, 11, 30)}
    columns |= {"run": np.array([f"{i:02d}" for i in range(30)])}
    found = fit(HoffmannLaw, columns | {"loss": HOFFMANN.predict(columns)}, phases=None)
    with pytest.raises(FitError, match="The Hoffmann law is no law of non-zero parameters, tokens and sparsity"):
        choose_sparsity(found, 1e20, {})
    with pytest.raises(FitError, match="The compute must be above 0 and finite, got 0"):
        choose_size(found, 0.0, {})
    assert P2Law.columns[0] == "n_params_before"  # at each of which the loss before is another
    p2 = replace(found, law=P2Law(gamma=-1.6, delta=0.1, N_C=0.3, alpha=0.6, D_C=2.5, beta=0.45, E=0.15))
    with pytest.raises(
        FitError, match=r"The P2 law reads loss_before and pruning_rate of a model that is trained already, .* no best size"
    ):
        choose_size(p2, 1e20, {})
