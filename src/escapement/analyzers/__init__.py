"""Which analyzers there are, how one is found, and whether it keeps its promises."""

from escapement.analyzers.discovery import AnalyzerPlugin, available_analyzers, find_analyzer
from escapement.analyzers.honesty import Finding, HonestyReport, check_honesty
from escapement.analyzers.template import write_template

__all__ = [
    "AnalyzerPlugin",
    "Finding",
    "HonestyReport",
    "available_analyzers",
    "check_honesty",
    "find_analyzer",
    "write_template",
]
