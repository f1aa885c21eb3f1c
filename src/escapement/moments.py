"""Times as nanoseconds since 1970-01-01 UTC, and as text."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from escapement.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FRACTION = re.compile(r"\.(\d+)")


def ns_from_datetime(moment: datetime) -> int:
    """Return ``moment`` in nanoseconds UTC.

    Raises:
        InvalidInput: the datetime has no time zone.
    """
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise InvalidInput(f"time {moment.isoformat()!r} has no time zone; write it with Z or an offset such as +00:00")
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1_000


def datetime_from_ns(at_ns: int) -> datetime:
    """Return ``at_ns`` as an aware UTC datetime, cut to microseconds."""
    return _EPOCH + timedelta(microseconds=at_ns // 1_000)


def ns_from_iso(text: str) -> int:
    """Read an ISO 8601 time with a zone and up to nine fraction digits.

    Raises:
        InvalidInput: the text is not such a time, or has no zone.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"time {text!r} is not ISO 8601; write for example 2025-03-17T13:30:00Z") from None
    at_ns = ns_from_datetime(moment)
    fraction = _FRACTION.search(text)
    if fraction is None or len(fraction[1]) <= 6:
        return at_ns
    return at_ns // 1_000_000_000 * 1_000_000_000 + int(fraction[1][:9].ljust(9, "0"))


def iso_from_ns(at_ns: int) -> str:
    """Return ``at_ns`` as ISO 8601 with Z, with as many fraction digits as it needs."""
    seconds, fraction = divmod(at_ns, 1_000_000_000)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{fraction:09d}".rstrip("0") + "Z" if fraction else text + "Z"
