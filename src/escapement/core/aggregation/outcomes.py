"""What an aggregator says besides bars: which inputs did not enter a bar, and why."""

from __future__ import annotations

from dataclasses import dataclass

from escapement.model import Bar, Trade


@dataclass(frozen=True, slots=True)
class LateTrade:
    """A trade older than ``watermark_ns`` (UTC): its bars may have been handed out, so it entered none."""

    trade: Trade
    watermark_ns: int


@dataclass(frozen=True, slots=True)
class RefusedTrade:
    """A trade with an impossible value in ``field``; nothing has changed."""

    trade: Trade
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class RefusedBar:
    """A bar that cannot be built upon because of ``field``; nothing has changed."""

    bar: Bar
    field: str
    reason: str


TradeOutcome = Bar | LateTrade | RefusedTrade
BarOutcome = Bar | RefusedBar
