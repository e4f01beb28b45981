"""From starts down to their optima, all at once, within bounds: Levenberg and Marquardt's method on arrays of candidates."""

from dataclasses import dataclass

import numpy as np

from prunescale.fitting.problem import Local, Problem

SAME_LOSS = 1e-11  # nats: residuals below it are rounding
FLAT = 1e-15  # of the cost: a smaller gain is rounding
STUCK = 1e10  # damping at which no step is left to try


@dataclass(frozen=True)
class Ends:
    """Where each start ended, and its cost; (candidates, constants) and (candidates,)."""

    coordinates: np.ndarray
    cost: np.ndarray


def minimise(
    problem: Problem,
    starts: np.ndarray,
    *,
    loss: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    free: np.ndarray | None = None,
    tolerance: float = 1e-12,
    max_iterations: int = 200,
) -> Ends:
    """The local optimum below each start; (candidates, constants) in and out.

    `loss` and `weight` replace the points' own, for each candidate where they have two dimensions; what is not `free` stays as
    it starts. A candidate has ended when a step gains less than `tolerance` of its cost, while hardly damped.
    """
    free = problem.free if free is None else free
    ends, costs = starts.copy(), np.empty(len(starts))
    rows = np.arange(len(starts))
    z, here = starts.copy(), problem.local(starts, loss, weight, free)
    damping, growth = np.full(len(z), 1e-3), np.full(len(z), 2.0)
    floor = SAME_LOSS**2 * len(problem.points.loss)
    for _ in range(max_iterations):
        step, promised = _step(problem, z, here, damping, free)
        trial = z.copy()
        trial[:, free] = np.clip(z[:, free] + step, problem.box[0][free], problem.box[1][free])
        there = problem.local(trial, _of(loss, rows), _of(weight, rows), free)
        gain = here.cost - there.cost
        better = gain > 0
        done = (promised <= np.maximum(FLAT * here.cost, floor)) | (damping > STUCK)
        done |= better & (gain <= tolerance * here.cost) & (promised <= tolerance * here.cost) & (damping < 1e-2)
        z, here = np.where(better[:, None], trial, z), _where(better, there, here)
        ratio = np.divide(gain, promised, out=np.zeros_like(gain), where=promised > 0)
        eased = damping * np.maximum(0.1, 1 - (2 * np.clip(ratio, 0.0, 1.0) - 1) ** 3)
        damping, growth = np.where(better, np.maximum(eased, 1e-15), damping * growth), np.where(better, 2.0, 2 * growth)
        ends[rows[done]], costs[rows[done]] = z[done], here.cost[done]
        if done.any():
            rows, z, here, damping, growth = rows[~done], z[~done], _rows(here, ~done), damping[~done], growth[~done]
        if not len(rows):
            break
    ends[rows], costs[rows] = z, here.cost
    return Ends(ends, costs)


def _step(problem: Problem, z: np.ndarray, here: Local, damping: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The damped step of each candidate in its free coordinates, those held that push against a bound; and the gain it promises."""
    low, high = (end[free] for end in problem.box)
    held = ((z[:, free] <= low) & (here.slope > 0)) | ((z[:, free] >= high) & (here.slope < 0))
    diagonal = np.einsum("cii->ci", here.majorant)
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    slope = np.where(held, 0.0, here.slope) / scale
    both = scale[:, :, None] * scale[:, None, :]
    newton, majorant = here.newton / both, here.majorant / both
    matrix = newton + damping[:, None, None] * (majorant + np.eye(scale.shape[1]))
    apart = held[:, :, None] | held[:, None, :]
    matrix = np.where(apart, 0.0, matrix)
    index = np.arange(scale.shape[1])
    matrix[:, index, index] = np.where(held, 1.0, matrix[:, index, index] + FLAT)
    step = -np.linalg.solve(matrix, slope[:, :, None])[:, :, 0]
    promised = -np.sum(step * slope, axis=1) - 0.5 * np.einsum("ci,cij,cj->c", step, np.where(apart, 0.0, newton), step)
    return step / scale, promised


def _of(values: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return values if values is None or values.ndim == 1 else values[rows]


def _rows(local: Local, keep: np.ndarray) -> Local:
    return Local(local.cost[keep], local.slope[keep], local.newton[keep], local.majorant[keep])


def _where(better: np.ndarray, there: Local, here: Local) -> Local:
    def pick(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    newton = pick(there.newton, here.newton)
    majorant = newton if there.newton is there.majorant else pick(there.majorant, here.majorant)
    return Local(pick(there.cost, here.cost), pick(there.slope, here.slope), newton, majorant)
