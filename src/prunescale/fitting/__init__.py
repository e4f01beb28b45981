"""Fitting a law to the loss curves of many runs."""

from prunescale.fitting.file import from_dict, load_fit, save_fit, to_dict
from prunescale.fitting.heldout import RunError, errors
from prunescale.fitting.jackknife import jackknife
from prunescale.fitting.least_squares import fit
from prunescale.fitting.metrics import Metrics, measure
from prunescale.fitting.objective import OBJECTIVES, Objective
from prunescale.fitting.result import Fit, FitStatus, Refit

__all__ = [
    "OBJECTIVES",
    "Fit",
    "FitStatus",
    "Metrics",
    "Objective",
    "Refit",
    "RunError",
    "errors",
    "fit",
    "from_dict",
    "jackknife",
    "load_fit",
    "measure",
    "save_fit",
    "to_dict",
]
