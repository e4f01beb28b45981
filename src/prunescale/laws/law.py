"""What a law offers to whoever fits it or plans with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Bound:
    """Where a constant may lie, where a search starts, and whether it is searched by its logarithm.

    A constant searched by its logarithm is a factor: it may also be 0, which drops its term. `off` is the value that a constant
    can be held at to take it out of the law, where there is one. `role` says in a phrase what the constant stands for.
    """

    low: float
    high: float
    start: tuple[float, float]
    log: bool = False
    off: float | None = None
    role: str = ""


class Law:
    """A formula for the loss in nats per token: a frozen dataclass whose fields are the constants, in the order of `bounds`.

    The inputs of `loss` and `gradient` are columns, by the names that the runs' table gives them; numbers do as well as arrays.
    An array in the place of a constant works too where it broadcasts, so that many candidates are evaluated at once. Every column
    must be positive, except that those in `may_be_zero` may also be 0. What a law adds to a column of its own (a loss before pruning,
    or of a control) is proportional to its `amplitudes`, all together.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    bounds: ClassVar[Mapping[str, Bound]]
    may_be_zero: ClassVar[tuple[str, ...]] = ()
    amplitudes: ClassVar[tuple[str, ...]] = ()

    def loss(self, *args: Any, **columns: Any) -> Any:
        """Nats per token, one for each point."""
        raise NotImplementedError

    def gradient(self, *args: Any, **columns: Any) -> tuple[Any, ...]:
        """Derivative of the loss by each constant, in the order of `bounds`; each broadcasts against the loss."""
        raise NotImplementedError

    @classmethod
    def from_constants(cls, constants: Mapping[str, Any]) -> Self:
        """The law with these constants, by name."""
        return cls(**constants)

    def constants(self) -> dict[str, float]:
        """The constants by name."""
        return {name: getattr(self, name) for name in self.bounds}

    def predict(self, columns: Columns) -> np.ndarray:
        """The loss of each row of a table, which may have more columns than the law needs."""
        return self.loss(**{name: columns[name] for name in self.columns})

    def derivatives(self, columns: Columns) -> tuple[Any, ...]:
        """The gradient for each row of a table."""
        return self.gradient(**{name: columns[name] for name in self.columns})

    def jacobian(self, columns: Columns) -> np.ndarray:
        """The gradient for each row of a table as one array, (points, constants)."""
        shape = np.shape(columns[self.columns[0]])
        return np.stack([np.broadcast_to(part, shape) for part in self.derivatives(columns)], axis=-1)
