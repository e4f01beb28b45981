from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from prunescale.laws import HoffmannLaw, P2Law
from prunescale.planner import loss_at, tokens_worth_doubling, tokens_worth_hour
from prunescale.planner.gain import doubling_gain, hour_gain, tokens_worth

LAW = P2Law(gamma=-1.6, delta=0.1, N_C=0.3, alpha=0.6, D_C=2.5, beta=0.45, E=0.15)
MODEL = {"n_params_before": 2.5e6, "pruning_rate": 0.375, "loss_before": 3.4}


def test_loss_at_is_the_law():
    assert loss_at(LAW, 1e7, **MODEL) == LAW.loss(n_tokens=1e7, **MODEL)


@pytest.mark.parametrize("min_gain", [0.1, 0.01, 0.001])
def test_tokens_worth_a_doubling_in_closed_form(min_gain):
    # L(D) - L(2D) = s D_C D^-beta (1 - 2^-beta) with s = rho^-gamma N0^-delta, N0 and D in millions; set equal to the gain:
    # D = (s D_C (1 - 2^-beta) / gain)^(1 / beta)
    scale = 0.375**1.6 * 2.5**-0.1
    expected = 1e6 * (scale * 2.5 * (1 - 2**-0.45) / min_gain) ** (1 / 0.45)
    # The gain is a difference of losses of order 4: rounding of 1e-15 against a gain of 1e-3, divided by beta.
    assert tokens_worth_doubling(LAW, MODEL, min_gain) == pytest.approx(expected, rel=1e-11)


def test_tokens_worth_an_hour_in_closed_form():
    # beta = 1 and h million tokens an hour: s D_C (1/D - 1/(D + h)) = g  =>  D (D + h) = s D_C h / g.
    # s D_C = 1, h = 3.6 (1000 tokens a second), g = 0.01: D^2 + 3.6 D - 360 = 0, D = -1.8 + sqrt(3.24 + 360).
    law = P2Law(gamma=0.0, delta=0.0, N_C=0.0, alpha=0.0, D_C=1.0, beta=1.0, E=0.0)
    expected = 1e6 * (-1.8 + 363.24**0.5)
    assert tokens_worth_hour(law, MODEL, 0.01, tokens_per_second=1000.0) == pytest.approx(expected, rel=1e-11)


def test_the_gain_at_the_answer_is_the_gain_asked_for():
    law, model = HoffmannLaw(E=1.8, A=480.0, alpha=0.35, B=2100.0, beta=0.37), {"n_params_total": 1e8}
    assert doubling_gain(law, model, tokens_worth_doubling(law, model, 0.02)) == pytest.approx(0.02, rel=1e-9)
    tokens = tokens_worth_hour(law, model, 0.02, 1e5)
    assert hour_gain(law, model, tokens, tokens_per_second=1e5) == pytest.approx(0.02, rel=1e-9)


def test_many_laws_at_once_equal_one_at_a_time():
    laws = [replace(LAW, beta=beta) for beta in (0.3, 0.45, 0.6)]
    many = replace(LAW, beta=np.array([[0.3], [0.45], [0.6]]))
    found = tokens_worth_doubling(many, MODEL, 0.01)
    np.testing.assert_allclose(found[:, 0], [tokens_worth_doubling(law, MODEL, 0.01) for law in laws], rtol=1e-13)


@pytest.mark.parametrize("worth", [tokens_worth_doubling, partial(tokens_worth_hour, tokens_per_second=2e4)])
def test_what_asks_for_more_tokens(worth):
    def rises(answers):
        return np.all(np.diff(answers) > 0)

    assert rises([worth(LAW, MODEL, min_gain) for min_gain in (0.1, 0.03, 0.01, 0.001)])  # contentment with less gain
    assert rises([worth(LAW, MODEL | {"pruning_rate": rate}, 0.01) for rate in (0.1, 0.2, 0.4, 0.6)])  # deeper pruning
    assert rises([worth(replace(LAW, D_C=d), MODEL, 0.01) for d in (1.0, 2.0, 4.0)])  # a slower recovery
    assert rises([worth(LAW, MODEL | {"n_params_before": n}, 0.01) for n in (4e7, 4e6, 4e5)])  # a smaller model: delta > 0


def test_a_faster_gpu_is_worth_more_tokens():
    assert tokens_worth_hour(LAW, MODEL, 0.01, 2e5) > tokens_worth_hour(LAW, MODEL, 0.01, 1e5)


def test_a_gain_that_rises_before_it_falls_is_worth_its_last_fall():
    """By bisection the fewest tokens were the answer once: there the gain is too small, as it is far beyond."""

    class Hump(P2Law):
        def loss(self, *, n_tokens, **inputs):  # saturates late: half of a nat is won back around 1e8 tokens
            return 2.0 + 0.5 / (1 + (np.asarray(n_tokens) / 1e8) ** 1.5)

    law = Hump(gamma=-1.6, delta=0.1, N_C=0.3, alpha=0.6, D_C=2.5, beta=0.45, E=0.15)
    found = float(tokens_worth(law, {}, 0.02, doubling_gain, between=(1e6, 1e12)))
    assert doubling_gain(law, {}, 1e6) < 0.02 < doubling_gain(law, {}, 1e8)
    assert found > 1e8
    assert doubling_gain(law, {}, found) == pytest.approx(0.02, rel=1e-9)
