"""One law, one objective and some points: what a solver sees, for many candidates at once.

A solver moves in coordinates: the constants themselves, but for factors, which are searched by their logarithm, where a factor
of zero lies at minus infinity. Where nothing else is said, an array of coordinates is (candidates, constants), in the
order of the law's bounds, and an array of losses or weights (candidates, points), or (points,) where they share it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from prunescale.fitting.objective import OBJECTIVES, Objective
from prunescale.fitting.points import Points
from prunescale.laws import Columns, Law

LOST = 1e200  # the cost where a law has no value: worse than any, and yet a number
CHUNK = 1 << 15  # points times candidates evaluated at a time: their arrays fit a core's cache


@dataclass(frozen=True)
class Local:
    """An objective around some candidates: its value, its slope, and two matrices of its second derivative by the free coordinates.

    newton leaves out the curvature of the law itself, which counts little where residuals are small or of both signs. majorant
    is that of the squared loss which touches the objective here: a step by it never overshoots.
    """

    cost: np.ndarray  # (candidates,)
    slope: np.ndarray  # (candidates, free)
    newton: np.ndarray  # (candidates, free, free)
    majorant: np.ndarray


@dataclass(frozen=True)
class Problem:
    """The constants in `fixed` are given; the others are free between their bounds."""

    law: type[Law]
    points: Points
    objective: str
    fixed: Mapping[str, float]

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(self.law.bounds)

    @cached_property
    def free(self) -> np.ndarray:
        """Which constants are searched; (constants,)."""
        return np.array([name not in self.fixed for name in self.names])

    @cached_property
    def logarithmic(self) -> np.ndarray:
        return np.array([bound.log for bound in self.law.bounds.values()])

    @cached_property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest coordinates."""
        low, high = np.array([(bound.low, bound.high) for bound in self.law.bounds.values()], dtype=float).T
        return self.coordinates(low), self.coordinates(high)

    @cached_property
    def start_box(self) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates between which a search starts; those of a fixed constant are its own."""
        ends = [(self.fixed.get(n, b.start[0]), self.fixed.get(n, b.start[1])) for n, b in self.law.bounds.items()]
        low, high = np.array(ends, dtype=float).T
        return self.coordinates(low), self.coordinates(high)

    def coordinates(self, constants: np.ndarray) -> np.ndarray:
        """Of constants, along the last axis; a factor of zero lies at minus infinity."""
        with np.errstate(divide="ignore"):
            return np.where(self.logarithmic, np.log(np.where(self.logarithmic, constants, 1.0)), constants)

    def constants(self, coordinates: np.ndarray) -> np.ndarray:
        return np.where(self.logarithmic, np.exp(np.where(self.logarithmic, coordinates, 0.0)), coordinates)

    def law_at(self, coordinates: np.ndarray) -> Law:
        """The law at a position, or a law of many candidates, whose constants broadcast against points."""
        values = np.moveaxis(self.constants(coordinates), -1, 0)
        many = coordinates.ndim > 1
        return self.law.from_constants({n: v[:, None] if many else float(v) for n, v in zip(self.names, values, strict=True)})

    def cost(self, coordinates: np.ndarray, loss: np.ndarray | None = None, weight: np.ndarray | None = None) -> np.ndarray:
        """The objective of each candidate; (candidates,)."""
        total = np.zeros(len(coordinates))
        for rows, z, columns, y, w in self._chunks(coordinates, loss, weight):
            with np.errstate(all="ignore"):
                residual = self.terms.residual(self.law_at(z).predict(columns), y)
            total[rows] += np.sum(w * self.terms.rho(residual), axis=1)
        return np.where(np.isfinite(total), np.minimum(total, LOST), LOST)

    def local(
        self,
        coordinates: np.ndarray,
        loss: np.ndarray | None = None,
        weight: np.ndarray | None = None,
        free: np.ndarray | None = None,
    ) -> Local:
        """The objective around each candidate; `free` says which coordinates move (default: those not fixed)."""
        free = self.free if free is None else free
        n, q = len(coordinates), int(np.sum(free))
        cost, slope, newton, majorant = np.zeros(n), np.zeros((n, q)), np.zeros((n, q, q)), np.zeros((n, q, q))
        for rows, z, columns, y, w in self._chunks(coordinates, loss, weight):
            law = self.law_at(z)
            with np.errstate(all="ignore"):  # where a law has no value, the cost below says so
                predicted = law.predict(columns)
                r = self.terms.residual(predicted, y)
                J = self._jacobian(law, z, columns, free, self.terms.slope(predicted))
            r, J, lost = _without_holes(r, J)
            cost[rows] += np.where(lost, LOST, np.sum(w * self.terms.rho(r), axis=1))
            slope[rows] += (J @ (w * self.terms.influence(r))[:, :, None])[:, :, 0]
            majorant[rows] += _product(J, w * self.terms.weight(r))
            if self.robust:
                newton[rows] += _product(J, w * self.terms.curvature(r))
        return Local(cost, slope, newton if self.robust else majorant, majorant)

    @property
    def terms(self) -> Objective:
        return OBJECTIVES[self.objective]

    @property
    def robust(self) -> bool:
        """Whether rho is another function than a square, so that its two matrices differ."""
        return self.terms.weight is not np.ones_like

    def _chunks(self, coordinates: np.ndarray, loss: np.ndarray | None, weight: np.ndarray | None) -> Iterator[tuple]:
        """Rows of candidates, their coordinates, and columns, loss and weight of some points, small enough for a core's cache."""
        loss = self.points.loss if loss is None else loss
        weight = self.points.weight if weight is None else weight
        n_points = len(self.points.loss)
        width = min(n_points, CHUNK // 2)
        height = max(1, CHUNK // width)
        for left in range(0, n_points, width):
            some = slice(left, left + width)
            columns = {name: self.points.columns[name][some] for name in self.law.columns}
            for top in range(0, len(coordinates), height):
                rows = slice(top, top + height)
                yield rows, coordinates[rows], columns, _part(loss, rows, some), _part(weight, rows, some)

    def _jacobian(self, law: Law, z: np.ndarray, columns: Columns, free: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """Derivative of each residual by each free coordinate; (candidates, free, points)."""
        stretch = np.where(self.logarithmic, self.constants(z), 1.0)
        J = np.empty((len(z), int(np.sum(free)), slope.shape[1]))
        parts = law.derivatives(columns)
        for row, index in enumerate(np.flatnonzero(free)):
            np.multiply(parts[index], stretch[:, index, None], out=J[:, row])
        J *= slope[:, None, :]
        return J

    def scores(self, coordinates: np.ndarray, free: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """At one position: each residual, and its derivative by each free coordinate, (points,) and (points, free)."""
        free, z = self.free if free is None else free, coordinates[None]
        law = self.law_at(z)
        predicted = law.predict(self.points.columns)
        J = self._jacobian(law, z, self.points.columns, free, self.terms.slope(predicted))
        return self.terms.residual(predicted, self.points.loss)[0], J[0].T


def _without_holes(r: np.ndarray, J: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residuals and their derivatives with 0 in the place of what is no number, and which candidates had such, (candidates,)."""
    if np.isfinite(np.sum(r)) and np.isfinite(np.sum(J)):
        return r, J, np.zeros(len(r), dtype=bool)
    bad = ~(np.isfinite(r) & np.all(np.isfinite(J), axis=1))
    return np.where(bad, 0.0, r), np.where(bad[:, None], 0.0, J), bad.any(axis=1)


def _product(J: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """J W J^T of each candidate; (candidates, free, free)."""
    return (J * weight[:, None, :]) @ J.transpose(0, 2, 1)


def _part(values: np.ndarray, rows: slice, some: slice) -> np.ndarray:
    return values[some] if values.ndim == 1 else values[rows, some]
