"""What the aggregator refuses, by name, and what it says about its edges."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from msgspec import structs

from escapement.core.aggregation import LateTrade, OHLCBarAggregator, RefusedBar, RefusedTrade
from escapement.errors import InvalidInput
from escapement.model import NS_PER_SECOND, Bar, Period, Session, SessionCalendar, Timeframe, Trade
from escapement.moments import ns_from_datetime, ns_from_iso

OPEN = ns_from_iso("2025-03-16T22:00:00Z")
CLOSE = OPEN + 23 * 3_600 * NS_PER_SECOND
CALENDAR = SessionCalendar("monday", [Session(date(2025, 3, 17), (Period(OPEN, CLOSE),))])
TRADE = Trade("MES", OPEN, 5_700.25, 1)
MINUTE = Timeframe.parse("1m")
FIVE_MINUTES = Timeframe.parse("5m")


def aggregator(*timeframes: str, tolerance_ns: int = 0) -> OHLCBarAggregator:
    chosen = [Timeframe.parse(text) for text in timeframes or ("1m", "5m")]
    return OHLCBarAggregator({"MES": CALENDAR}, chosen, tolerance_ns=tolerance_ns)


IMPOSSIBLE = [
    (replace(TRADE, price=math.nan), "price"),
    (replace(TRADE, price=math.inf), "price"),
    (replace(TRADE, price=0.0), "price"),
    (replace(TRADE, price=-5_700.25), "price"),
    (replace(TRADE, volume=-1), "volume"),
    (replace(TRADE, volume=1.5), "volume"),  # type: ignore[arg-type] # what an unchecked decoder might hand over
    (replace(TRADE, volume=True), "volume"),
    (replace(TRADE, contract_id="ES"), "contract_id"),
    (replace(TRADE, at_ns=OPEN - 1), "at_ns"),
    (replace(TRADE, at_ns=CLOSE), "at_ns"),
]


@pytest.mark.parametrize(("trade", "field"), IMPOSSIBLE)
@pytest.mark.parametrize("first", [True, False], ids=["as first trade", "within a bar"])
def test_an_impossible_trade_is_refused_by_name_and_changes_nothing(trade: Trade, field: str, *, first: bool) -> None:
    stage = aggregator()
    if not first:
        stage.push(TRADE)
    before = stage.snapshot()
    (refused,) = stage.push(trade)
    assert isinstance(refused, RefusedTrade)
    assert (refused.trade, refused.field) == (trade, field)
    assert stage.snapshot() == before


def test_naive_times_are_refused_where_times_are_read() -> None:
    with pytest.raises(InvalidInput, match="no time zone"):
        ns_from_datetime(datetime(2025, 3, 17, 13, 30))  # noqa: DTZ001 - the naive time is the point
    with pytest.raises(InvalidInput, match=r"2025-03-17T13:30:00.*no time zone"):
        ns_from_iso("2025-03-17T13:30:00")
    assert ns_from_datetime(datetime(2025, 3, 17, 13, 30, tzinfo=UTC)) == ns_from_iso("2025-03-17T08:30:00-05:00")


def test_equal_trades_count_each() -> None:
    stage = aggregator()
    stage.push_many([TRADE, TRADE, TRADE])
    assert [bar.volume for bar in stage.finish()] == [3, 3]


def test_a_trade_at_the_end_of_a_bar_opens_the_next_one_and_completes_the_first() -> None:
    stage = aggregator()
    stage.push(TRADE)
    (bar,) = stage.push(replace(TRADE, at_ns=OPEN + 60 * NS_PER_SECOND, price=5_701.0))
    assert bar == Bar("MES", MINUTE, OPEN, OPEN + 60 * NS_PER_SECOND, 5_700.25, 5_700.25, 5_700.25, 5_700.25, 1)
    forming = stage.forming("MES", MINUTE)
    assert forming is not None
    assert (forming.open, forming.volume) == (5_701.0, 1)


def test_a_bar_waits_for_the_tolerance_and_then_the_clock_closes_it() -> None:
    stage = aggregator(tolerance_ns=100_000_000)
    stage.push(TRADE)
    end = OPEN + 60 * NS_PER_SECOND
    assert stage.advance_to(end + 99_999_999) == []
    assert [bar.timeframe for bar in stage.advance_to(end + 100_000_000)] == [MINUTE]
    (late,) = stage.push(replace(TRADE, at_ns=end - 1))
    assert isinstance(late, LateTrade)
    assert late.watermark_ns == end


def test_no_bar_for_a_stretch_without_trades() -> None:
    stage = aggregator("1m")
    stage.push(TRADE)
    stage.push(replace(TRADE, at_ns=OPEN + 600 * NS_PER_SECOND))
    (last,) = stage.finish()
    assert last.start_ns == OPEN + 600 * NS_PER_SECOND


def test_bars_that_cannot_be_built_upon_are_refused_by_name() -> None:
    five = Bar("MES", FIVE_MINUTES, OPEN, OPEN + 300 * NS_PER_SECOND, 1.0, 2.0, 0.5, 1.5, 7)
    stage = aggregator("15m", "1h")
    for bar, field in [
        (structs.replace(five, contract_id="ES"), "contract_id"),
        (structs.replace(five, timeframe=Timeframe.parse("7m")), "timeframe"),
        (structs.replace(five, start_ns=OPEN + 1), "start_ns"),
        (structs.replace(five, high=1.2), "high and low"),
        (structs.replace(five, low=math.nan), "prices"),
        (structs.replace(five, volume=-1), "volume"),
    ]:
        (refused,) = stage.push_bar(bar)
        assert isinstance(refused, RefusedBar)
        assert refused.field == field
    assert stage.push_bar(five) == []
    (again,) = stage.push_bar(five)
    assert isinstance(again, RefusedBar)
    assert "once each" in again.reason


def test_settings_that_cannot_work_are_refused() -> None:
    for timeframes in ([], [MINUTE, MINUTE]):
        with pytest.raises(InvalidInput, match="timeframe"):
            OHLCBarAggregator({"MES": CALENDAR}, timeframes)
    with pytest.raises(InvalidInput, match="contract"):
        OHLCBarAggregator({}, [MINUTE])
    with pytest.raises(InvalidInput, match="tolerance -1"):
        OHLCBarAggregator({"MES": CALENDAR}, [MINUTE], tolerance_ns=-1)
    with pytest.raises(InvalidInput, match="5m is not aggregated"):
        aggregator("1m").forming("MES", FIVE_MINUTES)


def test_state_of_other_timeframes_is_not_taken_over() -> None:
    stage = aggregator("1m")
    with pytest.raises(InvalidInput, match="start without it"):
        stage.restore(aggregator("1m", "5m").snapshot())
