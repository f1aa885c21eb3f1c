"""Stretches of time as users name them: by moments, or by trade dates."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Self

import typer

from escapement.errors import InvalidInput
from escapement.model import Session, SessionCalendar
from escapement.moments import iso_from_ns, ns_from_iso

From = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help="Begin: a trade date, or an ISO 8601 time with a zone.")
]
To = Annotated[
    str | None, typer.Option("--to", metavar="TIME", help="End: a trade date (included), or an ISO 8601 time.")
]
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, slots=True)
class Span:
    """What ``--from`` and ``--to`` say; each a moment in nanoseconds UTC, a trade date, or None when not given."""

    begin: int | date | None
    end: int | date | None

    @classmethod
    def parse(cls, begin: str | None, end: str | None) -> Self:
        """Read the two options.

        Raises:
            InvalidInput: one is neither a date nor a time with a zone.
        """
        return cls(_bound("--from", begin), _bound("--to", end))

    @property
    def has_dates(self) -> bool:
        """Whether a calendar is needed to tell which moments are meant."""
        return isinstance(self.begin, date) or isinstance(self.end, date)

    def within(self, calendar: SessionCalendar | None) -> tuple[int | None, int | None]:
        """Return the moments meant, nanoseconds UTC: a trade date begins with its first open, ends with its last close.

        A day that is no trade date stands for the next one as a begin and for the one before as an end. ``calendar``
        may be None where there are no dates.

        Raises:
            InvalidInput: the stretch has no length, or a date lies outside the years of the calendar.
        """
        begin = _session(calendar, self.begin, bisect_left).open_ns if isinstance(self.begin, date) else self.begin
        end = _session(calendar, self.end, bisect_right, -1).close_ns if isinstance(self.end, date) else self.end
        if begin is not None and end is not None and begin >= end:
            raise InvalidInput(
                f"--from ({iso_from_ns(begin)}) is not before --to ({iso_from_ns(end)}); correct one of them"
            )
        return begin, end


def _session(calendar: SessionCalendar | None, day: date, side: Callable[..., int], step: int = 0) -> Session:
    sessions = calendar.sessions if calendar is not None else ()
    index = side(sessions, day, key=lambda session: session.trade_date) + step
    if not 0 <= index < len(sessions):
        raise InvalidInput(f"date {day} lies outside the calendar, 2015 to 2035; name a trade date within it")
    return sessions[index]


def _bound(option: str, text: str | None) -> int | date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text) if _DATE.fullmatch(text) else ns_from_iso(text)
    except ValueError as error:  # InvalidInput is one too
        raise InvalidInput(f"{option}: {error}; or write a trade date, such as 2026-11-23") from None
