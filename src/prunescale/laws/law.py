"""What a law offers to whoever fits it or plans with it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Bound:
    """Where a constant may lie, where a search starts, and whether it is searched by its logarithm."""

    low: float
    high: float
    start: tuple[float, float]
    log: bool = False


@dataclass(frozen=True)
class Gap:
    """Constants that the runs at hand cannot determine, however little noise they have. All parts but `fix` are for people."""

    got: str  # what there is too little of: "1 model size"
    constants: str  # what that leaves open: "delta and two of N_C, alpha, E"
    n_open: int  # how many of them: 3
    add: str  # the runs that would help: "runs of another size"
    fix: Mapping[str, float]  # constants whose fixing helps too; empty where no value suggests itself


class Law:
    """A formula for the loss in nats per token: a frozen dataclass whose fields are the constants, in the order of `bounds`.

    The inputs of `loss` and `gradient` are columns, by the names that the runs' table gives them; numbers do as well as arrays.
    An array in the place of a constant works too where it broadcasts, so that many candidates are evaluated at once.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    bounds: ClassVar[Mapping[str, Bound]]

    def loss(self, *args: Any, **columns: Any) -> Any:
        """Nats per token, one for each point."""
        raise NotImplementedError

    def gradient(self, *args: Any, **columns: Any) -> np.ndarray:
        """Derivative of the loss by each constant, (points, constants)."""
        raise NotImplementedError

    @classmethod
    def unidentified(cls, columns: Columns, fixed: Mapping[str, float]) -> tuple[Gap, ...]:
        """What these columns leave open when the constants in `fixed` are given."""
        raise NotImplementedError

    @classmethod
    def from_constants(cls, constants: Mapping[str, Any]) -> Self:
        """The law with these constants, by name."""
        return cls(**constants)

    def constants(self) -> dict[str, float]:
        """The constants by name."""
        return asdict(self)  # type: ignore[call-overload]  # every law is a dataclass

    def predict(self, columns: Columns) -> np.ndarray:
        """The loss of each row of a table, which may have more columns than the law needs."""
        return self.loss(**{name: columns[name] for name in self.columns})

    def jacobian(self, columns: Columns) -> np.ndarray:
        """The gradient for each row of a table."""
        return self.gradient(**{name: columns[name] for name in self.columns})
