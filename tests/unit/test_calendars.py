"""The trading days of 2025 and how bars lie on them. Times are UTC; Chicago is UTC-6 in winter, UTC-5 in summer."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from escapement.calendars import calendar, calendar_for_contract, calendar_name_for_contract, calendar_names
from escapement.core.aggregation import OHLCBarAggregator
from escapement.errors import InvalidInput
from escapement.model import Bar, Timeframe, Trade
from escapement.moments import iso_from_ns, ns_from_iso

EQUITY = calendar("cme_equity")


def labels(timeframe: str, *moments: str) -> list[str]:
    found = [EQUITY.interval(Timeframe.parse(timeframe), ns_from_iso(moment)) for moment in moments]
    return [iso_from_ns(interval.label_ns) if interval else "closed" for interval in found]


def bars(timeframe: str, *moments: str) -> list[tuple[str, str, int]]:
    """Start, end and volume of the bars built from one trade at each moment."""
    stage = OHLCBarAggregator({"MES": EQUITY}, [Timeframe.parse(timeframe)], tolerance_ns=0)
    outcomes = stage.push_many([Trade("MES", ns_from_iso(moment), 5_000.0, 1) for moment in moments])
    built = [bar for bar in [*outcomes, *stage.finish()] if isinstance(bar, Bar)]
    return [(iso_from_ns(bar.start_ns), iso_from_ns(bar.end_ns), bar.volume) for bar in built]


def test_four_hour_bars_follow_chicago_through_the_spring_change() -> None:
    assert bars("4h", "2025-03-07T21:59:59Z", "2025-03-09T22:00:00Z", "2025-03-10T02:00:00Z") == [
        ("2025-03-07T19:00:00Z", "2025-03-07T22:00:00Z", 1),
        ("2025-03-09T22:00:00Z", "2025-03-10T02:00:00Z", 1),
        ("2025-03-10T02:00:00Z", "2025-03-10T06:00:00Z", 1),
    ]


def test_four_hour_bars_follow_chicago_through_the_autumn_change() -> None:
    assert bars("4h", "2025-10-31T20:59:59Z", "2025-11-02T23:00:00Z", "2025-11-03T03:00:00Z") == [
        ("2025-10-31T18:00:00Z", "2025-10-31T21:00:00Z", 1),
        ("2025-11-02T23:00:00Z", "2025-11-03T03:00:00Z", 1),
        ("2025-11-03T03:00:00Z", "2025-11-03T07:00:00Z", 1),
    ]
    assert labels("1h", "2025-11-02T22:30:00Z") == ["closed"]


def test_a_week_begins_with_mondays_session_on_sunday_evening() -> None:
    assert bars("1d", "2025-03-16T22:00:00Z", "2025-03-17T20:59:59Z", "2025-03-17T22:00:00Z") == [
        ("2025-03-17T00:00:00Z", "2025-03-17T21:00:00Z", 2),
        ("2025-03-18T00:00:00Z", "2025-03-18T21:00:00Z", 1),
    ]
    assert bars("1w", "2025-03-16T22:00:00Z", "2025-03-21T20:59:59Z", "2025-03-23T22:00:00Z")[0] == (
        "2025-03-17T00:00:00Z", "2025-03-21T21:00:00Z", 2,
    )  # fmt: skip
    assert labels("1m", "2025-03-16T21:59:59Z", "2025-03-16T22:00:00Z") == ["closed", "2025-03-16T22:00:00Z"]


def test_the_maintenance_break_and_the_weekend_are_closed() -> None:
    closed = ["2025-03-18T21:00:00Z", "2025-03-18T21:59:59Z", "2025-03-21T21:00:00Z", "2025-03-22T12:00:00Z"]
    assert labels("1m", *closed) == ["closed"] * 4
    assert not any(EQUITY.is_open(ns_from_iso(moment)) for moment in closed)


def test_a_holiday_counts_for_the_next_trade_date() -> None:
    """Memorial Day 2025 trades until noon and again from 17:00; the venue has one daily bar for both days."""
    assert bars(
        "1d", "2025-05-25T22:00:00Z", "2025-05-26T16:59:59Z", "2025-05-26T22:00:00Z", "2025-05-27T20:00:00Z"
    ) == [("2025-05-27T00:00:00Z", "2025-05-27T21:00:00Z", 4)]
    assert bars("4h", "2025-05-26T14:00:00Z", "2025-05-26T22:00:00Z") == [
        ("2025-05-26T14:00:00Z", "2025-05-26T17:00:00Z", 1),
        ("2025-05-26T22:00:00Z", "2025-05-27T02:00:00Z", 1),
    ]
    assert labels("1m", "2025-05-26T17:00:00Z") == ["closed"]


def test_an_early_close_ends_the_days_bars_early() -> None:
    assert bars("1d", "2024-11-29T18:14:59Z") == [("2024-11-29T00:00:00Z", "2024-11-29T18:15:00Z", 1)]
    assert bars("1h", "2024-11-29T18:14:59Z") == [("2024-11-29T18:00:00Z", "2024-11-29T18:15:00Z", 1)]
    assert labels("1h", "2024-11-29T18:15:00Z") == ["closed"]


def test_christmas_evening_opens_the_next_trade_date() -> None:
    assert labels("1d", "2023-12-25T23:00:00Z", "2023-12-25T22:59:59Z") == ["2023-12-26T00:00:00Z", "closed"]


def test_crypto_trades_through_weekends_and_holidays_since_may_2026() -> None:
    crypto = calendar("cme_crypto")

    def trade_date(moment: str) -> str | None:
        found = crypto.interval(Timeframe.parse("1d"), ns_from_iso(moment))
        return iso_from_ns(found.label_ns)[:10] if found else None

    assert trade_date("2026-05-23T15:00:00Z") is None
    assert trade_date("2026-05-28T21:30:00Z") is None
    assert trade_date("2026-05-29T21:30:00Z") == "2026-05-29"
    assert [trade_date(f"2026-{moment}Z") for moment in ("05-29T22:00:00", "05-31T12:00:00", "06-01T21:59:59")] == [
        "2026-06-01"
    ] * 3
    assert trade_date("2026-06-01T22:00:00Z") == "2026-06-02"
    assert trade_date("2026-12-25T18:00:00Z") == "2026-12-28"
    hour = crypto.interval(Timeframe.parse("4h"), ns_from_iso("2026-05-30T21:30:00Z"))
    assert hour is not None
    assert (iso_from_ns(hour.open_ns), iso_from_ns(hour.end_ns)) == ("2026-05-30T18:00:00Z", "2026-05-30T22:00:00Z")


@pytest.mark.parametrize("name", ["cme_energy", "cme_metals"])
@pytest.mark.parametrize(("day", "close"), [("2025-09-01", "18:30"), ("2025-11-28", "19:45"), ("2026-11-27", "19:45")])
def test_energy_and_metals_close_when_the_exchange_says(name: str, day: str, close: str) -> None:
    close_ns = ns_from_iso(f"{day}T{close}:00Z")
    assert calendar(name).is_open(close_ns - 1)
    assert not calendar(name).is_open(close_ns)


def test_the_month_ends_with_its_last_session() -> None:
    assert bars("1mo", "2025-04-30T20:59:59Z", "2025-04-30T22:00:00Z") == [
        ("2025-04-01T00:00:00Z", "2025-04-30T21:00:00Z", 1),
        ("2025-05-01T00:00:00Z", "2025-05-30T21:00:00Z", 1),
    ]


def test_every_calendar_covers_every_year_it_promises() -> None:
    for name in calendar_names():
        years = {session.trade_date.year for session in calendar(name).sessions}
        assert years == set(range(2015, 2036))
        assert all(240 < sum(s.trade_date.year == year for s in calendar(name).sessions) < 262 for year in years)


def test_products_have_calendars_and_strangers_are_asked_for_one() -> None:
    assert calendar_name_for_contract("CON.F.US.EP.H24") == "cme_equity"
    assert calendar_name_for_contract("CON.F.US.CLE.F26") == "cme_energy"
    assert calendar_for_contract("CON.F.US.ZZZ.H24", "cme_fx").name == "cme_fx"
    with pytest.raises(InvalidInput, match=r"CON\.F\.US\.ZZZ\.H24.*name its calendar.*cme_equity"):
        calendar_for_contract("CON.F.US.ZZZ.H24")
    with pytest.raises(InvalidInput, match="'nyse' is unknown; use one of cme_equity"):
        calendar("nyse")


# The codes inside the gateway's contract ids, as its contract search lists them.
VENUE_CODES = {
    "cme_equity": "EP ENQ RTY YM MES MNQ M2K MYM NKD",
    "cme_fx": "DA6 BP6 CA6 EU6 JY6 MX6 NE6 SF6 EEU M6A M6B M6E",
    "cme_rates": "TUA FVA TYA TNA USA ULA",
    "cme_energy": "CLE MCLE NQM NGE NQG MNG HOE RBE",
    "cme_metals": "GCE MGC SIE SIL CPE MHG PLE",
    "cme_crypto": "MBT GMET",
}
OTHER_HOURS = "ZCE ZLE ZME ZSE ZWA GLE HE"


def test_every_product_of_the_venue_has_its_calendar_and_grains_and_livestock_have_none() -> None:
    for name, codes in VENUE_CODES.items():
        for code in codes.split():
            assert calendar_name_for_contract(f"CON.F.US.{code}.Z26") == name
    for code in OTHER_HOURS.split():
        with pytest.raises(InvalidInput, match=f"'CON.F.US.{code}.Z26' is of no known product"):
            calendar_name_for_contract(f"CON.F.US.{code}.Z26")


def test_the_shipped_exceptions_are_those_of_pandas_market_calendars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    tool = importlib.import_module("make_calendar_exceptions")
    shipped = [tuple(line.split(",")) for line in tool.FILE.read_text().splitlines()[1:]]
    assert shipped == tool.exceptions()
