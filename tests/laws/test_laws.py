import inspect
from dataclasses import fields
from math import inf
from pathlib import Path

import numpy as np
import pytest

from prunescale.laws import LAWS, AverageParameterLaw, HoffmannLaw, P2Law

P2 = P2Law(gamma=-1.6, delta=0.1, N_C=0.3, alpha=0.6, D_C=2.5, beta=0.45, E=0.15)
ADDITIVE = {"E": 1.8, "A": 480.0, "alpha": 0.35, "B": 2100.0, "beta": 0.37}
EXAMPLES = [P2, HoffmannLaw(**ADDITIVE), AverageParameterLaw(**ADDITIVE)]


def some_points(law, n=20, seed=3):
    rng = np.random.default_rng(seed)
    columns = {name: 10 ** rng.uniform(5, 9, n) for name in law.columns}
    return columns | {"pruning_rate": rng.uniform(0.05, 0.6, n), "loss_before": rng.uniform(2, 4, n)}


def test_p2_by_hand():
    # N0 = 4 M, D = 9 M, rho = 1/2: 3 + 2^-1 * 4^-0.5 * (2 / 4^0.5 + 6 / 9^0.5 + 1) = 3 + 0.25 * (1 + 2 + 1) = 4
    law = P2Law(gamma=-1.0, delta=0.5, N_C=2.0, alpha=0.5, D_C=6.0, beta=0.5, E=1.0)
    assert law.loss(n_params_before=4_000_000, n_tokens=9_000_000, pruning_rate=0.5, loss_before=3.0) == pytest.approx(
        4.0, abs=1e-12
    )


def test_hoffmann_by_hand():
    # 1.5 + 10 / 10000^0.5 + 100 / 1000000^0.5 = 1.5 + 0.1 + 0.1
    law = HoffmannLaw(E=1.5, A=10.0, alpha=0.5, B=100.0, beta=0.5)
    assert law.loss(n_params_total=10_000, n_tokens=1_000_000) == pytest.approx(1.7, abs=1e-12)


def test_average_parameter_law_is_hoffmanns_for_a_constant_size():
    dense, sparse = HoffmannLaw(**ADDITIVE), AverageParameterLaw(**ADDITIVE)
    assert sparse.loss(n_params_average=1e7, n_tokens=1e9) == dense.loss(n_params_total=1e7, n_tokens=1e9)


def test_p2_loss_rises_with_the_rate_and_falls_with_tokens_to_its_floor():
    rates, tokens = np.linspace(0.05, 0.6, 12), np.geomspace(1e5, 1e12, 30)
    assert np.all(np.diff(P2.loss(n_params_before=1e6, n_tokens=1e6, pruning_rate=rates, loss_before=3.0)) > 0)
    losses = P2.loss(n_params_before=1e6, n_tokens=tokens, pruning_rate=0.5, loss_before=3.0)
    assert np.all(np.diff(losses) < 0)
    assert losses[-1] > 3.0 + 0.5**1.6 * (0.3 + 0.15)  # N0 = 1 M, so the floor is rho^1.6 (N_C + E)


@pytest.mark.parametrize("law", EXAMPLES, ids=lambda law: law.name)
def test_gradient_is_the_finite_difference(law):
    columns = some_points(law)
    gradient = law.jacobian(columns)
    assert gradient.shape == (20, len(law.bounds))
    for i, (name, value) in enumerate(law.constants().items()):
        step = 1e-6 * abs(value)
        up, down = (law.from_constants(law.constants() | {name: value + s}).predict(columns) for s in (step, -step))
        # A central difference of a smooth function errs by about step^2; rounding of a loss of order 1 adds 1e-16 / step.
        np.testing.assert_allclose(gradient[:, i], (up - down) / (2 * step), rtol=1e-6, atol=1e-15 / step)


@pytest.mark.parametrize("law", EXAMPLES, ids=lambda law: law.name)
def test_many_candidates_at_once_equal_one_at_a_time(law):
    columns = some_points(law)
    other = law.from_constants({name: 1.1 * value for name, value in law.constants().items()})
    both = law.from_constants({name: np.array([[value], [1.1 * value]]) for name, value in law.constants().items()})
    np.testing.assert_array_equal(both.predict(columns), [law.predict(columns), other.predict(columns)])


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_what_every_law_offers(law):
    assert LAWS[law.name] is law
    assert tuple(law.bounds) == tuple(field.name for field in fields(law))
    assert law.columns == tuple(inspect.signature(law.loss).parameters)[1:]
    assert "arXiv" in law.source
    for bound in law.bounds.values():
        assert -inf < bound.low <= bound.start[0] < bound.start[1] <= bound.high < inf
        assert bound.low > 0 or not bound.log


def test_p2_allows_a_loss_that_rises_with_the_rate_and_either_sign_of_delta():
    assert P2Law.bounds["gamma"].low < -3
    assert P2Law.bounds["delta"].low < 0 < P2Law.bounds["delta"].high


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_every_law_has_its_section_in_the_documentation(law):
    sections = (Path(__file__).parents[2] / "docs" / "laws.md").read_text().split("\n## ")
    section = next(s for s in sections if f"`{law.name}`" in s.splitlines()[0])
    assert law.source.split("arXiv:")[1].split()[0].rstrip(",") in section
    for name, bound in law.bounds.items():
        assert f"| `{name}` | {bound.low:g} to {bound.high:g} |" in section


def p2_columns(sizes, rates, tokens):
    size, rate, token = (a.ravel() for a in np.meshgrid(sizes, rates, tokens, indexing="ij"))
    return {"n_params_before": size, "pruning_rate": rate, "n_tokens": token, "loss_before": np.full(len(size), 3.0)}


@pytest.mark.parametrize(
    ("sizes", "rates", "n_tokens", "fixed", "open_constants"),
    [
        ([1e6, 2e6, 4e6], [0.2, 0.4], 3, {}, []),
        ([1e6, 2e6], [0.2, 0.4], 3, {}, ["one of N_C, alpha, E"]),
        ([1e6, 2e6], [0.2, 0.4], 3, {"E": 0.0}, []),
        ([1e6], [0.2, 0.4], 3, {}, ["delta and two of N_C, alpha, E"]),
        ([1e6], [0.2, 0.4], 3, {"delta": 0.0, "E": 0.0}, ["one of N_C, alpha"]),
        ([1e6], [0.2, 0.4], 3, {"delta": 0.0, "alpha": 0.0, "E": 0.0}, []),
        ([1e6, 2e6, 4e6], [0.5], 3, {}, ["gamma"]),
        ([1e6, 2e6, 4e6], [0.5], 3, {"gamma": 0.0}, []),
        ([1e6, 2e6, 4e6], [0.2, 0.4], 2, {}, ["beta, D_C and the floor"]),
        ([1e6, 2e6, 4e6], [0.2, 0.4], 2, {"N_C": 0.0, "alpha": 0.0, "E": 0.0}, []),
    ],
)
def test_what_a_p2_sweep_leaves_open(sizes, rates, n_tokens, fixed, open_constants):
    columns = p2_columns(sizes, rates, np.geomspace(1e6, 1e7, n_tokens))
    gaps = P2Law.unidentified(columns, fixed)
    assert [gap.constants for gap in gaps] == open_constants
    for gap in gaps:  # what is offered as a remedy is one
        assert not gap.fix or gap.constants not in [g.constants for g in P2Law.unidentified(columns, fixed | dict(gap.fix))]


def test_a_rate_that_goes_with_the_size_leaves_gamma_and_delta_open():
    # log rate = -log size + constant: one direction for two exponents.
    columns = p2_columns([1e6], [0.4], [1e6, 3e6, 9e6])
    pairs = [columns | {"n_params_before": np.full(3, n * 1e6), "pruning_rate": np.full(3, 0.4 / n)} for n in (1, 2, 4)]
    joined = {name: np.concatenate([pair[name] for pair in pairs]) for name in columns}
    assert [gap.constants for gap in P2Law.unidentified(joined, {})] == ["gamma and delta"]
    assert P2Law.unidentified(joined, {"delta": 0.0}) == ()


def test_what_dense_runs_leave_open():
    def gaps(sizes, tokens, fixed):
        n, d = (a.ravel() for a in np.meshgrid(sizes, tokens))
        return [(g.got, g.constants) for g in HoffmannLaw.unidentified({"n_params_total": n, "n_tokens": d}, fixed)]

    assert gaps([1e6, 2e6, 3e6], [1e8, 2e8, 3e8], {}) == []
    assert gaps([1e6, 2e6], [1e8, 2e8, 3e8], {}) == [("2 model sizes", "one of A, alpha, E")]
    assert gaps([1e6, 2e6], [1e8, 2e8], {}) == [("2 model sizes", "one of A, alpha, E"), ("2 token counts", "one of B, beta, E")]
    assert gaps([1e6, 2e6], [1e8, 2e8], {"E": 1.7}) == []
