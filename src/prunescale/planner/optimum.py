"""Where a predicted loss is least along one input: the best size or the best sparsity for a budget of compute.

A law's constants may be arrays, (studies, 1): the answer is then one for each study, (studies,).
"""

from collections.abc import Callable, Mapping

import numpy as np

from prunescale.laws import Law

FLOPS_PER_PARAMETER = 6  # and token, forward and backward
N_TRIED, N_ZOOMS = 65, 12  # values tried between two ends, and how often the ends close in on the best
MOST_SPARSE = 0.99
LEAST_SIZE = 1e4  # parameters


def best_size(law: Law, compute: float, size: str, inputs: Mapping[str, float]) -> np.ndarray:
    """N*: the size, in the law's own count of parameters, whose loss is least when compute / (6 N) tokens are trained on.

    Hoffmann et al. 2022, section 3.3. compute: floating-point operations of training. size: the name of the law's size column.
    """

    def loss(log_size: np.ndarray) -> np.ndarray:
        n = np.exp(log_size)
        return law.loss(**{size: n, "n_tokens": compute / (FLOPS_PER_PARAMETER * n), **inputs})

    return np.exp(_least(loss, np.log(LEAST_SIZE), np.log(compute / FLOPS_PER_PARAMETER)))


def cubic_average(sparsity: np.ndarray) -> np.ndarray:
    """Average over a training of the share of weights kept, with cubic pruning from 25 % to 75 % of its steps.

    0.25 + 0.5 (1 - 3/4 S) + 0.25 (1 - S): Frantar et al. 2023, arXiv:2309.08520, section 3.2 (from secondary sources).
    """
    return 1 - 0.625 * sparsity


def best_sparsity(law: Law, compute: float, n_params_nonzero: float) -> np.ndarray:
    """S*: the sparsity at which a model of so many non-zero parameters has the least loss for a budget of training compute.

    Frantar et al. 2023, arXiv:2309.08520, section 3.2: more sparsity means a larger model to begin with, N / (1 - S), so fewer
    tokens: compute = 6 * N / (1 - S) * average share kept * tokens. 0 where a dense model is best.
    """

    def loss(sparsity: np.ndarray) -> np.ndarray:
        cost = FLOPS_PER_PARAMETER * n_params_nonzero / (1 - sparsity) * cubic_average(sparsity)
        return law.loss(n_params_nonzero=n_params_nonzero, n_tokens=compute / cost, sparsity=sparsity)

    return _least(loss, 0.0, MOST_SPARSE)


def _least(loss: Callable[[np.ndarray], np.ndarray], low: float, high: float) -> np.ndarray:
    """Where a function of (studies, values) is least, for each study: values are tried between two ends that close in."""
    n_studies = np.shape(loss(np.array([[low]])))[0]
    lows, highs = np.full(n_studies, low), np.full(n_studies, high)
    for _ in range(N_ZOOMS):
        tried = lows[:, None] + (highs - lows)[:, None] * np.linspace(0, 1, N_TRIED)
        best = np.argmin(np.where(np.isnan(values := loss(tried)), np.inf, values), axis=1)
        rows = np.arange(n_studies)
        lows, highs = tried[rows, np.maximum(best - 1, 0)], tried[rows, np.minimum(best + 1, N_TRIED - 1)]
    return tried[rows, best]
