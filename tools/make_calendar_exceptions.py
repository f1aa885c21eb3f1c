"""Write ``src/escapement/calendars/exceptions.csv`` from pandas-market-calendars, so that running needs no pandas.

Run it again when that library learns of new holidays; a test compares the file with the library. Where the library
closes a market earlier than the exchange did or will, the later time is written: a close that comes too late costs
nothing, one that comes too early refuses real trades.
"""

from __future__ import annotations

import csv
import sys
import warnings
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pandas_market_calendars

from escapement.calendars import CONTINUOUS_SINCE

SOURCES = {
    "cme_equity": "CME Globex Equity",
    "cme_fx": "CMEGlobex_FX",
    "cme_rates": "CME Globex Interest Rate Products",
    "cme_energy": "CMEGlobex_Energy",
    "cme_metals": "CMEGlobex_Metals",
    "cme_crypto": "CME Globex Crypto",
}
# The exchange's times of 2026 for energy and metals (pandas_market_calendars issue 464), which the library has for that
# year only; its other holidays have 13:30 in every year since 2022.
LABOR_DAY, DAY_AFTER_THANKSGIVING = "13:30", "13:45"
NYMEX_AND_COMEX = ("cme_energy", "cme_metals")
TRADE_DATES = "CME_TradeDate"
FIRST, LAST = date(2015, 1, 1), date(2035, 12, 31)
FILE = Path(__file__).parent.parent / "src/escapement/calendars/exceptions.csv"


def exceptions() -> list[tuple[str, str, str, str]]:
    """Return (calendar, date, close in Chicago or nothing when closed, whether the date is a trade date) rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The library's trade dates leave out days of mourning, on which only the stock market closed: when equity
        # futures have an ordinary close there, the day is taken for an ordinary one.
        ordinary = {day for day, close in schedule(SOURCES["cme_equity"]).items() if close == "16:00"}
        trade_dates = set(schedule(TRADE_DATES)) | ordinary
        return [
            (name, day.isoformat(), close, "yes" if has_trade_date else "no")
            for name, source in SOURCES.items()
            for day, close, has_trade_date in _exceptions_of(name, schedule(source), trade_dates)
        ]


def _exceptions_of(name: str, closes: dict[date, str], trade_dates: set[date]) -> Iterator[tuple[date, str, bool]]:
    for day in (FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)):
        if day.weekday() < 5:
            continuous = day >= CONTINUOUS_SINCE.get(name, date.max)
            usual = "17:00" if continuous else "16:00"
            close = usual if continuous else mended(name, day, closes.get(day, ""))
            has_trade_date = day in trade_dates and bool(close)
            if close != usual or not has_trade_date:
                yield day, close, has_trade_date


def mended(name: str, day: date, close: str) -> str:
    """Return the later of the library's close and what the exchange published."""
    if name in NYMEX_AND_COMEX and day.year >= 2022 and close:
        if day.month == 9 and day.weekday() == 0 and day.day <= 7:
            return max(close, LABOR_DAY)
        if day.month == 11 and day.weekday() == 4 and 23 <= day.day <= 29:
            return max(close, DAY_AFTER_THANKSGIVING)
    return close


def schedule(source: str) -> dict[date, str]:
    """Return the Chicago closing time of every day on which ``source`` trades; refuse another open than 17:00."""
    table = pandas_market_calendars.get_calendar(source).schedule(FIRST, LAST, tz="America/Chicago")
    for day, opened in zip(table.index, table["market_open"], strict=True):
        if opened.strftime("%H:%M") != "17:00" or opened.date() != (day - timedelta(days=1)).date():
            sys.exit(f"{source} opens {day.date()} at {opened}; only 17:00 of the evening before is known")
    return {day.date(): close.strftime("%H:%M") for day, close in zip(table.index, table["market_close"], strict=True)}


def main() -> None:
    """Write the file."""
    with FILE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["calendar", "date", "close_chicago", "trade_date"])
        writer.writerows(exceptions())


if __name__ == "__main__":
    main()
