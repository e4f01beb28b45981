"""What runs leave open, found from the law alone."""

import numpy as np
import pytest

from prunescale.fitting.identify import gaps
from prunescale.laws import HoffmannLaw, P2Law, own_law

SIZES, RATES, THREE = [1e6, 2e6, 4e6], [0.2, 0.4], [1e6, 3e6, 9e6]


def p2_columns(sizes, rates, tokens):
    n, rho, d = (a.ravel() for a in np.meshgrid(sizes, rates, tokens))
    return {"n_params_before": n, "pruning_rate": rho, "n_tokens": d, "loss_before": np.full(len(n), 3.0)}


@pytest.mark.parametrize(
    ("sizes", "rates", "tokens", "fixed", "expected"),
    [
        (SIZES, RATES, THREE, {}, []),
        # A size gives an equation for the floor N_C N0^-alpha + E; two sizes cannot give three constants.
        (SIZES[:2], RATES, THREE, {}, [("2 model sizes", "1 of N_C, alpha, E")]),
        (SIZES[:2], RATES, THREE, {"E": 0.0}, []),
        # One size: D_C N0^-delta is one number, the floor another.
        (SIZES[1:2], RATES, THREE, {}, [("1 model size", "3 of delta, N_C, alpha, D_C, E")]),
        (SIZES[1:2], RATES, THREE, {"delta": 0.0, "E": 0.0}, [("1 model size", "1 of N_C, alpha")]),
        (SIZES[1:2], RATES, THREE, {"delta": 0.0, "alpha": 0.0, "E": 0.0}, []),
        # One rate: rho^-gamma is a factor of everything.
        (SIZES, [0.5], THREE, {}, [("1 pruning rate", "1 of gamma, N_C, D_C, E")]),
        (SIZES, [0.5], THREE, {"gamma": 0.0}, []),
        # Two tokens of each curve: a fall between them, not its bend.
        (SIZES, RATES, THREE[:2], {}, [("at most 2 token counts a curve", "1 of D_C, beta, E")]),
        (SIZES, RATES, THREE[:2], {"N_C": 0.0, "alpha": 0.0, "E": 0.0}, []),
    ],
)
def test_what_pruned_runs_leave_open(sizes, rates, tokens, fixed, expected):
    assert [(gap.got, gap.constants) for gap in gaps(P2Law, p2_columns(sizes, rates, tokens), fixed)] == expected


@pytest.mark.parametrize(("sizes", "rates"), [(SIZES[1:2], RATES), (SIZES[:2], RATES), (SIZES, [0.5]), (SIZES[1:2], [0.5])])
def test_what_is_offered_to_be_fixed_closes_the_gap(sizes, rates):
    columns = p2_columns(sizes, rates, THREE)
    found = gaps(P2Law, columns, {})
    fixes = {name: value for gap in found for name, value in gap.fix.items()}
    assert len(fixes) == sum(gap.n_open for gap in found)
    assert gaps(P2Law, columns, fixes) == ()


def test_a_rate_that_goes_with_the_size_leaves_gamma_and_delta_open():
    # log rate = -log size + constant: one direction for two exponents.
    pairs = [p2_columns([n * 1e6], [0.4 / n], THREE) for n in (1, 2, 4)]
    joined = {name: np.concatenate([pair[name] for pair in pairs]) for name in pairs[0]}
    (gap,) = gaps(P2Law, joined, {})
    assert gap.got == "model sizes that go with pruning_rate"
    assert {"gamma", "delta"} <= set(gap.constants.removeprefix("1 of ").split(", "))
    assert gap.fix == {"delta": 0.0}
    assert gaps(P2Law, joined, {"delta": 0.0}) == ()


def test_what_dense_runs_leave_open():
    def found(sizes, tokens, fixed):
        n, d = (a.ravel() for a in np.meshgrid(sizes, tokens))
        return [(gap.got, gap.constants) for gap in gaps(HoffmannLaw, {"n_params_total": n, "n_tokens": d}, fixed)]

    assert found([1e6, 2e6, 3e6], [1e8, 2e8, 3e8], {}) == []
    assert found([1e6, 2e6], [1e8, 2e8, 3e8], {}) == [("2 model sizes", "1 of E, A, alpha")]
    both = found([1e6, 2e6], [1e8, 2e8], {})
    assert [got for got, _ in both] == ["2 model sizes", "at most 2 token counts a curve"]
    # A_i + B_j at two sizes and two token counts has three degrees of freedom, not four: still one open with E given.
    assert len(found([1e6, 2e6], [1e8, 2e8], {"E": 1.7})) == 1


def test_a_law_of_ones_own_is_looked_at_in_the_same_way():
    def law(n_tokens, width, a, b, c):
        return a + b * width / n_tokens + c / n_tokens

    own = own_law(law, {"a": (0.0, 5.0), "b": (0.0, 5.0), "c": (0.0, 5.0)})
    tokens = np.array([1e6, 2e6, 4e6, 8e6])
    (gap,) = gaps(own, {"n_tokens": tokens, "width": np.full(4, 64.0)}, {})
    assert (gap.got, gap.constants, gap.fix) == ("1 value of width", "1 of b, c", {})
    assert gaps(own, {"n_tokens": tokens, "width": np.array([64.0, 64.0, 128.0, 128.0])}, {}) == ()
