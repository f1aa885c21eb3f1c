"""The vectorised path gives the bars of the streaming one."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from escapement.calendars import calendar
from escapement.core.aggregation import OHLCBarAggregator
from escapement.core.aggregation.columns import BarColumns, TradeColumns, aggregate_bars, aggregate_trades
from escapement.errors import InvalidInput
from escapement.model import NS_PER_SECOND, Bar, Timeframe, Trade
from escapement.moments import ns_from_iso
from streams import ALL, CONTRACT, MONDAY_OPEN, WEEK, only_bars, streams, timeframe_sets


def columns(trades: list[Trade]) -> TradeColumns:
    return TradeColumns(
        np.array([trade.at_ns for trade in trades], np.int64),
        np.array([trade.price for trade in trades], np.float64),
        np.array([trade.volume for trade in trades], np.int64),
    )


def streamed(trades: list[Trade], timeframes: list[Timeframe]) -> list[Bar]:
    stage = OHLCBarAggregator({CONTRACT: WEEK}, timeframes, tolerance_ns=0)
    return only_bars([*stage.push_many(trades), *stage.finish()])


@given(streams(), timeframe_sets)
def test_bars_from_columns_equal_streamed_bars(trades: list[Trade], timeframes: list[Timeframe]) -> None:
    built = aggregate_trades(columns(trades), WEEK, timeframes)
    assert only_bars(bar for timeframe in timeframes for bar in built[timeframe].bars(CONTRACT)) == streamed(
        trades, timeframes
    )


ODD_WEEKS = [
    ("2024-11-27T22:00:00Z", "2024-12-03T00:00:00Z"),
    ("2025-03-07T12:00:00Z", "2025-03-11T12:00:00Z"),
    ("2025-05-23T12:00:00Z", "2025-05-28T12:00:00Z"),
    ("2025-10-31T12:00:00Z", "2025-11-04T12:00:00Z"),
    ("2025-12-23T12:00:00Z", "2026-01-05T12:00:00Z"),
]


@given(st.sampled_from(ODD_WEEKS), st.lists(st.integers(0, 10**6), max_size=60), timeframe_sets)
def test_holidays_early_closes_and_clock_changes_make_no_difference(
    week: tuple[str, str], places: list[int], timeframes: list[Timeframe]
) -> None:
    begin, end = map(ns_from_iso, week)
    moments = sorted(begin + (end - begin) * place // 10**6 for place in places)
    equity = calendar("cme_equity")
    trades = [Trade(CONTRACT, at_ns, 5_000.0 + n, 1) for n, at_ns in enumerate(moments) if equity.is_open(at_ns)]
    stage = OHLCBarAggregator({CONTRACT: equity}, timeframes, tolerance_ns=0)
    built = aggregate_trades(columns(trades), equity, timeframes)
    assert only_bars(bar for timeframe in timeframes for bar in built[timeframe].bars(CONTRACT)) == only_bars(
        [*stage.push_many(trades), *stage.finish()]
    )


@given(streams(), timeframe_sets, st.randoms(use_true_random=False))
def test_order_of_arrival_decides_only_among_equal_times(
    trades: list[Trade], timeframes: list[Timeframe], chance: random.Random
) -> None:
    shuffled = list(trades)
    chance.shuffle(shuffled)
    in_time = sorted(shuffled, key=lambda trade: trade.at_ns)
    assert repr(aggregate_trades(columns(shuffled), WEEK, timeframes)) == repr(
        aggregate_trades(columns(in_time), WEEK, timeframes)
    )


@given(streams(), st.sampled_from(["15s", "1m", "5m", "1h", "1d"]))
def test_larger_bars_from_bar_columns_equal_streamed_bars(trades: list[Trade], smaller: str) -> None:
    small = Timeframe.parse(smaller)
    larger = [timeframe for timeframe in ALL if small.nests_in(timeframe)]
    built = aggregate_bars(BarColumns.of(small, streamed(trades, [small])), WEEK, larger)
    assert only_bars(bar for timeframe in larger for bar in built[timeframe].bars(CONTRACT)) == streamed(trades, larger)


GOOD = [Trade(CONTRACT, MONDAY_OPEN + n * NS_PER_SECOND, 5_000.0 + n, 1) for n in range(5)]
FAULTS = [
    (replace(GOOD[2], price=float("nan")), "trade 3 of 5: price nan is not a positive"),
    (replace(GOOD[2], price=float("inf")), "trade 3 of 5: price inf"),
    (replace(GOOD[2], price=0.0), r"trade 3 of 5: price 0\.0"),
    (replace(GOOD[2], volume=-1), "trade 3 of 5: volume -1 is negative"),
    (replace(GOOD[2], at_ns=MONDAY_OPEN - 1), r"trade 3 of 5: at_ns \S+Z is outside every session of week"),
]


@pytest.mark.parametrize(("fault", "message"), FAULTS)
def test_an_impossible_trade_is_named_by_row_and_field(fault: Trade, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        aggregate_trades(columns([*GOOD[:2], fault, *GOOD[3:]]), WEEK, [Timeframe.parse("1m")])


def test_bars_that_do_not_fit_or_are_out_of_order_are_refused() -> None:
    five = Timeframe.parse("5m")
    bars = streamed([replace(GOOD[0], at_ns=MONDAY_OPEN + n * 300 * NS_PER_SECOND) for n in range(3)], [five])
    with pytest.raises(InvalidInput, match="timeframe 7m cannot be built from 5m bars"):
        aggregate_bars(BarColumns.of(five, bars), WEEK, [Timeframe.parse("7m")])
    faults = [
        ([bars[0], bars[0], bars[2]], r"bar 2 of 3: start_ns 2025-03-16T22:00:00Z is not after the bar before"),
        ([bars[0], structs.replace(bars[1], volume=-1)], "bar 2 of 2: volume -1 is negative"),
        ([structs.replace(bars[0], high=1.0)], r"bar 1 of 1: prices \[.*\] are not positive finite numbers between"),
        ([structs.replace(bars[0], close=float("nan"))], "bar 1 of 1: prices"),
        ([structs.replace(bars[0], end_ns=MONDAY_OPEN)], "bar 1 of 1: start_ns .* is outside every session of week"),
    ]
    for rows, message in faults:
        with pytest.raises(InvalidInput, match=message):
            aggregate_bars(BarColumns.of(five, rows), WEEK, [Timeframe.parse("1h")])


def test_a_trade_in_the_break_of_a_holiday_session_is_refused_also_where_only_days_are_built() -> None:
    """Memorial Day 2025 breaks off at noon; its daily bar spans the break."""
    trade = Trade(CONTRACT, ns_from_iso("2025-05-26T18:00:00Z"), 5_000.0, 1)
    for timeframe in ("1m", "1d", "1w", "1mo"):
        with pytest.raises(InvalidInput, match="at_ns 2025-05-26T18:00:00Z is outside every session of cme_equity"):
            aggregate_trades(columns([trade]), calendar("cme_equity"), [Timeframe.parse(timeframe)])
