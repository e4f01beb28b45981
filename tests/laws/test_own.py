"""A user's own law: the same as ours where it says the same, whatever the function takes, and refused in one line where it cannot be."""

import math
import warnings

import numpy as np
import pytest

from prunescale.errors import FitError
from prunescale.laws import Bound, HoffmannLaw, law_from_file, own_law
from tests.laws.draws import constants, one, points

BOUNDS = {"E": (0.0, 20.0), "A": (1.0, 1e5), "alpha": (0.05, 1.0), "B": (1.0, 1e5), "beta": (0.05, 1.0)}


def arrays(n_params_total, n_tokens, E, A, alpha, B, beta):
    """L = E + A/N^alpha + B/D^beta"""
    return E + A * n_params_total**-alpha + B * n_tokens**-beta


def numbers_only(n_params_total, n_tokens, *, E, A, alpha, B, beta):
    return E + A * math.exp(-alpha * math.log(n_params_total)) + B * math.exp(-beta * math.log(n_tokens))


def constants_as_numbers(n_params_total, n_tokens, *, E, A, alpha, B, beta):
    if alpha < 0:
        return n_tokens * math.nan
    return E + A * n_params_total**-alpha + B * n_tokens**-beta


def columns_as_numbers(n_params_total, n_tokens, *, E, A, alpha, B, beta):
    size = 0.0 if n_params_total < 0 else A * n_params_total**-alpha
    return E + size + B * n_tokens**-beta


def without_complex(n_params_total, n_tokens, *, E, A, alpha, B, beta):
    return E + np.abs(A) * n_params_total ** -np.abs(alpha) + B * n_tokens ** -np.asarray(beta, dtype=float)


KINDS = [arrays, numbers_only, constants_as_numbers, columns_as_numbers, without_complex]
each_kind = pytest.mark.parametrize("function", KINDS, ids=lambda function: function.__name__)
CANDIDATES = constants(own_law(arrays, BOUNDS), 4)


@each_kind
def test_a_function_is_the_law_that_it_says(function):
    law, columns = own_law(function, BOUNDS), points(HoffmannLaw)
    assert law.columns == HoffmannLaw.columns
    ours = HoffmannLaw(**CANDIDATES)
    with warnings.catch_warnings(action="error"):
        np.testing.assert_allclose(law(**CANDIDATES).predict(columns), ours.predict(columns), rtol=1e-13)
        many = [np.broadcast_to(part, (4, 20)) for part in law(**CANDIDATES).derivatives(columns)]
    exact = function in (arrays, constants_as_numbers, columns_as_numbers)
    for mine, theirs in zip(many, ours.derivatives(columns), strict=True):
        # Central differences: the losses are rounded to 1e-16 and divided by a step of 6e-6 of the constant.
        np.testing.assert_allclose(mine, np.broadcast_to(theirs, (4, 20)), rtol=1e-13 if exact else 1e-6)


@each_kind
def test_many_candidates_at_once_equal_one_at_a_time(function):
    law, columns = own_law(function, BOUNDS), points(HoffmannLaw)
    many = law(**CANDIDATES)
    alone = [law(**one(CANDIDATES, i)) for i in range(4)]
    np.testing.assert_allclose(many.predict(columns), [each.predict(columns) for each in alone], rtol=1e-14)
    slopes = np.stack([np.broadcast_to(part, (4, 20)) for part in many.derivatives(columns)], axis=-1)
    np.testing.assert_allclose(slopes, [each.jacobian(columns) for each in alone], rtol=1e-6)


def test_numbers_do_as_well_as_arrays():
    law = own_law(numbers_only, BOUNDS)(**one(CANDIDATES, 0))
    assert law.loss(1e8, 1e9) == law.loss(n_params_total=1e8, n_tokens=1e9) == HoffmannLaw(**one(CANDIDATES, 0)).loss(1e8, 1e9)
    np.testing.assert_allclose(law.gradient(1e8, 1e9), HoffmannLaw(**one(CANDIDATES, 0)).gradient(1e8, 1e9), rtol=1e-6)


def test_no_points_have_no_losses():
    law = own_law(arrays, BOUNDS)(**one(CANDIDATES, 0))
    nothing = {"n_params_total": np.empty(0), "n_tokens": np.empty(0)}
    assert law.predict(nothing).shape == (0,)
    assert law.jacobian(nothing).shape == (0, 5)


def test_a_law_is_that_of_each_point_even_where_its_function_looks_at_all_of_them():
    # The mean over one point is that point: the function as a law is a + b.
    law = own_law(lambda n_tokens, *, a, b: a + b * n_tokens / np.mean(n_tokens), {"a": (0.0, 1.0), "b": (0.0, 1.0)})
    np.testing.assert_array_equal(law(a=1.0, b=0.5).loss(n_tokens=np.array([1.0, 2.0, 4.0])), [1.5, 1.5, 1.5])


def test_where_a_function_overflows_or_divides_by_zero_its_loss_is_not_a_number():
    law = own_law(lambda n_tokens, *, a: math.exp(a * n_tokens), {"a": (0.0, 1.0)})
    np.testing.assert_array_equal(law(a=1.0).loss(n_tokens=np.array([0.0, 1e9])), [1.0, np.nan])


def test_what_a_function_raises_for_numbers_is_raised():
    def broken(n_tokens, *, a):
        raise ValueError("no tokens today")

    with pytest.raises(ValueError, match="no tokens today"):
        own_law(broken, {"a": (0.0, 1.0)})(a=0.5).loss(n_tokens=np.ones(3))


def test_a_derivative_on_a_bound_stays_within_it():
    # sqrt(a) means nothing below 0, max(a, 0) has no derivative there: to the right of 0 it has.
    law = own_law(lambda n_tokens, *, a: n_tokens * max(float(a), 0.0), {"a": (0.0, 1.0)})
    (slope,) = law(a=0.0).gradient(n_tokens=np.array([1.0, 2.0]))
    np.testing.assert_allclose(slope, [1.0, 2.0], rtol=1e-9)


def test_a_factor_of_zero_has_its_derivative():
    factor = {**BOUNDS, "A": Bound(1e-4, 1e14, start=(1.0, 1e6), log=True)}
    columns, at_zero = points(HoffmannLaw), one(CANDIDATES, 0) | {"A": 0.0}
    for function in KINDS:
        slope = own_law(function, factor)(**at_zero).derivatives(columns)[1]
        np.testing.assert_allclose(slope, HoffmannLaw(**at_zero).derivatives(columns)[1], rtol=1e-5)


def test_bounds_say_what_is_a_constant_and_a_default_stays():
    def scaled(n_tokens, my_column, *, E, B, unit=1e6):
        """L = E + B unit/D + mine"""
        return E + B * unit / n_tokens + my_column

    law = own_law(scaled, {"E": (0.0, 4.0), "B": Bound(1e-3, 1e3, start=(1e-1, 1e1), log=True)}, may_be_zero=("my_column",))
    assert law.columns == ("n_tokens", "my_column")
    assert law.bounds["E"] == Bound(0.0, 4.0, start=(1.0, 3.0))
    assert (law.name, law.formula, law.may_be_zero) == ("scaled", "L = E + B unit/D + mine", ("my_column",))
    assert law(E=1.0, B=2.0).loss(n_tokens=1e6, my_column=0.5) == 3.5
    assert law(E=1.0, B=2.0) == law.from_constants({"E": 1.0, "B": 2.0}) != law(E=1.0, B=3.0)
    assert law(E=1.0, B=2.0).constants() == {"E": 1.0, "B": 2.0}


@pytest.mark.parametrize(
    ("function", "bounds", "message"),
    [
        (lambda *d, a: a, {"a": (0, 1)}, "<lambda> has the parameter *d: a law needs each column and constant by its own name."),
        (lambda d, **a: d, {"a": (0, 1)}, "<lambda> has the parameter **a: a law needs each column and constant by its own name."),
        (lambda d, /, a: d, {"a": (0, 1)}, "<lambda> has the parameter d: a law needs each column and constant by its own name."),
        (lambda d, a: d, {"a": (0, 1), "b": (0, 1)}, "A bound is given for b, but <lambda> has only the parameters d, a."),
        (lambda a: a, {"a": (0, 1)}, "<lambda> has no column: each of its parameters has a bound or a default."),
        (lambda d: d, {}, "<lambda> has no constants: give bounds for those of its parameters that are to be found."),
        (lambda d, loss: d, {"loss": (0, 1)}, "A constant cannot be called loss, which a law has already; give it another name."),
        (lambda d, name: d, {"name": (0, 1)}, "A constant cannot be called name, which a law has already; give it another name."),
        (lambda d, a: d, {"a": 1}, "The bound of a must be its least and greatest value, or a Bound; got 1."),
        (lambda d, a: d, {"a": (2, 1)}, "The bounds of a must be finite and in order, least, start, greatest; got 2, 1.75, 1.25, 1."),
        (
            lambda d, a: d,
            {"a": Bound(0.0, 1.0, start=(0.1, 0.5), log=True)},
            "The bound of a is searched by its logarithm and must be positive; got 0.",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_a_law_is_refused_in_one_line(function, bounds, message):
    with pytest.raises(FitError) as refusal:
        own_law(function, bounds)
    assert str(refusal.value) == message


LAW_FILE = """
import numpy as np

BOUNDS = {"E": (0.0, 4.0), "B": (0.0, 100.0)}
saturating_BOUNDS = {"E": (0.0, 4.0), "tau": (1.0, 1e3)}
MAY_BE_ZERO = ("n_tokens",)
n = 3

def inverse(n_tokens, *, E, B):
    return E + B / (n_tokens + 1)

def saturating(n_tokens, *, E, tau):
    return E + np.exp(-n_tokens / tau)
"""


def test_a_law_from_a_file(tmp_path):
    path = tmp_path / "laws.py"
    path.write_text(LAW_FILE)
    inverse, saturating = (law_from_file(f"{path}:{name}") for name in ("inverse", "saturating"))
    assert inverse(E=1.0, B=4.0).loss(n_tokens=1.0) == 3.0
    assert saturating(E=1.0, tau=2.0).loss(n_tokens=0.0) == 2.0
    assert tuple(saturating.bounds) == ("E", "tau")
    assert inverse.may_be_zero == ("n_tokens",)
    assert inverse.source == f"{path}:inverse"


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        (LAW_FILE, "{path}", "A law in a file is given as path/to/file.py:function, got {path}."),
        (None, "{path}:f", "There is no file {path}; a law in a file is given as path/to/file.py:function."),
        ("1/0", "{path}:f", "{path} cannot be run: ZeroDivisionError: division by zero."),
        (LAW_FILE, "{path}:n", "{path} has no function n; its functions are inverse, saturating."),
        ("", "{path}:f", "{path} has no function f; its functions are none."),
        (
            "def f(n_tokens, a):\n    return a",
            "{path}:f",
            "{path} has no dict BOUNDS or f_BOUNDS: give each constant's least and greatest value there.",
        ),
    ],
)
def test_a_file_without_a_law_is_refused_in_one_line(tmp_path, text, where, message):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FitError) as refusal:
        law_from_file(where.format(path=path))
    assert str(refusal.value) == message.format(path=path)
