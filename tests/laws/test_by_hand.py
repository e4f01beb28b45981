"""Each law at constants and columns that make its loss a sum anyone can do: powers of 2 and 10, exponents of a half."""

import numpy as np
import pytest

from prunescale.laws import LAWS

P2 = {"gamma": -1.0, "delta": 0.5, "N_C": 2.0, "alpha": 0.5, "D_C": 6.0, "beta": 0.5, "E": 1.0}
PRUNED = {"n_params_before": 4_000_000, "n_tokens": 9_000_000, "pruning_rate": 0.5, "loss_before": 3.0}
ADDITIVE = {"E": 1.5, "A": 10.0, "alpha": 0.5, "B": 100.0, "beta": 0.5}
FRANTAR = {"a_S": 4.0, "b_S": 0.5, "c_S": 1.0, "b_N": 0.5, "a_D": 6.0, "b_D": 0.5, "c": 1.5}
EFFECTIVE = {"a": 10.0, "b": 0.5, "kappa": 2.0, "c": 100.0, "d": 0.5, "e": 1.5}
REPEATED = {"E": 1.5, "A": 10.0, "alpha": 0.5, "B": 10.0, "beta": 0.5, "R_D_star": 1.0, "R_N_star": 1.0}

WORTH_OF_TWO = 2 - np.exp(-1)  # in units of what is unique, seen twice with R* = 1: 1 + 1 (1 - e^-1)


def without(constants, *names):
    return {name: value for name, value in constants.items() if name not in names}


@pytest.mark.parametrize(
    ("name", "constants", "columns", "loss"),
    [
        # N0 = 4 M, D = 9 M: (1/rho)^gamma = 2^-1, (1/N0)^delta = 1/2, the bracket 2/2 + 6/3 + 1 = 4.
        ("p2", P2, PRUNED, 3 + 0.5 * 0.5 * 4),
        ("p2-no-delta", without(P2, "delta"), PRUNED, 3 + 0.5 * 4),
        ("p2-additive", P2, PRUNED, 3 + 0.5 * 0.5 * (1 + 1) + 2),
        # rho/(1-rho) = 3 at rho = 3/4.
        ("p2-odds", P2, PRUNED | {"pruning_rate": 0.75}, 3 + 3 * 0.5 * 4),
        # -log(1-rho) = 1 at rho = 1 - 1/e.
        ("p2-log-kept", P2, PRUNED | {"pruning_rate": 1 - np.exp(-1)}, 3 + 0.5 * 4),
        # Half-way between 0 and 1 the exponent is 1/2.
        ("p2-beta-rate", without(P2, "beta", "E") | {"beta_0": 0.0, "beta_1": 1.0, "E": 1.0}, PRUNED, 3 + 0.5 * 0.5 * 4),
        ("p2-control", P2, without(PRUNED, "loss_before") | {"loss_control": 2.0}, 2 + 0.5 * 0.5 * 4),
        # Odds of 3 at rho = 3/4, and a parameter for every four tokens: 2 3 (1/4)^(1/2).
        (
            "tokens-per-parameter",
            {"A": 2.0, "gamma": 1.0, "beta": 0.5},
            {"n_params_before": 4e6, "n_tokens": 16e6, "pruning_rate": 0.75, "loss_control": 2.0},
            2 + 2 * 3 * 0.5,
        ),
        # Odds of 3, N0 = 4 M, D = 9 M: 3 4^0.5 (6/9^0.5 + 1).
        (
            "control-floor",
            {"gamma": 1.0, "alpha": 0.5, "A": 6.0, "beta": 0.5, "E": 1.0},
            {"n_params_before": 4e6, "n_tokens": 9e6, "pruning_rate": 0.75, "loss_control": 2.0},
            2 + 3 * 2 * (2 + 1),
        ),
        # 1 + 1/(D+1) = 5/4 at D = 3 M: 4^0.5 (1.5)^2 (1.25)^1.
        (
            "compression",
            {"alpha": 0.5, "beta": 2.0, "gamma": 1.0},
            {"loss_before": 4.0, "pruning_rate": 0.5, "n_tokens": 3e6},
            2 * 2.25 * 1.25,
        ),
        # 10/10000^0.5 + 100/1000000^0.5 = 0.1 + 0.1.
        ("average-parameter", ADDITIVE, {"n_params_average": 10_000, "n_tokens": 1_000_000}, 1.7),
        ("final-parameter", ADDITIVE, {"n_params_final": 10_000, "n_tokens": 1_000_000}, 1.7),
        ("dense-parameter", ADDITIVE, {"n_params_linear": 10_000, "n_tokens": 1_000_000}, 1.7),
        ("hoffmann", ADDITIVE, {"n_params_total": 10_000, "n_tokens": 1_000_000}, 1.7),
        # N = 4 M, D = 9 M, 1 - S = 1/4: (4/2 + 1)/2 + 6/3 + 1.5.
        ("frantar", FRANTAR, {"n_params_nonzero": 4e6, "n_tokens": 9e6, "sparsity": 0.75}, 1.5 + 2 + 1.5),
        # Half pruned, with kappa = 2, is worth a quarter: 10/(40000/4)^0.5.
        ("effective-parameter", EFFECTIVE, {"n_params_linear": 40_000, "n_tokens": 1_000_000, "sparsity": 0.5}, 1.7),
        # a_N/a_D = 2: (3^2 + 7)^0.5.
        (
            "kaplan",
            {"N_c": 3e9, "a_N": 1.0, "D_c": 7e10, "a_D": 0.5},
            {"n_params_non_embedding": 1e9, "n_tokens": 1e10},
            4.0,
        ),
        # N = 4 M, D = 9 M: 1 + 2 (1/2 + 9/6 ... ) with N^-0.5 = 1/2 and 5.25 D^-0.5 = 1.75: 1 + 2 (2.25)^0.5.
        (
            "skaling",
            {"E": 1.0, "A": 2.0, "a": 0.5, "R": 5.25, "b": 0.5, "k": 0.5},
            {"n_params_total": 4e6, "n_tokens": 9e6},
            4.0,
        ),
        # With A = B and alpha = beta the best size is the number of unique tokens. Both are twice that here.
        (
            "data-constrained",
            REPEATED,
            {"n_params_total": 20_000, "n_tokens": 20_000, "unique_tokens": 10_000},
            1.5 + 2 * 10 / (10_000 * WORTH_OF_TWO) ** 0.5,
        ),
        # A model a hundred times too large, with R_N* = 1, is worth twice the best size; nothing repeats.
        (
            "data-constrained",
            REPEATED,
            {"n_params_total": 1_000_000, "n_tokens": 10_000, "unique_tokens": 10_000},
            1.5 + 10 / 20_000**0.5 + 0.1,
        ),
    ],
)
def test_loss_by_hand(name, constants, columns, loss):
    assert LAWS[name](**constants).loss(**columns) == pytest.approx(loss, rel=1e-12)


def test_every_law_has_been_worked_out_by_hand():
    (mark,) = test_loss_by_hand.pytestmark
    assert {case[0] for case in mark.args[1]} == set(LAWS)


def test_p2_loss_rises_with_the_rate_and_falls_with_tokens_to_its_floor():
    law = LAWS["p2"](gamma=-1.6, delta=0.1, N_C=0.3, alpha=0.6, D_C=2.5, beta=0.45, E=0.15)
    rates, tokens = np.linspace(0.05, 0.6, 12), np.geomspace(1e5, 1e12, 30)
    assert np.all(np.diff(law.loss(n_params_before=1e6, n_tokens=1e6, pruning_rate=rates, loss_before=3.0)) > 0)
    losses = law.loss(n_params_before=1e6, n_tokens=tokens, pruning_rate=0.5, loss_before=3.0)
    assert np.all(np.diff(losses) < 0)
    assert losses[-1] > 3.0 + 0.5**1.6 * (0.3 + 0.15)  # N0 = 1 M, so the floor is rho^1.6 (N_C + E)
