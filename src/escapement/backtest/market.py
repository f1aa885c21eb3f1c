"""The market of the past, one contract at a time: what was printed, found by search instead of by walking.

Between two things that matter nothing has to be looked at: no order is reached, no limit is. So a market is asked when
a price next comes as low or as high as matters, and only then tells the venue.

Times are nanoseconds UTC, prices whole ticks.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from escapement.core.aggregation.columns import BarColumns
from escapement.core.dealing import LastPrice
from escapement.errors import InvalidInput
from escapement.model import AggressorSide, PriceGrid, SessionCalendar, Trade
from escapement.simulator.fills import Quote, quote_after
from escapement.simulator.venue import Venue

Integers = NDArray[np.int64]
_NEAR: Final = 256
_FAR: Final = 65_536
LAST_US: Final = 1_000  # the last microsecond of a bar, which is as fine as fills are kept
Levels = tuple[int, int]
ANY: Final[Levels] = (1 << 62, -(1 << 62))  # every price is as low and as high as this


class Market(Protocol):
    """One contract's past, from front to back."""

    def settle(self, to_ns: int, venue: Venue) -> None:
        """Let the venue's quote be the one before ``to_ns``, though nothing that was printed till then matters."""
        ...

    def last(self) -> LastPrice | None:
        """Return the last price that was told."""
        ...

    def next_ns(self, until_ns: int, levels: Levels) -> int | None:
        """Return when before ``until_ns`` a price next comes as low as the one level or as high as the other."""
        ...

    def tell(self, venue: Venue, at_ns: int) -> bool:
        """Tell the venue what ``next_ns`` found; return whether the same has to be told again after a fill."""
        ...

    def span(self) -> tuple[int, int] | None:
        """Return the lowest and highest price of the range that was told last; None when a single price was told."""
        ...


class TradeMarket:
    """A market of which every trade is known.

    Args:
        contract_id: whose trades.
        trades: in order of time.
        grid: of its prices.
        spread: between bid and ask, in ticks.
    """

    def __init__(self, contract_id: str, trades: Sequence[Trade], grid: PriceGrid, spread: int) -> None:
        self._trades = trades
        self._spread = spread
        self._times: Integers = np.fromiter((each.at_ns for each in trades), np.int64, len(trades))
        self._ticks: Integers = np.fromiter((grid.nearest(each.price) for each in trades), np.int64, len(trades))
        self._next = 0
        self._quote: Quote | None = None
        self._contract_id = contract_id

    def settle(self, to_ns: int, venue: Venue) -> None:
        """Let the venue's quote be the one before ``to_ns``."""
        self._pass(max(self._next, int(np.searchsorted(self._times, to_ns))))
        if self._quote is not None:
            venue.quotes[self._contract_id] = self._quote

    def _pass(self, upto: int) -> None:
        first = upto - 1
        while first > self._next and self._trades[first].aggressor is AggressorSide.NONE:
            first -= 1  # a quote hangs on those before it until a print says which side it was on
        for index in range(max(first, self._next), upto):
            self._quote = quote_after(self._quote, int(self._ticks[index]), self._trades[index].aggressor, self._spread)
        self._next = upto

    def last(self) -> LastPrice | None:
        """Return the last price that was told."""
        if not self._next:
            return None
        return LastPrice(int(self._ticks[self._next - 1]), int(self._times[self._next - 1]))

    def next_ns(self, until_ns: int, levels: Levels) -> int | None:
        """Return when before ``until_ns`` a price next comes as low or high as these levels."""
        end = int(np.searchsorted(self._times, until_ns))
        found = first_reached(self._ticks, self._ticks, self._next, end, levels)
        return None if found is None else int(self._times[found])

    def tell(self, venue: Venue, at_ns: int) -> bool:
        """Tell the venue of the trades of ``at_ns``, one a call."""
        index = int(np.searchsorted(self._times, at_ns))
        self._pass(max(self._next, index))
        if self._quote is not None:
            venue.quotes[self._contract_id] = self._quote
        venue.on_trade(self._trades[self._next])
        self._quote = venue.quotes[self._contract_id]
        self._next += 1
        return False

    def span(self) -> tuple[int, int] | None:
        """Return None: every price is told."""
        return None


@dataclass(frozen=True)
class BarsOfMarket:
    """Bars of one timeframe as columns: when each begins and ends (nanoseconds UTC), and its prices in ticks."""

    begins_ns: Integers
    ends_ns: Integers
    open: Integers
    high: Integers
    low: Integers
    close: Integers

    @classmethod
    def of(cls, bars: BarColumns, grid: PriceGrid, calendar: SessionCalendar) -> BarsOfMarket:
        """Return the columns of bars, oldest first.

        Args:
            bars: of one timeframe.
            grid: of their prices.
            calendar: tells when each begins.

        Raises:
            InvalidInput: the calendar does not know a bar.
        """
        tick = float(grid.price(1))
        ticks = [np.rint(column / tick).astype(np.int64) for column in (bars.open, bars.high, bars.low, bars.close)]
        return cls(_begins(bars, calendar), bars.end_ns, *ticks)

    @property
    def begins(self) -> memoryview[int]:
        """The beginnings as whole numbers of Python's, without a list of a million of them."""
        return _view(self.begins_ns)

    @property
    def ends(self) -> memoryview[int]:
        """The ends, likewise."""
        return _view(self.ends_ns)


class BarMarket:
    """A market of which only bars are known: the first price of each, and between which prices the others lay.

    A bar is told in two parts: its first price, at which orders trade that waited for one, and then its range, in which
    a stop comes before a target, for nobody knows in which order they were reached. What has to be done at some moment
    within a bar is done at its first price.

    Args:
        contract_id: whose bars.
        bars: of one timeframe, oldest first.
        grid: of its prices.
        from_ns: bars that end by then are no part of it.
    """

    def __init__(self, contract_id: str, bars: BarsOfMarket, grid: PriceGrid, from_ns: int) -> None:
        self._contract_id = contract_id
        self._grid = grid
        self._opens, self._ends = bars.begins, bars.ends
        self._open, self._high, self._low, self._close = bars.open, bars.high, bars.low, bars.close
        self._next = self._first = bisect_right(self._ends, from_ns)
        self._is_begun = False

    def settle(self, to_ns: int, venue: Venue) -> None:
        """Let the market stand where it stood before ``to_ns``: in a bar at its first price, else without a quote."""
        ended = bisect_left(self._ends, to_ns + 1)  # bars whose end is not after it
        if ended > self._next:
            self._next, self._is_begun = ended, False
            venue.quotes.pop(self._contract_id, None)  # a bar's first price says nothing of the next one's
        if not self._is_begun and self._next < len(self._opens) and self._opens[self._next] < to_ns:
            self._begin_bar(venue)

    def last(self) -> LastPrice | None:
        """Return the last price that was told."""
        if self._is_begun:
            return LastPrice(int(self._open[self._next]), self._opens[self._next])
        if self._next == self._first:
            return None
        return LastPrice(int(self._close[self._next - 1]), self._ends[self._next - 1])

    def next_ns(self, until_ns: int, levels: Levels) -> int | None:
        """Return when before ``until_ns`` a bar next comes as low or high as these levels."""
        end = bisect_left(self._opens, until_ns)
        found = first_reached(self._low, self._high, self._next, max(end, self._next + self._is_begun), levels)
        if found is None:
            return None
        at_ns = self._opens[found] if found > self._next or not self._is_begun else self._ends[found] - LAST_US
        return at_ns if at_ns < until_ns else None

    def tell(self, venue: Venue, at_ns: int) -> bool:
        """Tell the venue of the bar that begins at ``at_ns``, or of the range of the one that ends after it."""
        if not self._is_begun or at_ns >= self._ends[self._next]:
            self._next, self._is_begun = bisect_left(self._opens, at_ns), False
            venue.quotes.pop(self._contract_id, None)
            self._begin_bar(venue)
            return False
        index = self._next
        if venue.on_range(self._contract_id, int(self._low[index]), int(self._high[index]), at_ns):
            return True
        self._next, self._is_begun = index + 1, False
        return False

    def span(self) -> tuple[int, int] | None:
        """Return the lowest and highest price of the bar whose range was told last; None when its first price was."""
        if self._is_begun:
            return None
        return int(self._low[self._next - 1]), int(self._high[self._next - 1])

    def _begin_bar(self, venue: Venue) -> None:
        self._is_begun = True
        price = self._grid.price(int(self._open[self._next]))
        venue.on_trade(Trade(self._contract_id, self._opens[self._next], price, 0))


def _view(column: Integers) -> memoryview[int]:
    return np.ascontiguousarray(column).data.cast("B").cast("q")  # what numpy calls l or q by the machine


def _begins(bars: BarColumns, calendar: SessionCalendar) -> Integers:
    if bars.timeframe.is_intraday:
        return bars.start_ns
    found = []
    for label_ns in bars.start_ns.tolist():
        interval = calendar.interval_labelled(bars.timeframe, label_ns)
        if interval is None:
            raise InvalidInput(f"bar {label_ns} {bars.timeframe} is unknown to its calendar")
        found.append(interval.open_ns)
    return np.array(found, np.int64)


def first_reached(low: Integers, high: Integers, begin: int, end: int, levels: Levels) -> int | None:
    """Return the first of ``[begin, end)`` that comes as low as the one level or as high as the other."""
    down, up = levels
    length = _NEAR
    while begin < end:
        stop = min(begin + length, end)
        reached = (low[begin:stop] <= down) | (high[begin:stop] >= up)
        place = int(reached.argmax())
        if reached[place]:
            return begin + place
        begin, length = stop, min(length * 4, _FAR)
    return None
