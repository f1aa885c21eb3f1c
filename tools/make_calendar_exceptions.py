"""Write ``src/escapement/calendars/exceptions.csv`` from pandas-market-calendars, so that running needs no pandas.

Run it again when that library learns of new holidays; a test compares the file with the library.
"""

from __future__ import annotations

import csv
import sys
import warnings
from datetime import date, timedelta
from pathlib import Path

import pandas_market_calendars

SOURCES = {
    "cme_equity": "CME Globex Equity",
    "cme_fx": "CMEGlobex_FX",
    "cme_rates": "CME Globex Interest Rate Products",
    "cme_energy": "CMEGlobex_Energy",
    "cme_metals": "CMEGlobex_Metals",
    "cme_crypto": "CME Globex Crypto",
}
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
        rows = []
        for name, source in SOURCES.items():
            closes = schedule(source)
            day = FIRST
            while day <= LAST:
                close = closes.get(day, "")
                if day.weekday() < 5 and (close != "16:00" or day not in trade_dates):
                    rows.append((name, day.isoformat(), close, "yes" if day in trade_dates and close else "no"))
                day += timedelta(days=1)
    return rows


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
