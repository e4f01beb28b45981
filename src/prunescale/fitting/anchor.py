"""A law carried on from what was measured of one curve: its excess scaled to pass through the last point.

Models differ in what pruning cost them by more than the law knows of (which blocks went, say), and keep differing as they are trained:
a law of many runs says how a curve goes on, and its own last point says from where.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from prunescale.errors import FitError
from prunescale.fitting.metrics import excess_over
from prunescale.fitting.points import Points
from prunescale.fitting.replicate import Replicates
from prunescale.fitting.result import Fit


def through(found: Fit, point: Mapping[str, float], loss: float) -> Fit:
    """The fit with its law, and that of each study that might have been, scaled to this loss at this point; nats per token.

    point: the law's columns. Intervals are then those of how the curve goes on, without the noise of the loss. Raises FitError for a law
    without an excess, and for a loss that is not above what the excess is over.
    """
    law, over = found.law, excess_over(type(found.law))
    if over is None or not law.amplitudes:
        raise FitError(f"The {law.title} has no excess that could be scaled to a measured loss: leave the measured loss out.")
    if not loss > point[over]:
        raise FitError(
            f"The measured loss must be above the {over} of {point[over]:g}, got {loss:g}: there is no excess to carry on from."
        )
    at = {name: np.asarray([point[name]], dtype=float) for name in law.columns}
    places = [index for index, name in enumerate(law.bounds) if name in law.amplitudes]

    def scaled(constants_SK: np.ndarray) -> np.ndarray:
        laws = type(law).from_constants(dict(zip(law.bounds, np.moveaxis(constants_SK, -1, 0)[:, :, None], strict=True)))
        excess_S = np.ravel(laws.predict(at)) - point[over]
        if not np.all(excess_S > 0):
            raise FitError(f"The {law.title} predicts no excess at this point, so it cannot be scaled to a measured loss.")
        moved = constants_SK.copy()
        moved[:, places] *= ((loss - point[over]) / excess_S)[:, None]
        return moved

    constants = scaled(np.array([list(law.constants().values())]))[0]
    replicates = found.replicates and Replicates(scaled(found.replicates.constants), found.replicates.method)
    moved = type(law).from_constants({name: float(value) for name, value in zip(law.bounds, constants, strict=True)})
    return replace(found, law=moved, replicates=replicates)


def from_last_point(found: Fit, points: Points, held: np.ndarray) -> np.ndarray:
    """The losses of all points by a law with an excess, which is scaled in each run to its last point that is not `held`; as the law says
    where there is none, or no excess there."""
    predicted, over = found.predict(points.columns), excess_over(type(found.law))
    assert over
    base = points.columns[over]
    for number in range(points.n_runs):
        here = points.run_index == number
        seen = np.flatnonzero(here & ~held)
        if not len(seen):
            continue
        last = seen[-1]
        if points.loss[last] > base[last] and predicted[last] > base[last]:
            factor = (points.loss[last] - base[last]) / (predicted[last] - base[last])
            predicted[here] = base[here] + factor * (predicted[here] - base[here])
    return predicted
