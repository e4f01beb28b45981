"""A function of one point, evaluated for many: at once where it takes arrays, else candidate by candidate or point by point."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

REFUSALS = (TypeError, ValueError)  # what math.exp, `if`, max and float say to an array
SAME = 1e-9

Inputs = Mapping[str, Any]  # arrays and NumPy's numbers by name
Shape = tuple[int, ...]


def evaluate(function: Callable[..., Any], columns: Mapping[str, Any], constants: Mapping[str, Any], dtype: type = float) -> Any:
    """The function for all points and candidates; constants are numbers, or (candidates, 1) against columns (points,).

    By definition that is its value for the numbers of each point. Arrays are only tried because they are faster: a function that
    refuses them is called in smaller portions, and so is one that gives another answer for arrays, as one that takes a mean
    over the points would. What it raises when called with numbers is raised; where it overflows or divides by zero, it is nan.
    """
    inputs = {name: np.asarray(value)[()] for name, value in {**columns, **constants}.items()}
    shape = np.broadcast_shapes(*(np.shape(value) for value in inputs.values()))
    if shape == ():
        return _at(function, inputs, shape, (), dtype)
    for portions in (_everything, _each_candidate)[: len(shape)]:
        try:
            with np.errstate(all="ignore"):
                values = portions(function, inputs, shape, dtype)
        except REFUSALS:
            continue
        if _agrees(function, inputs, values, dtype):
            return values
    return _each_point(function, inputs, shape, dtype)


def _everything(function: Callable[..., Any], inputs: Inputs, shape: Shape, dtype: type) -> np.ndarray:
    return np.broadcast_to(np.asarray(function(**inputs), dtype), shape)


def _each_candidate(function: Callable[..., Any], inputs: Inputs, shape: Shape, dtype: type) -> np.ndarray:
    """Row by row of the answer, so that its constants are numbers."""
    values: np.ndarray = np.empty(shape, dtype)
    for row in range(shape[0]):
        values[row] = function(**{name: _row(value, row) for name, value in inputs.items()})
    return values


def _row(value: Any, row: int) -> Any:
    if np.ndim(value) < 2:
        return value
    of_row = value[row if len(value) > 1 else 0]
    return of_row[0] if len(of_row) == 1 else of_row


def _each_point(function: Callable[..., Any], inputs: Inputs, shape: Shape, dtype: type) -> np.ndarray:
    values: np.ndarray = np.empty(shape, dtype)
    wide = {name: np.broadcast_to(value, shape) for name, value in inputs.items()}
    for index in np.ndindex(shape):
        values[index] = _at(function, wide, shape, index, dtype)
    return values


def _at(function: Callable[..., Any], inputs: Inputs, shape: Shape, index: Shape, dtype: type) -> Any:
    """The function of the numbers of one point."""
    numbers = {name: np.broadcast_to(value, shape)[index] for name, value in inputs.items()}
    try:
        with np.errstate(all="ignore"):
            return np.asarray(function(**numbers), dtype)[()]
    except ArithmeticError:
        return np.asarray(np.nan, dtype)[()]


def _agrees(function: Callable[..., Any], inputs: Inputs, values: np.ndarray, dtype: type) -> bool:
    """Whether the first and the last value are those of the numbers of their points."""
    if not values.size:
        return True
    ends = [(0,) * values.ndim, tuple(length - 1 for length in values.shape)]
    alone = [_at(function, inputs, values.shape, end, dtype) for end in ends]
    return np.allclose([values[end] for end in ends], alone, rtol=SAME, atol=SAME, equal_nan=True)
