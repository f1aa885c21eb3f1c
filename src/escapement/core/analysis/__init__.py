"""Bars to signals."""

from escapement.core.analysis.analyzer import Analyzer, check_follows, check_version
from escapement.core.analysis.donchian_breakout import DonchianBreakout, DonchianBreakoutParams
from escapement.core.analysis.moving_average_crossover import MovingAverageCrossover, MovingAverageCrossoverParams
from escapement.core.analysis.reading import (
    Advance,
    AnalyzerKey,
    FoundSignal,
    Instance,
    Progress,
    Reading,
    StoredBar,
    check_signal,
    read_on,
    restore,
)
from escapement.core.analysis.trend_starts import TrendStarts, TrendStartsParams

__all__ = [
    "Advance",
    "Analyzer",
    "AnalyzerKey",
    "DonchianBreakout",
    "DonchianBreakoutParams",
    "FoundSignal",
    "Instance",
    "MovingAverageCrossover",
    "MovingAverageCrossoverParams",
    "Progress",
    "Reading",
    "StoredBar",
    "TrendStarts",
    "TrendStartsParams",
    "check_follows",
    "check_signal",
    "check_version",
    "read_on",
    "restore",
]
