"""A slow and plain way to the optimum of a fit, that shares nothing with prunescale's solver but the laws' formulas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, least_squares, minimize

from prunescale.laws import Columns, Law

DELTA = 1e-3  # Huber's, of log loss
N_POLISHED = 3


@dataclass(frozen=True)
class Task:
    """What is to be made small: sum of weight rho(r), r the difference of losses or of their logarithms."""

    law: type[Law]
    columns: Columns  # with the loss
    weight: np.ndarray
    objective: str
    fixed: Mapping[str, float]

    @property
    def names(self) -> list[str]:
        return [name for name in self.law.bounds if name not in self.fixed]

    @property
    def is_factor(self) -> np.ndarray:
        return np.array([self.law.bounds[name].log for name in self.names])

    def law_at(self, x: np.ndarray) -> Law:
        """x: constants, of factors the logarithm."""
        values = np.where(self.is_factor, np.exp(np.where(self.is_factor, x, 0.0)), x)
        return self.law.from_constants({**self.fixed, **dict(zip(self.names, values.tolist(), strict=True))})

    def position(self, constants: Mapping[str, float]) -> np.ndarray:
        values = np.array([constants[name] for name in self.names], dtype=float)
        return np.where(self.is_factor, np.log(np.where(self.is_factor, values, 1.0)), values)

    def ends(self, of: str) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest positions: of = "box", or "start"."""
        bounds = [self.law.bounds[name] for name in self.names]
        both = [b.start if of == "start" else (b.low, b.high) for b in bounds]
        low, high = (self.position(dict(zip(self.names, end, strict=True))) for end in zip(*both, strict=True))
        return low, high

    def residual(self, law: Law) -> np.ndarray:
        predicted, loss = law.predict(self.columns), self.columns["loss"]
        return predicted - loss if self.objective == "squared" else np.log(predicted) - np.log(loss)

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        law = self.law_at(x)
        J = law.jacobian(self.columns)[:, [name not in self.fixed for name in self.law.bounds]]
        J = J * np.where(self.is_factor, np.exp(np.where(self.is_factor, x, 0.0)), 1.0)
        return J if self.objective == "squared" else J / law.predict(self.columns)[:, None]

    def value(self, law: Law) -> float:
        """The objective, as everything here is compared by."""
        r = np.abs(self.residual(law))
        rho = np.where(r <= DELTA, r**2 / 2, DELTA * (r - DELTA / 2)) if self.objective == "huber-log" else r**2 / 2
        return float(np.sum(self.weight * rho))

    def value_and_slope(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        law = self.law_at(x)
        r = self.residual(law)
        pull = np.clip(r, -DELTA, DELTA) if self.objective == "huber-log" else r
        return self.value(law), self.jacobian(x).T @ (self.weight * pull)


def brute_force(task: Task, *, n_starts: int, seed: int, besides: Sequence[Law] = ()) -> tuple[float, Law]:
    """The best of many random starts, and of those given besides (the truth, where the points are simulated)."""
    low, high = task.ends("start")
    starts = [*np.random.default_rng(seed).uniform(low, high, size=(n_starts, len(low)))]
    starts += [task.position(law.constants()) for law in besides]
    with np.errstate(all="ignore"):
        ends = [end for start in starts for end in [_descend(task, start, 1e-10, 200)] if end is not None]
        best = sorted(ends, key=lambda x: task.value(task.law_at(x)))[:N_POLISHED]
        laws = [task.law_at(_polish(task, x)) for x in best]
    return min(((task.value(law), law) for law in laws), key=lambda found: found[0])


def _descend(task: Task, x: np.ndarray, tolerance: float, n_most: int) -> np.ndarray | None:
    """SciPy's trust region for least squares, with exact derivatives; Huber's rho and the weights go in as its loss function."""
    low, high = task.ends("box")
    inside = np.clip(x, low + 1e-9 * (high - low), high - 1e-9 * (high - low))

    def rho(z: np.ndarray) -> np.ndarray:
        flat = (z > 1) & (task.objective == "huber-log")
        root = np.sqrt(np.where(flat, z, 1.0))
        parts = np.where(flat, 2 * root - 1, z), np.where(flat, 1 / root, 1.0), np.where(flat, -0.5 / root**3, 0.0)
        return task.weight * np.array(parts)

    try:
        end = least_squares(
            lambda x: task.residual(task.law_at(x)),
            inside,
            jac=task.jacobian,
            bounds=(low, high),
            loss=rho,
            f_scale=DELTA if task.objective == "huber-log" else 1.0,
            x_scale="jac",
            ftol=tolerance,
            xtol=tolerance,
            gtol=1e-15,
            max_nfev=n_most,
        )
    except (ValueError, np.linalg.LinAlgError):  # a start at which the law overflows
        return None
    return end.x if np.isfinite(end.cost) else None


def _polish(task: Task, x: np.ndarray) -> np.ndarray:
    """Two more methods in turn, until neither gains: the trust region to the last digit, and quasi-Newton on a scaled objective."""
    low, high = task.ends("box")
    for _ in range(5):
        before = task.value(task.law_at(x))
        if before == 0:
            break
        further = _descend(task, x, 3e-16, 1000)
        x = min([x] if further is None else [x, further], key=lambda x: task.value(task.law_at(x)))
        unit = 1 / np.maximum(np.linalg.norm(np.sqrt(task.weight)[:, None] * task.jacobian(x), axis=0), 1e-12)

        def scaled(u: np.ndarray, unit: np.ndarray = unit, before: float = before) -> tuple[float, np.ndarray]:
            value, slope = task.value_and_slope(u * unit)
            return value / before, slope * unit / before

        options = {"maxiter": 2000, "maxfun": 4000, "ftol": 0.0, "gtol": 1e-13, "maxcor": 30}
        u = minimize(scaled, x / unit, jac=True, method="L-BFGS-B", bounds=Bounds(low / unit, high / unit), options=options).x
        x = min([x, np.clip(u * unit, low, high)], key=lambda x: task.value(task.law_at(x)))
        if task.value(task.law_at(x)) >= before * (1 - 1e-10):
            break
    return x
