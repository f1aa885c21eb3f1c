"""What a chart shows: candles thinned to what a screen can hold, and what happened on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from escapement.errors import InvalidInput
from escapement.model import NS_PER_SECOND, FormingBar, Timeframe, TimeframeUnit
from escapement.moments import ns_from_datetime
from escapement.settings import Settings
from escapement.storage import DBHandler
from escapement.storage.analysis import AnalysisStore, KeptSignal
from escapement.storage.coordination import CoordinationStore, KeptDecision
from escapement.storage.viewing import Row, ViewStore
from escapement.web.reading.moments import EARLIEST, LATEST, bounded, moment

_LEAST: Final = 10
_MOST: Final = 10_000
_DAY_S: Final = 86_400
_LONG_S: Final = {TimeframeUnit.DAY: _DAY_S, TimeframeUnit.WEEK: 7 * _DAY_S, TimeframeUnit.MONTH: 30 * _DAY_S}


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
    """A signal: ``bar`` is the start of the bar it marks, ``trigger`` of that which revealed it: pending between.

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


async def contracts(settings: Settings, views: ViewStore) -> Sequence[KnownContract]:
    """Return the contracts there is anything of, those of the settings first."""
    named = [each.id for each in settings.contracts]
    found: dict[str, list[tuple[Timeframe, Row]]] = {contract_id: [] for contract_id in named}
    for row in await views.contracts():
        timeframe = Timeframe(TimeframeUnit(row["timeframe_unit"]), row["timeframe_value"])
        found.setdefault(row["contract_id"], []).append((timeframe, row))
    return [
        KnownContract(
            contract_id, tuple(str(timeframe) for timeframe, _ in sorted(series, key=lambda each: each[0])),
            min((row["first"] for _, row in series if row["first"] is not None), default=None),
            max((row["last"] for _, row in series if row["last"] is not None), default=None),
            contract_id in named,
        )
        for contract_id, series in found.items()
    ]  # fmt: skip


def check_most(most: int) -> None:
    """Refuse to show fewer things than make sense, or more than a screen has room for.

    Raises:
        InvalidInput: it is not within bounds.
    """
    if not _LEAST <= most <= _MOST:
        raise InvalidInput(f"most {most} is not between {_LEAST} and {_MOST}")


async def candles(
    views: ViewStore, contract_id: str, timeframe: Timeframe, begin: datetime | None, end: datetime | None, most: int
) -> tuple[int, tuple[Candle, ...]]:
    """Return how many intervals a candle spans, and the candles of a stretch.

    Raises:
        InvalidInput: the stretch or how many are wanted cannot be.
        StorageError: the database does not answer.
    """
    check_most(most)
    begin, end = bounded(begin, end)
    if begin is None:
        rows = await views.newest_bars(contract_id, timeframe, end or LATEST, most)
        return 1, tuple(map(_candle, rows))
    stretch = begin, end or LATEST
    first, last, count = await views.extent(contract_id, timeframe, *stretch, most + 1)
    if first is None or last is None:
        return 1, ()
    if count <= most:
        rows = await views.newest_bars(contract_id, timeframe, stretch[1], count)
        return 1, tuple(map(_candle, rows))
    length_s = _LONG_S.get(timeframe.unit, 0) or timeframe.length_ns / NS_PER_SECOND
    merged = 2
    # One more than the stretch holds: its first and its last candle may be cut.
    while (last - first).total_seconds() / (merged * length_s) + 2 > most:
        merged *= 2
    rows = await views.candles(contract_id, timeframe, *stretch, merged * length_s)
    return merged, tuple(map(_candle, rows))


def forming_candle(bar: FormingBar) -> Candle:
    """Return a growing bar as a candle."""
    return Candle(
        moment(bar.start_ns), moment(bar.end_ns), bar.open, bar.high, bar.low, bar.close, bar.volume, 1, bar.whole
    )


async def marks(
    database: DBHandler,
    directions: Mapping[str, int],
    contract_id: str,
    begin: datetime,
    end: datetime,
    timeframe: Timeframe | None,
    most: int,
) -> Marks:
    """Return what happened in a stretch, the newest ``most`` of each kind.

    Raises:
        InvalidInput: the stretch or how many are wanted cannot be.
        StorageError: the database does not answer.
    """
    check_most(most)
    first, last = bounded(begin, end)
    stretch = first or EARLIEST, last or LATEST
    views, from_ns, to_ns = ViewStore(database), *map(ns_from_datetime, stretch)
    signals = await AnalysisStore(database).signals(
        contracts=[contract_id], timeframes=None if timeframe is None else [timeframe], from_ns=from_ns, to_ns=to_ns,
        superseded=True, most=most + 1,
    )  # fmt: skip
    decided = await CoordinationStore(database).decisions(
        contracts=[contract_id], from_ns=from_ns, to_ns=to_ns, most=most + 1
    )
    orders = await views.orders(contract_id, *stretch, most + 1)
    fills = await views.fills(contract_id, *stretch, most + 1)
    gaps = await views.gaps(contract_id, *stretch, most + 1, only_open=False)
    cut = any(len(found) > most for found in (signals, decided, orders, fills, gaps))
    return Marks(
        tuple(_signal_mark(each, directions) for each in signals[-most:]), tuple(map(_decision_mark, decided[-most:])),
        tuple(map(_order_mark, orders[:most][::-1])), tuple(map(_fill_mark, fills[:most][::-1])),
        tuple(map(_gap_mark, gaps[:most][::-1])), cut,
    )  # fmt: skip


def _candle(row: Row) -> Candle:
    return Candle(
        row["timestamp"], row["ends_at"], row["open"], row["high"], row["low"], row["close"], row["volume"],
        row["bars"], row["whole"],
    )  # fmt: skip


def _signal_mark(each: KeptSignal, directions: Mapping[str, int]) -> SignalMark:
    return SignalMark(
        each.signal_id, each.key.analyzer, str(each.key.timeframe), each.signal_type,
        directions.get(each.signal_type, 0), each.price, moment(each.bar_start_ns), moment(each.trigger_start_ns),
        moment(each.known_at_ns), each.rule, each.superseded_ns is None,
    )  # fmt: skip


def _decision_mark(each: KeptDecision) -> DecisionMark:
    return DecisionMark(
        each.decision_id, str(each.action), each.direction, each.price, moment(each.known_at_ns), each.confidence,
        each.rule, each.words,
    )  # fmt: skip


def _order_mark(row: Row) -> OrderMark:
    return OrderMark(
        row["order_key"], row["account"], row["role"], row["side"], row["type"], row["size"], row["price"],
        row["status"], row["at"], row["ended_at"], row["filled_price"], row["decision_id"],
    )  # fmt: skip


def _fill_mark(row: Row) -> FillMark:
    return FillMark(row["fill_id"], row["account"], row["role"], row["side"], row["size"], row["price"], row["at"])


def _gap_mark(row: Row) -> GapMark:
    return GapMark(row["begins_at"], row["ends_at"], row["cause"], row["detail"], row["state"] == "open")
