"""Where one law is another's special case."""

import numpy as np
import pytest

from prunescale.laws import (
    AverageParameterLaw,
    DataConstrainedLaw,
    DenseParameterLaw,
    EffectiveParameterLaw,
    FinalParameterLaw,
    FrantarLaw,
    HoffmannLaw,
    KaplanLaw,
    P2BetaRateLaw,
    P2Law,
    P2NoDeltaLaw,
    SkalingLaw,
)

ADDITIVE = {"E": 1.8, "A": 480.0, "alpha": 0.35, "B": 2100.0, "beta": 0.37}
HOFFMANN = HoffmannLaw(**ADDITIVE)
SIZES, TOKENS = (a.ravel() for a in np.meshgrid(np.geomspace(1e6, 1e10, 9), np.geomspace(1e8, 1e12, 9)))
DENSE_LOSS = HOFFMANN.loss(n_params_total=SIZES, n_tokens=TOKENS)


def test_the_average_parameter_law_and_its_rivals_are_hoffmanns_for_a_constant_size():
    np.testing.assert_array_equal(AverageParameterLaw(**ADDITIVE).loss(n_params_average=SIZES, n_tokens=TOKENS), DENSE_LOSS)
    np.testing.assert_array_equal(FinalParameterLaw(**ADDITIVE).loss(n_params_final=SIZES, n_tokens=TOKENS), DENSE_LOSS)
    np.testing.assert_array_equal(DenseParameterLaw(**ADDITIVE).loss(n_params_linear=SIZES, n_tokens=TOKENS), DENSE_LOSS)


def test_skaling_with_k_1_is_hoffmanns_form():
    # E + A N^-a + A R D^-b in millions: A = A_h 1e6^-alpha and A R = B_h 1e6^-beta.
    A, B = 480.0 * 1e6**-0.35, 2100.0 * 1e6**-0.37
    law = SkalingLaw(E=1.8, A=A, a=0.35, R=B / A, b=0.37, k=1.0)
    np.testing.assert_allclose(law.loss(n_params_total=SIZES, n_tokens=TOKENS), DENSE_LOSS, rtol=1e-13)


def test_skaling_with_b_1_and_no_floor_is_kaplans():
    # (N_c/N)^(a_N/a_D) + D_c/D in millions, a_D outside.
    kaplan = KaplanLaw(N_c=6e13, a_N=0.08, D_c=2e13, a_D=0.1)
    A = (6e13 / 1e6) ** 0.08
    law = SkalingLaw(E=0.0, A=A, a=0.8, R=2e13 / 1e6 / A ** (1 / 0.1), b=1.0, k=0.1)
    np.testing.assert_allclose(
        law.loss(n_params_total=SIZES, n_tokens=TOKENS), kaplan.loss(n_params_non_embedding=SIZES, n_tokens=TOKENS), rtol=1e-12
    )


def test_kaplan_without_one_term_is_a_power_law_in_the_other():
    size_alone = KaplanLaw(N_c=8.8e13, a_N=0.076, D_c=0.0, a_D=0.1)
    data_alone = KaplanLaw(N_c=0.0, a_N=0.076, D_c=5.4e13, a_D=0.095)
    assert size_alone.loss(1e9, 1e9) == pytest.approx((8.8e13 / 1e9) ** 0.076, rel=1e-12)
    assert data_alone.loss(1e9, 1e9) == pytest.approx((5.4e13 / 1e9) ** 0.095, rel=1e-12)


def test_frantar_without_sparsity_is_hoffmanns_form():
    A, B = 480.0 * 1e6**-0.35, 2100.0 * 1e6**-0.37  # in millions
    law = FrantarLaw(a_S=0.25 * A, b_S=0.7, c_S=0.75 * A, b_N=0.35, a_D=B, b_D=0.37, c=1.8)
    np.testing.assert_allclose(law.loss(n_params_nonzero=SIZES, n_tokens=TOKENS, sparsity=0.0), DENSE_LOSS, rtol=1e-13)


def test_what_is_pruned_counts_in_full_with_kappa_0_and_not_at_all_with_kappa_1():
    def loss(kappa):
        law = EffectiveParameterLaw(a=480.0, b=0.35, kappa=kappa, c=2100.0, d=0.37, e=1.8)
        return law.loss(n_params_linear=SIZES, n_tokens=TOKENS, sparsity=0.75)

    np.testing.assert_allclose(loss(0.0), DENSE_LOSS, rtol=1e-13)
    np.testing.assert_allclose(loss(1.0), HOFFMANN.loss(n_params_total=SIZES / 4, n_tokens=TOKENS), rtol=1e-13)


class TestDataConstrained:
    LAW = DataConstrainedLaw(**ADDITIVE, R_D_star=15.0, R_N_star=5.0)

    def test_is_hoffmanns_where_nothing_repeats_and_the_size_is_no_larger_than_its_tokens_deserve(self):
        deserved = (0.35 * 480.0 * TOKENS**0.37 / (0.37 * 2100.0)) ** (1 / 0.35)
        for unique in (TOKENS, 10 * TOKENS):
            loss = self.LAW.loss(n_params_total=SIZES, n_tokens=TOKENS, unique_tokens=unique)
            np.testing.assert_array_equal(loss[deserved >= SIZES], DENSE_LOSS[deserved >= SIZES])
            assert np.all(loss[1.01 * deserved < SIZES] > DENSE_LOSS[1.01 * deserved < SIZES])

    def test_the_best_size_for_some_tokens_is_where_hoffmanns_loss_is_least_under_its_operations(self):
        best = np.exp(self.LAW._log_best_size(1e10))
        sizes = best * np.geomspace(0.5, 2.0, 1001)
        losses = HOFFMANN.loss(n_params_total=sizes, n_tokens=1e10 * best / sizes)  # as many operations for all
        assert np.argmin(losses) == 500

    def test_repeated_tokens_are_worth_less_than_new_ones_and_more_than_none(self):
        def loss(n_tokens, unique):
            return self.LAW.loss(n_params_total=1e7, n_tokens=n_tokens, unique_tokens=unique)

        assert loss(4e9, 4e9) < loss(4e9, 1e9) < loss(1e9, 1e9)
        # Without end, they are worth R_D* times the unique ones.
        assert loss(1e15, 1e9) == pytest.approx(loss(16e9, 16e9), rel=1e-12)

    def test_first_derivatives_are_continuous_where_repetition_begins(self):
        at = {"n_params_total": 1e8, "unique_tokens": 1e9}
        below, above = (self.LAW.gradient(n_tokens=1e9 * (1 + s), **at) for s in (-1e-9, 1e-9))
        np.testing.assert_allclose(above, below, rtol=1e-6, atol=1e-9)


def test_p2_rivals_are_p2_where_what_they_change_is_taken_out():
    columns = {
        "n_params_before": SIZES,
        "n_tokens": TOKENS,
        "pruning_rate": np.linspace(0.1, 0.8, len(SIZES)),
        "loss_before": np.full(len(SIZES), 3.0),
    }
    shared = {"gamma": -1.6, "N_C": 0.3, "alpha": 0.6, "D_C": 2.5, "E": 0.15}
    p2 = P2Law(**shared, delta=0.1, beta=0.45).predict(columns)
    np.testing.assert_allclose(P2BetaRateLaw(**shared, delta=0.1, beta_0=0.45, beta_1=0.45).predict(columns), p2, rtol=1e-13)
    np.testing.assert_allclose(
        P2NoDeltaLaw(**shared, beta=0.45).predict(columns), P2Law(**shared, delta=0.0, beta=0.45).predict(columns), rtol=1e-13
    )
