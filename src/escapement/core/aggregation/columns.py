"""Whole columns of history to bars: the same bars as ``OHLCBarAggregator``, many times quicker.

1. Trades are put in order of time (stably, so equal times keep their order of arrival).
2. The calendar gives the edges of the lowest rung's intervals over the time covered; a binary search finds where each
   edge falls among the trades, and reductions between neighbouring edges give high, low and volume.
3. Every higher rung of the ladder is reduced in the same way from the rung that feeds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from escapement.core.aggregation.ladder import Rung, fits, ladder
from escapement.errors import InvalidInput
from escapement.model import Bar, SessionCalendar, Timeframe
from escapement.moments import iso_from_ns

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TradeColumns:
    """Trades of one contract in order of arrival: times in nanoseconds UTC, prices in points, volumes in contracts."""

    at_ns: Integers
    price: Floats
    volume: Integers


@dataclass(frozen=True, slots=True)
class BarColumns:
    """Bars of one contract and timeframe, oldest first; columns as the fields of ``Bar``."""

    timeframe: Timeframe
    start_ns: Integers
    end_ns: Integers
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Integers

    @classmethod
    def of(cls, timeframe: Timeframe, bars: Sequence[Bar]) -> BarColumns:
        """Return bars of one contract and timeframe as columns."""
        return cls(
            timeframe,
            np.array([bar.start_ns for bar in bars], np.int64),
            np.array([bar.end_ns for bar in bars], np.int64),
            np.array([bar.open for bar in bars], np.float64),
            np.array([bar.high for bar in bars], np.float64),
            np.array([bar.low for bar in bars], np.float64),
            np.array([bar.close for bar in bars], np.float64),
            np.array([bar.volume for bar in bars], np.int64),
        )

    def bars(self, contract_id: str) -> list[Bar]:
        """Return the rows as bars."""
        return [
            Bar(contract_id, self.timeframe, *row)
            for row in zip(
                self.start_ns.tolist(), self.end_ns.tolist(), self.open.tolist(), self.high.tolist(),
                self.low.tolist(), self.close.tolist(), self.volume.tolist(), strict=True,
            )
        ]  # fmt: skip


def aggregate_trades(
    trades: TradeColumns, calendar: SessionCalendar, timeframes: Sequence[Timeframe]
) -> dict[Timeframe, BarColumns]:
    """Build the bars of every timeframe from trades, also the cut-off last ones.

    Raises:
        InvalidInput: columns of different lengths, an impossible value (its row is named), a time outside every
            session, or timeframes that cannot be built.
    """
    rungs = ladder(timeframes)
    if not trades.at_ns.size == trades.price.size == trades.volume.size:
        sizes = trades.at_ns.size, trades.price.size, trades.volume.size
        raise InvalidInput(f"columns differ in length: at_ns, price and volume have {sizes}")
    at_ns, price, volume = trades.at_ns, trades.price, trades.volume
    if at_ns.size > 1 and not bool(np.all(at_ns[1:] >= at_ns[:-1])):
        order = np.argsort(at_ns, kind="stable")
        at_ns, price, volume = at_ns[order], price[order], volume[order]
    found = _reduced(rungs[0].timeframe, calendar, at_ns, (price, price, price, price), volume)
    if found is None or not _possible(found, volume):
        raise InvalidInput(_first_fault(trades, calendar))
    return _climb(rungs, {0: found}, calendar)


def aggregate_bars(
    bars: BarColumns, calendar: SessionCalendar, timeframes: Sequence[Timeframe]
) -> dict[Timeframe, BarColumns]:
    """Build larger bars from smaller ones in order of time, also the cut-off last ones.

    Raises:
        InvalidInput: the smaller bars do not fit into a timeframe, are out of order, or lie outside every session.
    """
    for timeframe in timeframes:
        if not bars.timeframe.nests_in(timeframe):
            raise InvalidInput(
                f"timeframe {timeframe} cannot be built from {bars.timeframe} bars; name a larger multiple"
            )
    if bars.end_ns.size > 1 and not bool(np.all(bars.end_ns[1:] > bars.end_ns[:-1])):
        row = int(np.argmax(bars.end_ns[1:] <= bars.end_ns[:-1])) + 1
        raise InvalidInput(
            f"bar {row + 1} of {bars.end_ns.size} ({iso_from_ns(int(bars.start_ns[row]))}) is not after the one before "
            "it; sort and deduplicate"
        )
    rungs = ladder(timeframes)
    base: dict[int, BarColumns] = {}
    for index, rung in enumerate(rungs):
        if fits(bars.timeframe, rung.timeframe) and not (rung.fed_by is not None and rung.fed_by in base):
            found = _from(bars, rung.timeframe, calendar)
            if found is None:
                raise InvalidInput(f"some bars lie outside every session of calendar {calendar.name}")
            base[index] = found
    return _climb(rungs, base, calendar)


def _climb(
    rungs: Sequence[Rung], built: dict[int, BarColumns], calendar: SessionCalendar
) -> dict[Timeframe, BarColumns]:
    for index, rung in enumerate(rungs):
        if index not in built and rung.fed_by is not None:
            found = _from(built[rung.fed_by], rung.timeframe, calendar)
            if found is not None:
                built[index] = found
    return {rung.timeframe: built[index] for index, rung in enumerate(rungs) if rung.visible}


def _from(smaller: BarColumns, timeframe: Timeframe, calendar: SessionCalendar) -> BarColumns | None:
    """Build from smaller bars; the last nanosecond of a bar tells which larger one it belongs to."""
    prices = smaller.open, smaller.high, smaller.low, smaller.close
    return _reduced(timeframe, calendar, smaller.end_ns - 1, prices, smaller.volume)


def _reduced(
    timeframe: Timeframe,
    calendar: SessionCalendar,
    at_ns: Integers,
    prices: tuple[Floats, Floats, Floats, Floats],
    volume: Integers,
) -> BarColumns | None:
    """Reduce rows in order of time to bars; None when a row lies outside every session."""
    opens, ends, labels = _edges(timeframe, calendar, at_ns)
    first = np.searchsorted(at_ns, opens, side="left")
    after = np.append(first[1:], at_ns.size)
    before_break = np.append(ends[:-1] != opens[1:], True)[: ends.size]
    after[before_break] = np.searchsorted(at_ns, ends[before_break], side="left")
    filled = after > first
    first, after = first[filled], after[filled]
    if int((after - first).sum()) != at_ns.size:
        return None
    opened, high, low, close = prices
    if not first.size:
        empty = np.empty(0)
        return BarColumns(timeframe, labels[:0], ends[:0], empty, empty, empty, empty, np.empty(0, np.int64))
    return BarColumns(
        timeframe, labels[filled], ends[filled], opened[first], np.maximum.reduceat(high, first),
        np.minimum.reduceat(low, first), close[after - 1], np.add.reduceat(volume, first),
    )  # fmt: skip


def _edges(timeframe: Timeframe, calendar: SessionCalendar, at_ns: Integers) -> tuple[Integers, Integers, Integers]:
    """Return open, end and label of every interval that can hold a row, in order."""
    if not at_ns.size:
        none = np.empty(0, np.int64)
        return none, none, none
    sessions = calendar.sessions_between(int(at_ns[0]), int(at_ns[-1]) + 1)
    if timeframe.is_intraday:
        periods = [period for session in sessions for period in session.periods]
        opens = np.concatenate(
            [np.arange(period.open_ns, period.close_ns, timeframe.length_ns, dtype=np.int64) for period in periods]
            or [np.empty(0, np.int64)]
        )
        closes = np.repeat(
            np.array([period.close_ns for period in periods], np.int64),
            [-(-(period.close_ns - period.open_ns) // timeframe.length_ns) for period in periods],
        )
        return opens, np.minimum(opens + timeframe.length_ns, closes), opens
    intervals = [calendar.interval(timeframe, session.close_ns - 1) for session in sessions]
    distinct = sorted({interval.label_ns: interval for interval in intervals if interval is not None}.items())
    rows = np.array([(i.open_ns, i.end_ns, i.label_ns) for _, i in distinct], np.int64).reshape(-1, 3)
    return rows[:, 0], rows[:, 1], rows[:, 2]


def _possible(root: BarColumns, volume: Integers) -> bool:
    """Whether no trade had an impossible value: NaN and infinity show in the extremes of their bar."""
    prices_fine = bool(np.all(root.low > 0)) and bool(np.all(root.high < np.inf))
    return prices_fine and (volume.size == 0 or int(volume.min()) >= 0)


def _first_fault(trades: TradeColumns, calendar: SessionCalendar) -> str:
    price = trades.price
    checks = (
        ("price", price, ~(np.isfinite(price) & (price > 0)), "is not a positive finite number"),
        ("volume", trades.volume, trades.volume < 0, "is negative"),
        ("at_ns", trades.at_ns, _outside(trades.at_ns, calendar), f"is outside every session of {calendar.name}"),
    )
    for field, column, bad, reason in checks:
        if bool(bad.any()):
            row = int(np.argmax(bad))
            value = iso_from_ns(int(column[row])) if field == "at_ns" else column[row]
            return f"trade {row + 1} of {price.size}: {field} {value} {reason}; correct or remove it"
    return "the trades cannot be aggregated"


def _outside(at_ns: Integers, calendar: SessionCalendar) -> NDArray[np.bool_]:
    periods = [period for session in calendar.sessions for period in session.periods]
    edges = np.array([edge for period in periods for edge in (period.open_ns, period.close_ns)], np.int64)
    outside: NDArray[np.bool_] = np.searchsorted(edges, at_ns, side="right") % 2 == 0
    return outside
