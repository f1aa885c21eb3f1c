"""What a chart shows: candles thinned to what a screen can hold, and what happened on them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class KnownContract:
    """A contract of which bars are stored or kept; ``configured``: the settings name it. Times UTC, of all its bars."""

    contract_id: str
    timeframes: tuple[str, ...]
    first: datetime | None
    last: datetime | None
    configured: bool


@dataclass(frozen=True, slots=True)
class Candle:
    """``bars`` bars as one over ``[start, end)``: first open, highest high, lowest low, last close, sum of volumes.

    ``whole``: every part of it was observed. Prices in points, volume in contracts, times UTC.
    """

    start: datetime
    end: datetime
    open: float
    high: float
    low: float
    close: float
    volume: int
    bars: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Candles:
    """Candles of a contract, oldest first; at most as many as were asked for.

    ``merged``: how many intervals of the timeframe a candle spans, 1 when each is a stored bar. ``forming`` is the bar
    that is growing now, None where nothing is heard or a past stretch was asked for; it follows the last candle.
    """

    contract_id: str
    timeframe: str
    merged: int
    candles: tuple[Candle, ...]
    forming: Candle | None


@dataclass(frozen=True, slots=True)
class SignalMark:
    """A signal: ``bar`` is the start of the bar it marks, since which it was pending, ``trigger`` of that which revealed it.

    ``direction``: 1 long, -1 short, 0 for a type that says nothing. ``holds``: False when bars were revised since.
    """

    signal_id: int
    analyzer: str
    timeframe: str
    signal_type: str
    direction: int
    price: float
    bar: datetime
    trigger: datetime
    known_at: datetime
    rule: str
    holds: bool


@dataclass(frozen=True, slots=True)
class DecisionMark:
    """A decision; ``direction`` is the position wished from then on."""

    decision_id: str
    action: str
    direction: int
    price: float
    known_at: datetime
    confidence: float
    rule: str
    words: str


@dataclass(frozen=True, slots=True)
class OrderMark:
    """An order from ``at`` to ``until`` (None while it works); ``price`` is its limit or stop, None at the market.

    ``role``: entry, stop, target, close or foreign.
    """

    order: str
    account: str
    role: str
    side: str
    type: str
    size: int
    price: float | None
    status: str
    at: datetime
    until: datetime | None
    filled_price: float | None
    decision_id: str | None


@dataclass(frozen=True, slots=True)
class FillMark:
    """An execution; ``role`` is that of its order, empty when that is not known."""

    fill_id: int
    account: str
    role: str
    side: str
    size: int
    price: float
    at: datetime


@dataclass(frozen=True, slots=True)
class GapMark:
    """Trades between ``begin`` and ``end`` (None while it lasts) may be missing, unless it is no longer ``open``."""

    begin: datetime
    end: datetime | None
    cause: str
    detail: str
    open: bool


@dataclass(frozen=True, slots=True)
class Marks:
    """What happened in a stretch, oldest first, the newest so many of each kind; ``cut``: there were more."""

    signals: tuple[SignalMark, ...]
    decisions: tuple[DecisionMark, ...]
    orders: tuple[OrderMark, ...]
    fills: tuple[FillMark, ...]
    gaps: tuple[GapMark, ...]
    cut: bool
