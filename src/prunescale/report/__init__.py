"""Runs and fits made visible: frames hold the numbers, figures draw them."""

from prunescale.report.figures import COLOURS, recovery_figure, save_png
from prunescale.report.frames import RecoveryCurve, recovery_curve, recovery_curves

__all__ = ["COLOURS", "RecoveryCurve", "recovery_curve", "recovery_curves", "recovery_figure", "save_png"]
