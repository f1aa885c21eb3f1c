"""Times between what is stored and what is shown: aware datetimes UTC outside, nanoseconds inside."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

from escapement.errors import InvalidInput
from escapement.moments import datetime_from_ns, ns_from_datetime
from escapement.settings import Settings

# What lies outside is no time of a market, and would not fit nanoseconds everywhere.
EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2199, 1, 1, tzinfo=UTC)


def moment(at_ns: int) -> datetime:
    """Return nanoseconds UTC as a datetime."""
    return datetime_from_ns(at_ns)


def moment_or_none(at_ns: int | None) -> datetime | None:
    """Return nanoseconds UTC as a datetime, None as None."""
    return None if at_ns is None else datetime_from_ns(at_ns)


def bounded(begin: datetime | None, end: datetime | None) -> tuple[datetime | None, datetime | None]:
    """Return a stretch in UTC, cut to the times that a market can have; one whose end comes first holds nothing.

    Raises:
        InvalidInput: a time has no zone.
    """
    for name, each in (("begin", begin), ("end", end)):
        if each is not None and each.utcoffset() is None:
            raise InvalidInput(f"{name} {each.isoformat()} has no time zone; write it with Z or an offset")
    first, last = (None if each is None else _cut(each) for each in (begin, end))
    return first, last


def ns_or_none(at: datetime | None) -> int | None:
    """Return a datetime as nanoseconds UTC, None as None."""
    return None if at is None else ns_from_datetime(at)


def market_now_ns(settings: Settings, newest: datetime | None) -> int:
    """Return the market's time, nanoseconds UTC: in a replay that of the newest thing known, else our clock's."""
    if settings.ingest.clock == "stream" and newest is not None:
        return ns_from_datetime(newest)
    return time.time_ns()


def _cut(at: datetime) -> datetime:
    # Compared before it is converted: the first and the last hours of the calendar cannot be in other zones.
    if at <= EARLIEST:
        return EARLIEST
    return LATEST if at >= LATEST else at.astimezone(UTC)
