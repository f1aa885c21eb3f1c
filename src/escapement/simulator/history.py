"""The bars that the simulated venue serves, built from what it has published so far by a builder of its own.

As at the venue, seconds, minutes and hours are separate stores, and longer bars are made of hours when asked for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass

from escapement.model import NS_PER_SECOND, SessionCalendar, Timeframe, TimeframeUnit, Trade

_MINUTE = 60 * NS_PER_SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
# Seconds are many and of use only while fresh; minutes and hours are kept for years.
_MOST_SECONDS = 100_000


@dataclass(slots=True)
class VenueBar:
    """One bar; ``ready_ns`` is the moment from which the venue serves it as complete."""

    label_ns: int
    ready_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: int


class _Store:
    """Bars of one length on the clock grid."""

    def __init__(self, length_ns: int, most: int | None = None) -> None:
        self.length_ns = length_ns
        self.labels: list[int] = []
        self.bars: dict[int, VenueBar] = {}
        self._most = most

    def add(self, at_ns: int, price: float, volume: int) -> None:
        label = at_ns - at_ns % self.length_ns
        bar = self.bars.get(label)
        if bar is None:
            self.bars[label] = VenueBar(label, label + self.length_ns, price, price, price, price, volume)
            if not self.labels or label > self.labels[-1]:
                self.labels.append(label)
            else:
                insort(self.labels, label)
            if self._most is not None and len(self.labels) > 2 * self._most:
                self._forget(len(self.labels) - self._most)
            return
        if price > bar.high:
            bar.high = price
        elif price < bar.low:
            bar.low = price
        bar.close = price
        bar.volume += volume

    def newest_first(self, from_ns: int, to_ns: int) -> Iterator[VenueBar]:
        """Yield the bars labelled in ``[from_ns, to_ns]``."""
        for index in range(bisect_right(self.labels, to_ns) - 1, bisect_left(self.labels, from_ns) - 1, -1):
            yield self.bars[self.labels[index]]

    def _forget(self, count: int) -> None:
        for label in self.labels[:count]:
            del self.bars[label]
        del self.labels[:count]


class History:
    """What one contract has traded.

    Args:
        calendar: its sessions.
        hour_rule: whether bars of several hours lack the newest finished hour, as the venue's do.
        minutes_since_ns: seconds and minutes before that moment (UTC) are kept no more.
    """

    def __init__(self, calendar: SessionCalendar, *, hour_rule: bool = True, minutes_since_ns: int = 0) -> None:
        self.calendar = calendar
        self._hour_rule = hour_rule
        self._minutes_since_ns = minutes_since_ns
        self._seconds = _Store(NS_PER_SECOND, _MOST_SECONDS)
        self._minutes = _Store(_MINUTE)
        self._hours = _Store(_HOUR)

    def add(self, trade: Trade) -> None:
        """Take note of a published trade."""
        self._seconds.add(trade.at_ns, trade.price, trade.volume)
        self._minutes.add(trade.at_ns, trade.price, trade.volume)
        self._hours.add(trade.at_ns, trade.price, trade.volume)

    def bars(self, timeframe: Timeframe, from_ns: int, to_ns: int, limit: int, *, partial: bool) -> list[VenueBar]:
        """Return the newest ``limit`` bars labelled in ``[from_ns, to_ns]``, newest first.

        ``to_ns`` must not lie in the future. Complete is a bar whose label plus length is not after ``to_ns``; a day
        counts 24 hours from its label. Bars of several hours are served whether complete or not, but without the newest
        finished hour. Source: bars served by the venue and what clients asked for when they got them.
        """
        found: list[VenueBar] = []
        several_hours = timeframe.unit is TimeframeUnit.HOUR and timeframe.value > 1
        by_rule = several_hours and self._hour_rule and not partial
        for small in self._material(timeframe, from_ns, to_ns, by_rule=by_rule):
            interval = self.calendar.interval(timeframe, small.label_ns)
            if interval is None:
                continue
            if found and found[-1].label_ns == interval.label_ns:
                _extend_back(found[-1], small)
                continue
            if len(found) > limit + 2:
                break
            ready = interval.end_ns if several_hours else _ready_ns(timeframe, interval.label_ns)
            found.append(
                VenueBar(interval.label_ns, ready, small.open, small.high, small.low, small.close, small.volume)
            )
        served = [
            bar for bar in found if from_ns <= bar.label_ns <= to_ns and (partial or by_rule or bar.ready_ns <= to_ns)
        ]
        return served[:limit]

    def _material(self, timeframe: Timeframe, from_ns: int, to_ns: int, *, by_rule: bool) -> Iterator[VenueBar]:
        store = self._hours
        if timeframe.unit is TimeframeUnit.SECOND:
            store = self._seconds
        elif timeframe.unit is TimeframeUnit.MINUTE:
            store = self._minutes
        if store is not self._hours:
            from_ns = max(from_ns, self._minutes_since_ns)
        # A day's trades begin the evening before its label.
        small = store.newest_first(from_ns if timeframe.is_intraday else from_ns - _DAY, to_ns)
        if not by_rule:
            yield from small
            return
        finished = (bar for bar in small if bar.ready_ns <= to_ns)
        next(finished, None)
        yield from finished


def _extend_back(bar: VenueBar, earlier: VenueBar) -> None:
    bar.open = earlier.open
    bar.high, bar.low = max(bar.high, earlier.high), min(bar.low, earlier.low)
    bar.volume += earlier.volume


def _ready_ns(timeframe: Timeframe, label_ns: int) -> int:
    days = {TimeframeUnit.DAY: 1, TimeframeUnit.WEEK: 7, TimeframeUnit.MONTH: 31}
    return label_ns + (timeframe.length_ns if timeframe.is_intraday else days[timeframe.unit] * _DAY)
