"""Trades to bars."""

from escapement.core.aggregation.aggregator import DEFAULT_TOLERANCE_NS, OHLCBarAggregator
from escapement.core.aggregation.outcomes import BarOutcome, LateTrade, RefusedBar, RefusedTrade, TradeOutcome

__all__ = [
    "DEFAULT_TOLERANCE_NS",
    "BarOutcome",
    "LateTrade",
    "OHLCBarAggregator",
    "RefusedBar",
    "RefusedTrade",
    "TradeOutcome",
]
