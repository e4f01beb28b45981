"""Fitting a law to the loss curves of many runs."""

from prunescale.fitting.anchor import through
from prunescale.fitting.audit import Audit, Skipped, audit
from prunescale.fitting.checks import CODES, Check
from prunescale.fitting.compare import Comparison, Rank, compare
from prunescale.fitting.conclude import bootstrap, fit
from prunescale.fitting.default import default_law
from prunescale.fitting.distance import distance, far
from prunescale.fitting.file import from_dict, load_fit, save_fit, to_dict
from prunescale.fitting.heldout import RunError, errors
from prunescale.fitting.holdout import HOLDOUTS, USUAL
from prunescale.fitting.judge import AuditRow
from prunescale.fitting.likelihood import Profile, profile
from prunescale.fitting.metrics import Metrics, measure
from prunescale.fitting.objective import OBJECTIVES, Objective
from prunescale.fitting.points import WEIGHTINGS, Points, select
from prunescale.fitting.predictive import predictive_interval
from prunescale.fitting.replicate import Replicates
from prunescale.fitting.result import Answer, Fit, FitStatus
from prunescale.fitting.same_points import allowed
from prunescale.fitting.score import RunScore, Score

__all__ = [
    "CODES",
    "HOLDOUTS",
    "OBJECTIVES",
    "USUAL",
    "WEIGHTINGS",
    "Answer",
    "Audit",
    "AuditRow",
    "Check",
    "Comparison",
    "Fit",
    "FitStatus",
    "Metrics",
    "Objective",
    "Points",
    "Profile",
    "Rank",
    "Replicates",
    "RunError",
    "RunScore",
    "Score",
    "Skipped",
    "allowed",
    "audit",
    "bootstrap",
    "compare",
    "default_law",
    "distance",
    "errors",
    "far",
    "fit",
    "from_dict",
    "load_fit",
    "measure",
    "predictive_interval",
    "profile",
    "save_fit",
    "select",
    "through",
    "to_dict",
]
