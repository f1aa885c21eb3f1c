"""Stretches of time, ``[from, to)`` in nanoseconds UTC, and how a long one is read from the venue's history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import gcd

from escapement.model import NS_PER_SECOND, Session, SessionCalendar, Timeframe, TimeframeUnit

Stretch = tuple[int, int]

_MINUTE = Timeframe(TimeframeUnit.MINUTE, 1)
_HOUR = Timeframe(TimeframeUnit.HOUR, 1)


def joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Return what the stretches cover together, oldest first, as stretches that do not touch."""
    found: list[Stretch] = []
    for begin_ns, end_ns in sorted(stretches):
        if found and begin_ns <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end_ns)
        elif begin_ns < end_ns:
            found.append((begin_ns, end_ns))
    return found


def without(stretch: Stretch, others: Iterable[Stretch]) -> list[Stretch]:
    """Return what of ``stretch`` lies in none of the others, oldest first."""
    left: list[Stretch] = []
    begin_ns, end_ns = stretch
    for other_begin_ns, other_end_ns in joined(others):
        if other_begin_ns > begin_ns and begin_ns < end_ns:
            left.append((begin_ns, min(other_begin_ns, end_ns)))
        begin_ns = max(begin_ns, other_end_ns)
    return [*left, (begin_ns, end_ns)] if begin_ns < end_ns else left


def fits(smaller: Timeframe, larger: Timeframe) -> bool:
    """Whether bars of ``larger`` can be had from those of ``smaller``, as they are or aggregated."""
    return smaller == larger or smaller.nests_in(larger) or 0 < smaller.length_ns == larger.length_ns


def asked_of_the_venue(timeframes: Iterable[Timeframe]) -> list[Timeframe]:
    """Return what is asked of the venue to build these timeframes: the best first, then what it may still have instead.

    Minutes, unless something shorter is wanted: the venue serves bars of several hours incomplete, and makes hours and
    days from another store than minutes, which has holes of its own. It keeps hours longest.
    """
    length_ns = gcd(*(timeframe.length_ns for timeframe in timeframes))
    if length_ns % _MINUTE.length_ns == 0:
        return [_MINUTE, _HOUR]
    # The venue's grid is the clock's; ours is counted from the open, which is the same only for parts of an hour.
    seconds = length_ns // NS_PER_SECOND if _HOUR.length_ns % length_ns == 0 else 1
    return [Timeframe(TimeframeUnit.SECOND, seconds), _MINUTE, _HOUR]


def widened(calendar: SessionCalendar, timeframes: Sequence[Timeframe], stretch: Stretch) -> Stretch | None:
    """Return the stretch with every bar it touches in full; None when the market is closed throughout."""
    begin_ns, end_ns = stretch
    periods = [
        period
        for session in calendar.sessions_between(begin_ns, end_ns)
        for period in session.periods
        if period.open_ns < end_ns and period.close_ns > begin_ns
    ]
    if not periods:
        return None
    first_ns, last_ns = max(begin_ns, periods[0].open_ns), min(end_ns, periods[-1].close_ns) - 1
    for timeframe in timeframes:
        first, last = calendar.interval(timeframe, first_ns), calendar.interval(timeframe, last_ns)
        if first is not None and last is not None:
            begin_ns, end_ns = min(begin_ns, first.open_ns), max(end_ns, last.end_ns)
    return begin_ns, end_ns


def portions(calendar: SessionCalendar, timeframe: Timeframe, stretch: Stretch, most: int) -> Iterator[Stretch]:
    """Cut a stretch at session opens into portions of at most ``most`` bars each, or of one session."""
    begin_ns, end_ns = stretch
    bars = 0
    for session in calendar.sessions_between(begin_ns, end_ns):
        own = _bars(session, timeframe)
        if bars and bars + own > most and session.open_ns > begin_ns:
            yield begin_ns, session.open_ns
            begin_ns, bars = session.open_ns, 0
        bars += own
    if begin_ns < end_ns:
        yield begin_ns, end_ns


def _bars(session: Session, timeframe: Timeframe) -> int:
    return sum(-(-(period.close_ns - period.open_ns) // timeframe.length_ns) for period in session.periods)
