"""A user's own law: a Python function and the bounds of its constants, made into a law like any other."""

import inspect
import runpy
from collections.abc import Callable, Mapping
from dataclasses import make_dataclass
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar

from prunescale.errors import FitError
from prunescale.laws.derivative import derivative
from prunescale.laws.law import Bound, Law
from prunescale.laws.pointwise import evaluate


class OwnLaw(Law):
    """A law whose loss is a function of columns and constants, all of them passed by name."""

    function: ClassVar[Callable[..., Any]]

    def loss(self, *args: Any, **columns: Any) -> Any:
        return evaluate(self.function, self._by_name(args, columns), self.constants())

    def gradient(self, *args: Any, **columns: Any) -> tuple[Any, ...]:
        """Exact to rounding where the function takes complex numbers, else to about nine digits, on a bound to about five."""
        return derivative(self.function, self._by_name(args, columns), self.constants(), self.bounds)

    def _by_name(self, args: tuple[Any, ...], columns: Mapping[str, Any]) -> dict[str, Any]:
        return dict(zip(self.columns, args, strict=False)) | dict(columns)


def own_law(
    function: Callable[..., Any],
    bounds: Mapping[str, Bound | tuple[float, float]],
    *,
    name: str | None = None,
    title: str | None = None,
    formula: str | None = None,
    source: str = "a user's own law",
    may_be_zero: tuple[str, ...] = (),
) -> type[Law]:
    """A law from a function that returns the loss of one point, in nats per token, given its columns and the constants.

    Parameters that `bounds` names are constants; the others are columns by their names, in their order, but one that has a default
    keeps it. A bound is a `Bound`, or the least and the greatest value: the search then begins in the middle half between them.
    The function must take numbers. Where it takes NumPy arrays too, many points and candidates are evaluated at once.
    """
    parameters = _parameters(function)
    constants = {constant: _bound(constant, bound) for constant, bound in bounds.items()}
    columns = tuple(p.name for p in parameters if p.name not in constants and p.default is p.empty)
    name = name or function.__name__.replace("_", "-")
    _refuse_mismatch(function.__name__, [p.name for p in parameters], constants, columns, may_be_zero)
    described = {
        "function": staticmethod(function),
        "name": name,
        "title": title or f"law {name}",
        "formula": formula or _first_line(function) or f"{function.__name__}({', '.join(p.name for p in parameters)})",
        "source": source,
        "columns": columns,
        "bounds": constants,
        "may_be_zero": may_be_zero,
        "__doc__": function.__doc__,
    }
    return make_dataclass(function.__name__, [(c, float) for c in constants], bases=(OwnLaw,), namespace=described, frozen=True)


def law_from_file(where: str) -> type[Law]:
    """The law `path/to/file.py:function`, with the bounds that the file has as `function_BOUNDS` or `BOUNDS`. Runs the file.

    The columns that may be 0, where there are any, are listed in the file as `function_MAY_BE_ZERO` or `MAY_BE_ZERO`.
    """
    path, colon, function_name = where.rpartition(":")
    if not colon or not path or not function_name:
        raise FitError(f"A law in a file is given as path/to/file.py:function, got {where}.")
    if not Path(path).is_file():
        raise FitError(f"There is no file {path}; a law in a file is given as path/to/file.py:function.")
    try:
        module = runpy.run_path(path, run_name=Path(path).stem)
    except Exception as error:  # whatever the user's file does
        raise FitError(f"{path} cannot be run: {type(error).__name__}: {error}.") from error
    function = module.get(function_name)
    if not inspect.isfunction(function):
        functions = [name for name, value in module.items() if inspect.isfunction(value)]
        raise FitError(f"{path} has no function {function_name}; its functions are {', '.join(functions) or 'none'}.")
    bounds = module.get(f"{function_name}_BOUNDS", module.get("BOUNDS"))
    if not isinstance(bounds, Mapping):
        raise FitError(
            f"{path} has no dict BOUNDS or {function_name}_BOUNDS: give each constant's least and greatest value there."
        )
    may_be_zero = module.get(f"{function_name}_MAY_BE_ZERO", module.get("MAY_BE_ZERO", ()))
    return own_law(function, bounds, source=where, may_be_zero=tuple(may_be_zero))


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = list(inspect.signature(function).parameters.values())
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY):
            raise FitError(f"{function.__name__} has the parameter {p}: a law needs each column and constant by its own name.")
    return parameters


def _bound(constant: str, bound: Bound | tuple[float, float]) -> Bound:
    if not isinstance(bound, Bound):
        try:
            low, high = (float(end) for end in bound)
        except (TypeError, ValueError):
            raise FitError(f"The bound of {constant} must be its least and greatest value, or a Bound; got {bound!r}.") from None
        bound = Bound(low, high, start=(low + (high - low) / 4, high - (high - low) / 4))
    ends = (bound.low, *bound.start, bound.high)
    if not all(isfinite(end) for end in ends) or not bound.low <= bound.start[0] < bound.start[1] <= bound.high:
        raise FitError(
            f"The bounds of {constant} must be finite and in order, least, start, greatest; got {', '.join(f'{e:g}' for e in ends)}."
        )
    if bound.log and bound.low <= 0:
        raise FitError(f"The bound of {constant} is searched by its logarithm and must be positive; got {bound.low:g}.")
    return bound


def _refuse_mismatch(
    function: str, parameters: list[str], constants: Mapping[str, Bound], columns: tuple[str, ...], may_be_zero: tuple[str, ...]
) -> None:
    if not constants:
        raise FitError(f"{function} has no constants: give bounds for those of its parameters that are to be found.")
    for constant in constants:
        if constant not in parameters:
            raise FitError(f"A bound is given for {constant}, but {function} has only the parameters {', '.join(parameters)}.")
        if hasattr(OwnLaw, constant) or constant in OwnLaw.__annotations__ | Law.__annotations__:
            raise FitError(f"A constant cannot be called {constant}, which a law has already; give it another name.")
    if not columns:
        raise FitError(f"{function} has no column: each of its parameters has a bound or a default.")
    for column in may_be_zero:
        if column not in columns:
            raise FitError(f"{column} may be zero, but {function} has only the columns {', '.join(columns)}.")


def _first_line(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]
