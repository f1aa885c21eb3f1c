"""Larger bars made anew from stored smaller ones, after smaller ones were repaired."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from escapement.core.aggregation.ladder import ladder
from escapement.errors import InvalidInput
from escapement.model import Bar, BarSource, Gap, Interval, SessionCalendar, Timeframe


class Rebuild:
    """Tells which larger bars contain which smaller ones, and makes them of one another, as ``OHLCBarAggregator`` does.

    Args:
        calendar: the contract's sessions.
        timeframes: what is kept, in any order; all of them must be built from the smallest.

    Raises:
        InvalidInput: the timeframes have no common smallest one among them.
    """

    def __init__(self, calendar: SessionCalendar, timeframes: Sequence[Timeframe]) -> None:
        rungs = ladder(timeframes)
        if not rungs[0].visible:
            raise InvalidInput(f"timeframes lack {rungs[0].timeframe}, from which all of them can be built; add it")
        self._calendar = calendar
        self.root = rungs[0].timeframe
        # Ascending, so that each is made of bars that are made already.
        self.steps = tuple(
            (rungs[rung.fed_by].timeframe, rung.timeframe) for rung in rungs[1:] if rung.fed_by is not None
        )

    def roots(self, from_ns: int, to_ns: int) -> Iterator[Interval]:
        """Yield the intervals of the smallest timeframe that overlap ``[from_ns, to_ns)``, oldest first."""
        yield from intervals(self._calendar, self.root, from_ns, to_ns)

    def last_root(self, from_ns: int, to_ns: int) -> Interval | None:
        """Return the last interval of the smallest timeframe that overlaps ``[from_ns, to_ns)``."""
        period = self._calendar.period_before(to_ns)
        if period is None or period.close_ns <= from_ns:
            return None
        return self._calendar.interval(self.root, min(to_ns, period.close_ns) - 1)

    def overlapping(self, timeframe: Timeframe, gaps: Iterable[Gap], roots: Iterable[Interval]) -> list[Interval]:
        """Return the intervals of ``timeframe`` that contain one of ``roots`` or overlap one of ``gaps``, oldest first.

        A gap within a break touches no smallest bar, but may lie within a longer one.
        """
        found = {self._calendar.interval(timeframe, root.end_ns - 1) for root in roots}
        for gap in gaps:
            ends_ns = gap.begins_ns if gap.ends_ns is None else gap.ends_ns
            period = self._calendar.period_before(gap.begins_ns + 1)
            if period is not None:
                before = self._calendar.interval(timeframe, min(gap.begins_ns, period.close_ns - 1))
                if before is not None and before.open_ns < ends_ns and before.end_ns > gap.begins_ns:
                    found.add(before)
        return sorted((interval for interval in found if interval is not None), key=_by_open)

    def feeder(self, timeframe: Timeframe) -> Timeframe | None:
        """Return the timeframe whose bars those of ``timeframe`` are made of; None of the smallest."""
        return next((smaller for smaller, larger in self.steps if larger == timeframe), None)

    def inside(self, timeframe: Timeframe, larger: Interval) -> Iterator[Interval]:
        """Yield the intervals of ``timeframe`` that lie in a larger one of which they are parts, oldest first."""
        if timeframe.is_intraday:
            yield from intervals(self._calendar, timeframe, larger.open_ns, larger.end_ns)
            return
        sessions = self._calendar.sessions_between(larger.open_ns, larger.end_ns)
        found = (self._calendar.interval(timeframe, session.close_ns - 1) for session in sessions)
        yield from dict.fromkeys(interval for interval in found if interval is not None)

    def grouped(self, timeframe: Timeframe, bars: Iterable[Bar]) -> dict[Interval, list[Bar]]:
        """Return smaller bars by the interval of ``timeframe`` that they lie in."""
        groups: dict[Interval, list[Bar]] = {}
        for bar in bars:
            interval = self._calendar.interval(timeframe, bar.end_ns - 1)
            if interval is not None:
                groups.setdefault(interval, []).append(bar)
        return groups

    @staticmethod
    def merged(timeframe: Timeframe, interval: Interval, parts: Iterable[Bar]) -> Bar | None:
        """Return the bar of ``interval`` made of the smaller bars that lie in it; None without any."""
        own = sorted(parts, key=_by_end)
        if not own:
            return None
        return Bar(
            own[0].contract_id, timeframe, interval.label_ns, interval.end_ns,
            own[0].open, max(part.high for part in own), min(part.low for part in own), own[-1].close,
            sum(part.volume for part in own), all(part.whole for part in own), BarSource.REBUILT,
        )  # fmt: skip


def intervals(calendar: SessionCalendar, timeframe: Timeframe, from_ns: int, to_ns: int) -> Iterator[Interval]:
    """Yield the intervals of an intraday timeframe that overlap ``[from_ns, to_ns)``, oldest first."""
    for session in calendar.sessions_between(from_ns, to_ns):
        for period in session.periods:
            at_ns = max(from_ns, period.open_ns)
            while at_ns < min(to_ns, period.close_ns):
                interval = calendar.interval(timeframe, at_ns)
                if interval is None:
                    break
                yield interval
                at_ns = interval.end_ns


def open_since(calendar: SessionCalendar, timeframes: Iterable[Timeframe], at_ns: int) -> int:
    """Return when the oldest bar in progress at ``at_ns`` began; ``at_ns`` itself when none is."""
    began = [at_ns]
    period = calendar.period_before(at_ns + 1)
    for timeframe in timeframes if period is not None else ():
        assert period is not None  # noqa: S101 - mypy does not see the condition above
        interval = calendar.interval(timeframe, min(at_ns, period.close_ns - 1))
        if interval is not None and interval.end_ns > at_ns:
            began.append(interval.open_ns)
    return min(began)


def around(
    calendar: SessionCalendar, timeframes: Sequence[Timeframe], from_ns: int, to_ns: int | None
) -> tuple[int, int | None]:
    """Widen ``[from_ns, to_ns)`` to both ends of the bars that it cuts, and of those that these cut."""
    for _ in timeframes:
        from_ns = open_since(calendar, timeframes, from_ns)
    if to_ns is None:
        return from_ns, None
    found = [calendar.interval(timeframe, to_ns - 1) for timeframe in timeframes]
    return from_ns, max([to_ns, *(interval.end_ns for interval in found if interval is not None)])


def _by_open(interval: Interval) -> int:
    return interval.open_ns


def _by_end(bar: Bar) -> int:
    return bar.end_ns
