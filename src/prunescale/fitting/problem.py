"""One law, one objective, some points and some fixed constants: what a solver sees."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from prunescale.fitting.objective import OBJECTIVES
from prunescale.fitting.points import Points
from prunescale.fitting.space import Space
from prunescale.laws import Law


@dataclass(frozen=True)
class Problem:
    """The residuals of a law at some points, as a function of its free constants given as fractions of their ranges."""

    law: type[Law]
    points: Points
    objective: str
    fixed: Mapping[str, float]

    @property
    def space(self) -> Space:
        return Space({name: bound for name, bound in self.law.bounds.items() if name not in self.fixed})

    def law_at(self, fractions: np.ndarray) -> Law:
        """The law at a position, or, from (candidates, constants), a law of many candidates that broadcasts against points."""
        values = np.moveaxis(self.space.constants(fractions), -1, 0)
        free = {name: v[..., None] if fractions.ndim > 1 else float(v) for name, v in zip(self.space.bounds, values, strict=True)}
        return self.law.from_constants({name: free.get(name, self.fixed.get(name)) for name in self.law.bounds})

    def residual(self, fractions: np.ndarray) -> np.ndarray:
        """One for each point; (candidates, points) from (candidates, constants)."""
        predicted = self.law_at(fractions).predict(self.points.columns)
        return OBJECTIVES[self.objective].residual(predicted, self.points.loss)

    def jacobian_by_constant(self, law: Law) -> np.ndarray:
        """Derivative of each residual by each free constant; (points, free constants)."""
        slope = OBJECTIVES[self.objective].slope(law.predict(self.points.columns))
        free = [name not in self.fixed for name in self.law.bounds]
        return slope[:, None] * law.jacobian(self.points.columns)[:, free]

    def jacobian(self, fractions: np.ndarray) -> np.ndarray:
        """Derivative of each residual by each fraction."""
        return self.jacobian_by_constant(self.law_at(fractions)) * self.space.slope(fractions)

    def cost(self, fractions: np.ndarray) -> float:
        """The sum of squared residuals."""
        return float(np.sum(self.residual(fractions) ** 2))
