"""How far measured losses lie from a law: from run to run, and from point to point along a run."""

from dataclasses import dataclass

import numpy as np

from prunescale.errors import FitError
from prunescale.fitting import Fit, Points

LARGEST = 0.5  # of the loss: what is noisier than that is no measurement
EXACT = 1e-12  # of the loss: residuals below it are rounding
CORRELATIONS = np.linspace(0.0, 0.95, 20)
RATIOS = np.concatenate([[0.0], np.geomspace(1e-2, 1e4, 49)])  # variance between runs over that within


@dataclass(frozen=True)
class Noise:
    """Standard deviations as shares of the loss: what a whole run is off by, and what each of its points is off by besides.

    A point's error is correlated with that of the point before it, and less so with those further back (AR(1)).
    """

    between_runs: float = 0.002
    within_run: float = 0.001
    correlation: float = 0.5

    def __post_init__(self) -> None:
        for name, value in (("between runs", self.between_runs), ("within a run", self.within_run)):
            if not 0 <= value < LARGEST:
                raise FitError(f"The noise {name} is a share of the loss from 0 to {LARGEST:g}, such as 0.002; got {value:g}.")
        if not 0 <= self.correlation < 1:
            raise FitError(f"The correlation of neighbouring points' noise is at least 0 and below 1; got {self.correlation:g}.")

    def draw(self, points: Points, n: int, seed: int) -> np.ndarray:
        """Relative errors of n studies; (n, points).

        Each run has random numbers of its own, by its name, and further points of it further ones. So sweeps that share runs share
        their errors, and what one change does to a sweep is not drowned by chance.
        """
        errors = np.empty((n, len(points.loss)))
        for index in range(points.n_runs):
            rows = np.flatnonzero(points.run_index == index)
            rng = np.random.default_rng([seed, *str(points.columns["run"][rows[0]]).encode()])
            of_run, along = rng.standard_normal(n), rng.standard_normal((len(rows), n))
            for step in range(1, len(rows)):
                along[step] = self.correlation * along[step - 1] + np.sqrt(1 - self.correlation**2) * along[step]
            errors[:, rows] = (self.between_runs * of_run + self.within_run * along).T
        return errors


def noise_of(fit: Fit) -> Noise:
    """The noise that a fit's residuals show, by restricted maximum likelihood (Patterson and Thompson 1971).

    Restricted: what the free constants took up of the noise is allowed for. What the law gets wrong counts as noise too.
    """
    resting = {*fit.fixed, *fit.at_bound, *fit.void}
    moving = np.array([name not in resting for name in fit.law.bounds])
    predicted = fit.law.predict(fit.points.columns)
    residual = fit.points.loss / predicted - 1
    basis, _ = np.linalg.qr(fit.law.jacobian(fit.points.columns)[:, moving] / predicted[:, None])
    n_left = len(residual) - basis.shape[1]
    if n_left <= 0:
        raise FitError(f"The noise cannot be told from {len(residual)} points for {basis.shape[1]} free constants: give it.")
    if np.max(np.abs(residual)) < EXACT:
        return Noise(0.0, 0.0, 0.0)
    found = [(*_best_ratio(fit.points, residual, basis, float(c)), float(c)) for c in CORRELATIONS]
    _, variance, ratio, correlation = min(found)
    return Noise(float(np.sqrt(ratio * variance)), float(np.sqrt(variance)), correlation)


def _best_ratio(points: Points, residual: np.ndarray, basis: np.ndarray, correlation: float) -> tuple[float, float, float]:
    """At one correlation: the least of minus twice the log likelihood over the ratios, and the variance within and the ratio there.

    Whitened within runs, the covariance of a run is 1 + ratio u u', u the whitened ones, whose inverse is 1 - c u u'.
    """
    position, _ = points.position_in_run
    whole = np.column_stack([residual, basis, np.ones(len(residual))])
    white = whole.copy()
    later = np.flatnonzero(position > 0)
    white[later] = (whole[later] - correlation * whole[later - 1]) / np.sqrt(1 - correlation**2)
    u, data = white[:, -1], white[:, :-1]
    n_runs = points.n_runs
    uu = np.bincount(points.run_index, u**2, minlength=n_runs)
    sums = np.zeros((n_runs, data.shape[1]))
    np.add.at(sums, points.run_index, data * u[:, None])
    c = RATIOS[:, None] / (1 + RATIOS[:, None] * uu)
    gram = data.T @ data - np.einsum("kr,ri,rj->kij", c, sums, sums)
    rr, xr, xx = gram[:, 0, 0], gram[:, 1:, 0], gram[:, 1:, 1:]
    left = rr - np.einsum("ki,ki->k", xr, np.linalg.solve(xx, xr[:, :, None])[:, :, 0])
    n_left = len(residual) - basis.shape[1]
    log_det = np.sum(np.log1p(RATIOS[:, None] * uu), axis=1) + len(later) * np.log(1 - correlation**2)
    minus_twice = log_det + np.linalg.slogdet(xx)[1] + n_left * np.log(np.maximum(left, np.finfo(float).tiny))
    best = int(np.argmin(minus_twice))
    return float(minus_twice[best]), float(left[best]) / n_left, float(RATIOS[best])
