"""Scaling laws: formulas for the loss, each with its source, its units and the bounds of its constants."""

from prunescale.laws.dense import HoffmannLaw
from prunescale.laws.law import Bound, Columns, Gap, Law
from prunescale.laws.recovery import P2Law
from prunescale.laws.sparse import AverageParameterLaw

LAWS: dict[str, type[Law]] = {
    "average-parameter": AverageParameterLaw,
    "hoffmann": HoffmannLaw,
    "p2": P2Law,
}

__all__ = ["LAWS", "AverageParameterLaw", "Bound", "Columns", "Gap", "HoffmannLaw", "Law", "P2Law"]
