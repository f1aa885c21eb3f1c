"""Trading days of the venue, and which interval of a timeframe a moment belongs to.

A session is the venue's trading day. CME futures open at 17:00 America/Chicago on the evening before and close at
16:00; a holiday whose trades count for the next business day gives that day a session of two periods. Sessions are
handed in ready-made (``escapement.calendars`` builds them), so nothing here knows of time zones.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice, takewhile

from escapement.errors import InvalidInput
from escapement.model.timeframe import NS_PER_SECOND, Timeframe, TimeframeUnit


@dataclass(frozen=True, slots=True)
class Period:
    """One unbroken stretch of trading, ``[open_ns, close_ns)``, in nanoseconds UTC."""

    open_ns: int
    close_ns: int


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day: its trade date and its periods in order of time."""

    trade_date: date
    periods: tuple[Period, ...]

    @property
    def open_ns(self) -> int:
        """When trading for this trade date begins, nanoseconds UTC."""
        return self.periods[0].open_ns

    @property
    def close_ns(self) -> int:
        """When trading for this trade date ends by the calendar, nanoseconds UTC."""
        return self.periods[-1].close_ns


@dataclass(frozen=True, slots=True)
class Interval:
    """Where one bar lies: trades of ``[open_ns, end_ns)`` make the bar labelled ``label_ns``; nanoseconds UTC.

    ``label_ns`` is the bar's timestamp. It equals ``open_ns`` for intraday bars; a daily bar is labelled 00:00 UTC of
    its trade date, hours after its first trade. A longer bar's interval also spans the breaks between its sessions.
    """

    label_ns: int
    open_ns: int
    end_ns: int


def midnight_ns(day: date) -> int:
    """Return 00:00 UTC of ``day`` in nanoseconds."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * NS_PER_SECOND


def label_date(timeframe: Timeframe, trade_date: date) -> date:
    """Return the date that labels the daily, weekly (Monday) or monthly (the first) bar containing ``trade_date``."""
    if timeframe.unit is TimeframeUnit.WEEK:
        return trade_date - timedelta(days=trade_date.weekday())
    if timeframe.unit is TimeframeUnit.MONTH:
        return trade_date.replace(day=1)
    return trade_date


class SessionCalendar:
    """The sessions of one group of products, in order.

    Args:
        name: what settings and messages call it, such as ``cme_equity``.
        sessions: ordered by time, not overlapping.

    Raises:
        InvalidInput: no sessions, or sessions out of order.
    """

    def __init__(self, name: str, sessions: Sequence[Session]) -> None:
        if not sessions:
            raise InvalidInput(f"calendar {name!r} has no sessions")
        self.name = name
        self.sessions: tuple[Session, ...] = tuple(sessions)
        self._periods: list[Period] = []
        self._session_of: list[Session] = []
        for session in self.sessions:
            for period in session.periods:
                if self._periods and period.open_ns < self._periods[-1].close_ns:
                    raise InvalidInput(
                        f"calendar {name!r}: the sessions of {session.trade_date} overlap or are out of order"
                    )
                self._periods.append(period)
                self._session_of.append(session)
        self._opens = [period.open_ns for period in self._periods]
        self._span: dict[tuple[TimeframeUnit, date], tuple[int, int]] = {}
        for unit in (TimeframeUnit.DAY, TimeframeUnit.WEEK, TimeframeUnit.MONTH):
            timeframe = Timeframe(unit, 1)
            for session in self.sessions:
                key = unit, label_date(timeframe, session.trade_date)
                opened = self._span[key][0] if key in self._span else session.open_ns
                self._span[key] = opened, session.close_ns

    def locate(self, at_ns: int) -> tuple[Period, Session] | None:
        """Return the period and session of a trade at ``at_ns``, or None when the market cannot trade then."""
        index = bisect_right(self._opens, at_ns) - 1
        if index < 0 or at_ns >= self._periods[index].close_ns:
            return None
        return self._periods[index], self._session_of[index]

    def period_before(self, at_ns: int) -> Period | None:
        """Return the last period that opened before ``at_ns``, whether it has closed or not; None before the first."""
        index = bisect_left(self._opens, at_ns) - 1
        return None if index < 0 else self._periods[index]

    def is_open(self, at_ns: int) -> bool:
        """Whether the market trades at ``at_ns`` by the calendar."""
        return self.locate(at_ns) is not None

    def interval(self, timeframe: Timeframe, at_ns: int) -> Interval | None:
        """Return the interval of ``timeframe`` that a trade at ``at_ns`` belongs to; None outside every session.

        Source: the venue's own bars (label is the start; N-hour bars restart at each session open and the last one is
        cut at the close; a daily bar is labelled 00:00 UTC of its trade date).
        """
        found = self.locate(at_ns)
        if found is None:
            return None
        period, session = found
        if timeframe.is_intraday:
            length = timeframe.length_ns
            label = at_ns - (at_ns - period.open_ns) % length
            return Interval(label, label, min(label + length, period.close_ns))
        day = label_date(timeframe, session.trade_date)
        return Interval(midnight_ns(day), *self._span[timeframe.unit, day])

    def interval_labelled(self, timeframe: Timeframe, label_ns: int) -> Interval | None:
        """Return the interval whose bar carries the label ``label_ns``; None when the calendar has no such bar."""
        if timeframe.is_intraday:
            found = self.interval(timeframe, label_ns)
            return found if found is not None and found.label_ns == label_ns else None
        moment = datetime.fromtimestamp(label_ns / NS_PER_SECOND, UTC)
        span = self._span.get((timeframe.unit, moment.date()))
        return None if span is None or midnight_ns(moment.date()) != label_ns else Interval(label_ns, *span)

    def sessions_between(self, from_ns: int, to_ns: int) -> Sequence[Session]:
        """Return the sessions that trade at some moment of ``[from_ns, to_ns)``, in order."""
        return [s for s in self.sessions if s.open_ns < to_ns and s.close_ns > from_ns]

    def sessions_of_whole_months(self, from_ns: int, to_ns: int) -> Sequence[Session]:
        """Return every session of the weeks and months that ``[from_ns, to_ns)`` touches, in order.

        Whoever has these knows where each bar that ends within the stretch begins and ends, whatever its timeframe.
        """
        touched = self.sessions_between(from_ns, to_ns)
        if not touched:
            return ()
        longer = Timeframe(TimeframeUnit.WEEK, 1), Timeframe(TimeframeUnit.MONTH, 1)
        first = min(label_date(each, touched[0].trade_date) for each in longer)
        last = [label_date(each, touched[-1].trade_date) for each in longer]

        def is_within(session: Session) -> bool:
            return any(label_date(each, session.trade_date) <= day for each, day in zip(longer, last, strict=True))

        begin = bisect_left(self.sessions, first, key=lambda session: session.trade_date)
        return list(takewhile(is_within, islice(self.sessions, begin, None)))
