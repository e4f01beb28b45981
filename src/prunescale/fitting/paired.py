"""How sure it is that one law's errors are smaller than another's, when runs and not points are what might have been others.

Errors are (holdouts, laws, runs), nan where a run was not held out. A law's pooled error is the mean over hold-outs of the mean
over runs.
"""

import numpy as np


def pooled(errors: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The pooled error of each law where runs have these weights, (studies, runs); (studies, laws)."""
    known = ~np.isnan(errors).any(axis=1)
    parts = [
        (weight[:, runs] @ each[:, runs].T) / np.sum(weight[:, runs], axis=1, keepdims=True)
        for each, runs in zip(errors, known, strict=True)
    ]
    return np.mean(parts, axis=0)


def behind(errors: np.ndarray, *, n: int, seed: int, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By how much each law's pooled error is above the smallest, and the interval of that; (laws,) each.

    A bootstrap over runs, paired: in each of n studies a run has one weight for all the laws. Weights are exponential (Rubin
    1981), so that no hold-out is ever without a run. Such an interval is too narrow for few runs, by what Student's t is wider
    than the normal and by the bootstrap's own 1 - 2/(m + 1) of the variance: it is widened for that, m being the number of runs
    that would count as much if all counted the same (Kish 1965). With one run it is infinite.
    """
    n_runs = errors.shape[2]
    from scipy.stats import norm, t

    all_runs = pooled(errors, np.ones((1, n_runs)))[0]
    best = int(np.argmin(all_runs))
    drawn = pooled(errors, np.random.default_rng(seed).exponential(size=(n, n_runs)))
    difference = all_runs - all_runs[best]
    tail = (1 - level) / 2
    spread = np.quantile(drawn - drawn[:, best : best + 1] - difference, [tail, 1 - tail], axis=0)
    known = ~np.isnan(errors).any(axis=1)
    share = np.mean(known / known.sum(axis=1, keepdims=True), axis=0)
    m = 1 / np.sum(share**2)
    if m < 1.5:
        spread = np.where(np.arange(len(difference)) == best, 0.0, np.array([[-np.inf], [np.inf]]))
    else:
        spread = spread * (t.ppf(1 - tail, m - 1) / norm.ppf(1 - tail)) * np.sqrt((m + 1) / (m - 1))
    return difference, difference + spread[0], difference + spread[1]
