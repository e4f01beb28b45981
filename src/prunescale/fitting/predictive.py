"""Between which losses a measurement should lie, given how sure the constants are and how far runs lie from their law."""

import numpy as np

from prunescale.fitting.conclude import coordinates_of, problem_of
from prunescale.fitting.excess import scale, scale_of_curves
from prunescale.fitting.precision import held_out_residuals, neighbourhood
from prunescale.fitting.replicate import blocks
from prunescale.fitting.result import Fit
from prunescale.laws import Columns

LEVEL = 0.9


def predictive_interval(
    found: Fit, columns: Columns, *, centre: np.ndarray | None = None, seed: int = 0, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end for each point, (points,), nats per token; `found` has its replicates.

    One study after another: the law of that replicate, plus a residual. Each run here takes the residuals of one run of the fit,
    drawn at random, never itself, and each of its points one of those at random: as left by a fit without that run, so that they
    tell what a new run does. With too few runs for that, without three consecutive points. Residuals are of what the objective
    is of, the loss or its logarithm; where points are weighted by their excess, as shares of that. `centre` is the prediction
    where it is another law's than the fit's.
    """
    problem, terms, law = problem_of(found), problem_of(found).terms, found.spread()
    assert law is not None
    at_fit = terms.transform(found.predict(columns))
    shift = 0.0 if centre is None else terms.transform(centre) - at_fit
    near = neighbourhood(problem, coordinates_of(found), found.at_bound + found.void)
    many = near.n_groups > near.n_moving + 1
    groups = near.group_index if many else blocks(found.points.run_index)
    residual = held_out_residuals(near, groups) if near.n_moving else near.residual
    expected = terms.transform(law.predict(columns)) + shift
    drawn = _drawn(found, columns, expected.shape, np.random.default_rng(seed))
    if found.weighting == "excess":
        shares = residual / scale_of_curves(found.points.columns)
        simulated = expected - shares[drawn] * scale(columns, terms.inverse(expected))
    else:
        simulated = expected - residual[drawn]
    low, high = np.quantile(simulated, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return terms.inverse(low), terms.inverse(high)


def _drawn(found: Fit, columns: Columns, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Which of the fit's points each point takes its residual from in each study; (studies, points)."""
    names = np.unique(found.points.columns["run"])
    asked, index = np.unique(columns["run"], return_inverse=True)
    place = np.minimum(np.searchsorted(names, asked), len(names) - 1)
    known = (names[place] == asked) & (len(names) > 1)
    source = rng.integers(len(names) - known, size=(shape[0], len(asked)))
    source += known & (source >= place)
    n_points = np.bincount(found.points.run_index)
    first = np.cumsum(n_points) - n_points
    chosen = source[:, index]
    return first[chosen] + (rng.random(shape) * n_points[chosen]).astype(int)
