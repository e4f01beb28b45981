"""Derivatives of a function by its constants where nobody wrote them down."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.exceptions import ComplexWarning

from prunescale.laws.law import Bound
from prunescale.laws.pointwise import REFUSALS, evaluate

IMAGINARY = 1e-100  # so small that its square vanishes, which makes the derivative exact
RELATIVE_STEP = 6e-6  # the cube root of the rounding error: where it and the curvature of a central difference balance
SMALL = 1e-3  # of a range: nearer to 0 than this, steps grow no smaller
N_COMPARED = 5  # points at which the two kinds of derivative are held against each other
SAME = 1e-3  # relative


def derivative(
    function: Callable[..., Any], columns: Mapping[str, Any], constants: Mapping[str, Any], bounds: Mapping[str, Bound]
) -> tuple[Any, ...]:
    """Of the function by each constant, for all points and candidates.

    By complex step, f'(x) = Im f(x + ih)/h, which has no difference to lose digits in and is exact to rounding. It needs a
    function that takes complex numbers and is smooth in them, which abs, say, is not: so at a few points it is compared with central
    differences. Where it cannot be had or they disagree, the derivatives are central differences, good to about nine
    digits; on a bound they are one-sided, good to about five.
    """
    exact = _complex_step(function, columns, constants)
    if exact is not None and _agree(function, columns, constants, bounds, exact):
        return exact
    return _central(function, columns, constants, bounds)


def _complex_step(
    function: Callable[..., Any], columns: Mapping[str, Any], constants: Mapping[str, Any]
) -> tuple[np.ndarray, ...] | None:
    """None where the function refuses complex numbers."""
    moved = ({**constants, name: value + 1j * IMAGINARY} for name, value in constants.items())
    try:
        with warnings.catch_warnings(action="error", category=ComplexWarning):  # float(), say, drops the imaginary part
            return tuple(np.imag(evaluate(function, columns, each, complex)) / IMAGINARY for each in moved)
    except (*REFUSALS, ComplexWarning):
        return None


def _central(
    function: Callable[..., Any], columns: Mapping[str, Any], constants: Mapping[str, Any], bounds: Mapping[str, Bound]
) -> tuple[Any, ...]:
    parts = []
    for name, value in constants.items():
        down, up = _steps(value, bounds[name])
        below, above = (evaluate(function, columns, {**constants, name: end}) for end in (down, up))
        parts.append((above - below) / (up - down))
    return tuple(parts)


def _steps(value: Any, bound: Bound) -> tuple[Any, Any]:
    """A little below and above, but not beyond a bound, beyond which the function may mean nothing."""
    low, size = bound.low, np.maximum(np.abs(value), SMALL * (bound.high - bound.low))
    if bound.log:
        low, size = 0.0, np.where(np.equal(value, 0), bound.start[0], value)
    step = RELATIVE_STEP * size
    down, up = value - step, value + step
    return np.where((down < low) & (value >= low), value, down), np.where((up > bound.high) & (value <= bound.high), value, up)


def _agree(
    function: Callable[..., Any],
    columns: Mapping[str, Any],
    constants: Mapping[str, Any],
    bounds: Mapping[str, Bound],
    exact: tuple[np.ndarray, ...],
) -> bool:
    """Whether the exact derivatives are, at a few points, those that central differences give."""
    shape = np.broadcast_shapes(*(np.shape(value) for value in (*columns.values(), *constants.values())))
    n = int(np.prod(shape))
    for flat in sorted({i * (n - 1) // (N_COMPARED - 1) for i in range(N_COMPARED)}) if n else ():
        index = np.unravel_index(flat, shape)
        point, candidate = (_at(inputs, shape, index) for inputs in (columns, constants))
        rough = np.array(_central(function, point, candidate, bounds))
        found = np.array([np.broadcast_to(part, shape)[index] for part in exact])
        # A difference over a step h carries the rounding of the two losses, about 1e-16 of them / h.
        steps = [np.subtract(*_steps(candidate[name], bounds[name])[::-1]) for name in constants]
        rounding = 1e-14 * np.abs(evaluate(function, point, candidate)) / np.array(steps)
        if not np.all(np.abs(found - rough) <= SAME * np.abs(rough) + rounding):
            return False
    return True


def _at(inputs: Mapping[str, Any], shape: tuple[int, ...], index: Any) -> dict[str, Any]:
    return {name: np.broadcast_to(value, shape)[index] for name, value in inputs.items()}
