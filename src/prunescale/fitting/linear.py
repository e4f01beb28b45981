"""Which constants of a law are linear in the loss, the others given, and the best of them for many candidates of the others.

Variable projection (Golub and Pereyra 1973): a law a(x) + sum of c_j b_j(x; others) needs a search only over the others,
since the best c follow from each of them by linear least squares, here without negative ones.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from prunescale.laws import Columns, Law

LINEAR = 1e-9  # of the effect: differences below it are rounding


def linear_constants(law: type[Law], columns: Columns, fixed: Mapping[str, float]) -> tuple[str, ...]:
    """Names of free constants in which the loss is linear jointly, none of which may be negative; found by trying a few values."""
    n_points = len(columns[law.columns[0]])
    some = np.unique(np.linspace(0, n_points - 1, min(n_points, 16)).astype(int))
    few = {name: columns[name][some] for name in law.columns}
    found: list[str] = []
    for name, bound in law.bounds.items():
        wanted = [*found, name]
        if (
            name not in fixed
            and (bound.log or bound.low == 0)
            and all(_is_linear(law, few, wanted, fixed, seed) for seed in (1, 2))
        ):
            found.append(name)
    return tuple(found)


def _is_linear(law: type[Law], few: Columns, names: Sequence[str], fixed: Mapping[str, float], seed: int) -> bool:
    """Whether, at some value of the others, the loss at a mix of these constants is its value at zero plus a part for each."""
    rng = np.random.default_rng(seed)
    others = {name: rng.uniform(*bound.start) for name, bound in law.bounds.items()} | dict(fixed) | dict.fromkeys(names, 0.0)

    def loss(changed: Mapping[str, float]) -> np.ndarray:
        return np.asarray(law.from_constants({**others, **changed}).predict(few), dtype=float)

    with np.errstate(all="ignore"):
        bottom = loss({})
        whole = {name: law.bounds[name].start[1] for name in names}
        effect = {name: loss({name: value}) - bottom for name, value in whole.items()}
        size = {name: np.max(np.abs(part)) for name, part in effect.items()}
        if not all(0 < part < np.inf for part in size.values()):
            return False
        straight = [loss({name: 2 * value}) - bottom - 2 * effect[name] for name, value in whole.items()]
        rounding = LINEAR**1.5 * (1 + np.max(np.abs(bottom)))
        if any(np.max(np.abs(bend)) > LINEAR * size[name] + rounding for name, bend in zip(names, straight, strict=True)):
            return False
        of_one_nat = {name: value / size[name] for name, value in whole.items()}
        together = loss(of_one_nat) - bottom - sum(effect[name] / size[name] for name in names)
    return bool(np.max(np.abs(together)) <= LINEAR * (len(names) + np.max(np.abs(bottom))))


def non_negative(basis: np.ndarray, target: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each candidate the non-negative factors c that minimise sum w (target - c basis)^2, and that sum.

    basis (candidates, factors, points), target (candidates, points) or (points,), weight (points,). Factors are few, so every
    subset of those that may be above zero is tried; the best feasible one is the answer.
    """
    n_candidates, n_factors, _ = basis.shape
    size = np.sqrt(np.sum(weight * basis**2, axis=2))
    scaled = basis / np.where(size > 0, size, 1.0)[:, :, None]
    gram = (scaled * weight) @ scaled.transpose(0, 2, 1)
    target = np.broadcast_to(target, (n_candidates, basis.shape[2]))
    moment = np.einsum("cfp,cp->cf", scaled, weight * target)
    best, factors = np.zeros(n_candidates), np.zeros((n_candidates, n_factors))
    for count in range(1, n_factors + 1):
        for chosen in combinations(range(n_factors), count):
            index = np.array(chosen)
            part = gram[:, index[:, None], index] + 1e-13 * np.eye(count)
            solution = np.linalg.solve(part, moment[:, index, None])[:, :, 0]
            explained = np.sum(solution * moment[:, index], axis=1)
            wins = np.all(solution >= 0, axis=1) & (explained > best)
            best = np.where(wins, explained, best)
            factors[wins] = 0.0
            factors[np.flatnonzero(wins)[:, None], index] = solution[wins]
    return factors / np.where(size > 0, size, 1.0), np.sum(weight * target**2, axis=1) - best
