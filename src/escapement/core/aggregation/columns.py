"""Whole columns of history to bars: the same bars as ``OHLCBarAggregator``, many times quicker.

1. Trades are put in order of time (stably, so equal times keep their order of arrival).
2. The calendar gives the lowest rung's intervals over the time covered; a binary search finds where each begins among
   the trades, and reductions from one beginning to the next give high, low and volume.
3. Every higher rung of the ladder is reduced in the same way from the rung that feeds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, overload

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from escapement.core.aggregation.ladder import Rung, fits, ladder
from escapement.errors import InvalidInput, InvariantViolated
from escapement.model import Bar, BarSource, Session, SessionCalendar, Timeframe
from escapement.moments import iso_from_ns

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Fault = tuple[str, NDArray[Any], NDArray[np.bool_], str]
_AT_ONCE = 4_096  # rows made at a time
_BLOCK = 128  # bars reduced at a time, so that their rows are still in the processor's cache for the next reduction


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
        if isinstance(bars, BarRows):
            return bars.columns
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

    def __getitem__(self, some: slice) -> BarColumns:
        """Return some of the rows."""
        columns = (getattr(self, each.name)[some] for each in fields(self)[1:])
        return BarColumns(self.timeframe, *columns)

    def __len__(self) -> int:
        return int(self.start_ns.size)

    def bars(self, contract_id: str) -> list[Bar]:
        """Return the rows as bars."""
        return [
            Bar(contract_id, self.timeframe, *row)
            for row in zip(
                self.start_ns.tolist(), self.end_ns.tolist(), self.open.tolist(), self.high.tolist(),
                self.low.tolist(), self.close.tolist(), self.volume.tolist(), strict=True,
            )
        ]  # fmt: skip


class BarRows(Sequence[Bar]):
    """Bars of one contract that are kept as columns, in an eighth of the memory, and made when they are looked at.

    Args:
        contract_id: theirs.
        columns: of the bars.
        whole: whether each was wholly observed.
        source: where they come from.
    """

    def __init__(
        self, contract_id: str, columns: BarColumns, *, whole: bool = True, source: BarSource = BarSource.LIVE
    ) -> None:
        self.columns = columns
        self._contract_id, self._whole, self._source = contract_id, whole, source

    @classmethod
    def of(cls, bars: Sequence[Bar]) -> Sequence[Bar]:
        """Return bars of one contract and timeframe as such rows; as they are when they differ in other things too."""
        if isinstance(bars, cls):
            return bars
        alike = {(bar.contract_id, bar.whole, bar.source) for bar in bars}
        if len(alike) != 1:
            return bars
        ((contract_id, whole, source),) = alike
        return cls(contract_id, BarColumns.of(bars[0].timeframe, bars), whole=whole, source=source)

    def __len__(self) -> int:
        return len(self.columns)

    def __iter__(self) -> Iterator[Bar]:
        for begin in range(0, len(self), _AT_ONCE):
            yield from self._made(slice(begin, begin + _AT_ONCE))

    @overload
    def __getitem__(self, place: int) -> Bar: ...

    @overload
    def __getitem__(self, place: slice) -> BarRows: ...

    def __getitem__(self, place: int | slice) -> Bar | BarRows:
        if isinstance(place, slice):
            return BarRows(self._contract_id, self.columns[place], whole=self._whole, source=self._source)
        index = range(len(self))[place]
        return self._made(slice(index, index + 1))[0]

    def _made(self, place: slice) -> list[Bar]:
        made = self.columns[place].bars(self._contract_id)
        if self._whole and self._source is BarSource.LIVE:
            return made
        return [structs.replace(bar, whole=self._whole, source=self._source) for bar in made]


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
    if found is None:
        raise InvalidInput(_first_fault("trade", _trade_faults(trades, calendar)))
    return _climb(rungs, {0: found}, calendar)


def aggregate_bars(
    bars: BarColumns, calendar: SessionCalendar, timeframes: Sequence[Timeframe]
) -> dict[Timeframe, BarColumns]:
    """Build larger bars from smaller ones in order of time, also the cut-off last ones.

    Raises:
        InvalidInput: the smaller bars do not fit into a timeframe, are out of order, hold impossible values (the row is
            named), or lie outside every session.
    """
    for timeframe in timeframes:
        if not bars.timeframe.nests_in(timeframe):
            raise InvalidInput(
                f"timeframe {timeframe} cannot be built from {bars.timeframe} bars; name a larger multiple"
            )
    faults = _bar_faults(bars, calendar)
    if any(bool(bad.any()) for _, _, bad, _ in faults):
        raise InvalidInput(_first_fault("bar", faults))
    rungs = ladder(timeframes)
    base: dict[int, BarColumns] = {}
    for index, rung in enumerate(rungs):
        if fits(bars.timeframe, rung.timeframe) and not (rung.fed_by is not None and rung.fed_by in base):
            base[index] = _from(bars, rung.timeframe, calendar)
    return _climb(rungs, base, calendar)


def _climb(
    rungs: Sequence[Rung], built: dict[int, BarColumns], calendar: SessionCalendar
) -> dict[Timeframe, BarColumns]:
    for index, rung in enumerate(rungs):
        if index not in built and rung.fed_by is not None:
            built[index] = _from(built[rung.fed_by], rung.timeframe, calendar)
    return {rung.timeframe: built[index] for index, rung in enumerate(rungs) if rung.visible}


def _from(smaller: BarColumns, timeframe: Timeframe, calendar: SessionCalendar) -> BarColumns:
    """Build from smaller bars; the last nanosecond of a bar tells which larger one it belongs to."""
    prices = smaller.open, smaller.high, smaller.low, smaller.close
    found = _reduced(timeframe, calendar, smaller.end_ns - 1, prices, smaller.volume)
    if found is None:
        raise InvariantViolated(f"{smaller.timeframe} bars that were found to be sound make no {timeframe} bars")
    return found


def _reduced(
    timeframe: Timeframe,
    calendar: SessionCalendar,
    at_ns: Integers,
    prices: tuple[Floats, Floats, Floats, Floats],
    volume: Integers,
) -> BarColumns | None:
    """Reduce rows in order of time to bars; None when a row has an impossible value or lies outside every session."""
    sessions = calendar.sessions_between(int(at_ns[0]), int(at_ns[-1]) + 1) if at_ns.size else ()
    periods = [period for session in sessions for period in session.periods]
    opens, closes = _column(period.open_ns for period in periods), _column(period.close_ns for period in periods)
    if int((np.searchsorted(at_ns, closes) - np.searchsorted(at_ns, opens)).sum()) != at_ns.size:
        return None
    if timeframe.is_intraday:
        starts, ends = _grid(timeframe.length_ns, opens, closes)
        labels = starts
    else:
        starts, ends, labels = _days(timeframe, calendar, sessions)
    first = np.searchsorted(at_ns, starts)
    after = np.append(first[1:], at_ns.size)[: first.size]
    filled = after > first
    first, after = first[filled], after[filled]
    opened, high, low, close = prices
    bars = BarColumns(
        timeframe, labels[filled], ends[filled], opened[first], np.empty(first.size), np.empty(first.size),
        close[after - 1], np.empty(first.size, np.int64),
    )  # fmt: skip
    for begin in range(0, first.size, _BLOCK):
        some = slice(begin, begin + _BLOCK)
        rows = slice(first[begin], after[some][-1])
        beginnings = first[some] - first[begin]
        np.maximum.reduceat(high[rows], beginnings, out=bars.high[some])
        np.minimum.reduceat(low[rows], beginnings, out=bars.low[some])
        np.add.reduceat(volume[rows], beginnings, out=bars.volume[some])
        if volume[rows].min() < 0:
            return None
    # NaN and infinity show in the extremes of their bar.
    return bars if bool(np.all(bars.low > 0)) and bool(np.all(bars.high < np.inf)) else None


def _grid(length_ns: int, opens: Integers, closes: Integers) -> tuple[Integers, Integers]:
    """Return start and end of every intraday interval, counted from each open and cut at each close."""
    counts = -(-(closes - opens) // length_ns)
    before = np.cumsum(counts) - counts
    starts = np.repeat(opens - before * length_ns, counts) + np.arange(counts.sum(), dtype=np.int64) * length_ns
    return starts, np.minimum(starts + length_ns, np.repeat(closes, counts))


def _days(
    timeframe: Timeframe, calendar: SessionCalendar, sessions: Sequence[Session]
) -> tuple[Integers, Integers, Integers]:
    """Return start, end and label of every interval made of whole sessions."""
    found = [calendar.interval(timeframe, session.close_ns - 1) for session in sessions]
    intervals = list({interval.label_ns: interval for interval in found if interval is not None}.values())
    return (
        _column(interval.open_ns for interval in intervals),
        _column(interval.end_ns for interval in intervals),
        _column(interval.label_ns for interval in intervals),
    )


def _column(values: Iterable[int]) -> Integers:
    return np.fromiter(values, np.int64)


def _trade_faults(trades: TradeColumns, calendar: SessionCalendar) -> list[Fault]:
    at_ns, price, volume = trades.at_ns, trades.price, trades.volume
    return [
        ("price", price, ~(np.isfinite(price) & (price > 0)), "is not a positive finite number"),
        ("volume", volume, volume < 0, "is negative"),
        ("at_ns", at_ns, _outside(at_ns, calendar), f"is outside every session of {calendar.name}"),
    ]


def _bar_faults(bars: BarColumns, calendar: SessionCalendar) -> list[Fault]:
    prices = np.stack((bars.open, bars.high, bars.low, bars.close), axis=1)
    sound = (prices > 0).all(axis=1) & (prices.max(axis=1) == bars.high) & (prices.min(axis=1) == bars.low)
    late = bars.end_ns - 1
    repeated = np.append(False, bars.end_ns[1:] <= bars.end_ns[:-1])[: sound.size]
    return [
        ("prices", prices, ~(sound & (bars.high < np.inf)), "are not positive finite numbers between low and high"),
        ("volume", bars.volume, bars.volume < 0, "is negative"),
        ("start_ns", bars.start_ns, repeated, "is not after the bar before"),
        ("start_ns", bars.start_ns, _outside(late, calendar), f"is outside every session of {calendar.name}"),
    ]


def _first_fault(kind: str, faults: Sequence[Fault]) -> str:
    """Name the first row with a fault, its field and value."""
    row, index = min((int(np.argmax(bad)), index) for index, (_, _, bad, _) in enumerate(faults) if bool(bad.any()))
    field, column, _, reason = faults[index]
    value = iso_from_ns(int(column[row])) if field.endswith("_ns") else column[row]
    return f"{kind} {row + 1} of {len(column)}: {field} {value} {reason}; correct or remove it"


def _outside(at_ns: Integers, calendar: SessionCalendar) -> NDArray[np.bool_]:
    periods = [period for session in calendar.sessions for period in session.periods]
    index = np.searchsorted(_column(period.open_ns for period in periods), at_ns, side="right") - 1
    outside: NDArray[np.bool_] = (index < 0) | (at_ns >= _column(period.close_ns for period in periods)[index])
    return outside
