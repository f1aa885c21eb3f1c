"""The trading sessions of CME Group's futures, from a weekly template and a shipped table of exceptions.

A week's sessions run from 17:00 America/Chicago of the evening before to 16:00, Monday to Friday; cryptocurrencies
trade without a break since 29 May 2026, weekends and holidays counting for the next trade date. ``exceptions.csv``
holds the days that end early, do not trade, or have no trade date of their own; its figures come from
pandas-market-calendars (``tools/make_calendar_exceptions.py``). Trades of a day without a trade date
count for the next trade date, as in the venue's daily bars.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

from escapement.calendars.products import CALENDAR_OF_PRODUCT
from escapement.errors import InvalidInput
from escapement.model import Period, Session, SessionCalendar
from escapement.moments import ns_from_datetime

__all__ = ["CONTINUOUS_SINCE", "calendar", "calendar_for_contract", "calendar_name_for_contract", "calendar_names"]

_CHICAGO = ZoneInfo("America/Chicago")
_FIRST, _LAST = date(2015, 1, 1), date(2035, 12, 31)
_OPEN, _CLOSE = time(17), time(16)
# The first day on which a market trades until the next session opens. Source: CME Group's announcement of 19 February
# 2026. Where the venue begins a crypto bar since then is not known; here the grid begins at 17:00 as it always did, and
# the two hours of maintenance on Saturdays are not told apart from a quiet market.
CONTINUOUS_SINCE = {"cme_crypto": date(2026, 5, 29)}


def calendar_names() -> tuple[str, ...]:
    """Return the names ``calendar`` knows."""
    return tuple(_exceptions())


@lru_cache
def calendar(name: str) -> SessionCalendar:
    """Return the sessions of one group of products, 2015 to 2035.

    Raises:
        InvalidInput: no calendar has that name.
    """
    if name not in _exceptions():
        raise InvalidInput(f"calendar {name!r} is unknown; use one of {', '.join(calendar_names())}")
    sessions: list[Session] = []
    periods: list[Period] = []
    for day, close, has_trade_date in _days(name):
        if close is not None:
            opened = datetime.combine(day - timedelta(days=1), _OPEN, _CHICAGO)
            periods.append(Period(ns_from_datetime(opened), ns_from_datetime(datetime.combine(day, close, _CHICAGO))))
        if has_trade_date:
            sessions.append(Session(day, tuple(periods)))
            periods = []
    return SessionCalendar(name, sessions)


def calendar_name_for_contract(contract_id: str) -> str:
    """Return the calendar of a contract whose settings name none, by the product code inside its id.

    The gateway's ids are opaque, so this is a default for well-known products only.

    Raises:
        InvalidInput: the product is not known.
    """
    parts = contract_id.split(".")
    name = CALENDAR_OF_PRODUCT.get(parts[3]) if len(parts) == 5 else CALENDAR_OF_PRODUCT.get(contract_id)
    if name is None:
        raise InvalidInput(
            f"contract {contract_id!r} is of no known product; name its calendar, one of {', '.join(calendar_names())}"
        )
    return name


def calendar_for_contract(contract_id: str, name: str | None = None) -> SessionCalendar:
    """Return the calendar called ``name``, or the default one of the contract's product.

    Raises:
        InvalidInput: no such calendar, or no name and an unknown product.
    """
    return calendar(name if name is not None else calendar_name_for_contract(contract_id))


def _days(name: str) -> Iterator[tuple[date, time | None, bool]]:
    exceptions = _exceptions()[name]
    day = _FIRST
    while day <= _LAST:
        continuous = day >= CONTINUOUS_SINCE.get(name, date.max)
        if continuous or day.weekday() < 5:
            yield day, *exceptions.get(day, (_OPEN if continuous else _CLOSE, day.weekday() < 5))
        day += timedelta(days=1)


@lru_cache
def _exceptions() -> dict[str, dict[date, tuple[time | None, bool]]]:
    table: dict[str, dict[date, tuple[time | None, bool]]] = {}
    with resources.files(__package__).joinpath("exceptions.csv").open(encoding="ascii") as file:
        for row in csv.DictReader(file):
            close = time.fromisoformat(row["close_chicago"]) if row["close_chicago"] else None
            day = date.fromisoformat(row["date"])
            table.setdefault(row["calendar"], {})[day] = close, row["trade_date"] == "yes"
    return table
