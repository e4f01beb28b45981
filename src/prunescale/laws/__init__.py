"""Scaling laws: formulas for the loss, each with its source, its units and the bounds of its constants."""

from prunescale.laws.columns import COLUMNS, Column
from prunescale.laws.compression import CompressionLaw
from prunescale.laws.dense import HoffmannLaw
from prunescale.laws.effective import EffectiveParameterLaw
from prunescale.laws.floor import ControlFloorLaw
from prunescale.laws.frantar import FrantarLaw
from prunescale.laws.kaplan import KaplanLaw
from prunescale.laws.law import Bound, Columns, Law
from prunescale.laws.own import OwnLaw, law_from_file, own_law
from prunescale.laws.per_parameter import TokensPerParameterLaw
from prunescale.laws.presets import PRESETS, Preset
from prunescale.laws.recovery import P2ControlLaw, P2Law, P2LogKeptLaw, P2OddsLaw
from prunescale.laws.recovery_rivals import P2AdditiveLaw, P2BetaRateLaw, P2NoDeltaLaw
from prunescale.laws.repeated import DataConstrainedLaw
from prunescale.laws.skaling import SkalingLaw
from prunescale.laws.sparse import AverageParameterLaw, DenseParameterLaw, FinalParameterLaw

LAWS: dict[str, type[Law]] = {
    "p2": P2Law,
    "p2-no-delta": P2NoDeltaLaw,
    "p2-additive": P2AdditiveLaw,
    "p2-odds": P2OddsLaw,
    "p2-log-kept": P2LogKeptLaw,
    "p2-beta-rate": P2BetaRateLaw,
    "p2-control": P2ControlLaw,
    "tokens-per-parameter": TokensPerParameterLaw,
    "control-floor": ControlFloorLaw,
    "compression": CompressionLaw,
    "average-parameter": AverageParameterLaw,
    "final-parameter": FinalParameterLaw,
    "dense-parameter": DenseParameterLaw,
    "frantar": FrantarLaw,
    "effective-parameter": EffectiveParameterLaw,
    "hoffmann": HoffmannLaw,
    "kaplan": KaplanLaw,
    "skaling": SkalingLaw,
    "data-constrained": DataConstrainedLaw,
}

__all__ = [
    "COLUMNS",
    "LAWS",
    "PRESETS",
    "AverageParameterLaw",
    "Bound",
    "Column",
    "Columns",
    "CompressionLaw",
    "ControlFloorLaw",
    "DataConstrainedLaw",
    "DenseParameterLaw",
    "EffectiveParameterLaw",
    "FinalParameterLaw",
    "FrantarLaw",
    "HoffmannLaw",
    "KaplanLaw",
    "Law",
    "OwnLaw",
    "P2AdditiveLaw",
    "P2BetaRateLaw",
    "P2ControlLaw",
    "P2Law",
    "P2LogKeptLaw",
    "P2NoDeltaLaw",
    "P2OddsLaw",
    "Preset",
    "SkalingLaw",
    "TokensPerParameterLaw",
    "law_from_file",
    "own_law",
]
