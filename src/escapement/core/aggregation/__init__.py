"""Trades to bars."""

from escapement.core.aggregation.aggregator import DEFAULT_TOLERANCE_NS, OHLCBarAggregator
from escapement.core.aggregation.ladder import made_of_new, with_root
from escapement.core.aggregation.outcomes import BarOutcome, LateTrade, RefusedBar, RefusedTrade, TradeOutcome
from escapement.core.aggregation.rebuild import Rebuild, around, intervals, open_since

__all__ = [
    "DEFAULT_TOLERANCE_NS",
    "BarOutcome",
    "LateTrade",
    "OHLCBarAggregator",
    "Rebuild",
    "RefusedBar",
    "RefusedTrade",
    "TradeOutcome",
    "around",
    "intervals",
    "made_of_new",
    "open_since",
    "with_root",
]
