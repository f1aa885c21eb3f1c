"""What holds for every stream of trades."""

from __future__ import annotations

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from escapement.core.aggregation import LateTrade, OHLCBarAggregator, TradeOutcome
from escapement.model import NS_PER_SECOND, Bar, Timeframe, Trade
from reference_bars import reference_bars
from streams import ALL, CONTRACT, DAY, HOUR, MONDAY_OPEN, WEEK, only_bars, streams, timeframe_sets


def run(trades: list[Trade], timeframes: list[Timeframe], tolerance_ns: int = 0) -> list[TradeOutcome]:
    aggregator = OHLCBarAggregator({CONTRACT: WEEK}, timeframes, tolerance_ns=tolerance_ns)
    return [*aggregator.push_many(trades), *aggregator.finish()]


@given(streams(), timeframe_sets)
def test_bars_equal_those_of_the_obvious_way(trades: list[Trade], timeframes: list[Timeframe]) -> None:
    assert only_bars(run(trades, timeframes)) == reference_bars(trades, WEEK, timeframes)


@given(streams(), timeframe_sets)
def test_bars_of_one_timeframe_come_out_in_order_and_once(trades: list[Trade], timeframes: list[Timeframe]) -> None:
    for timeframe in timeframes:
        ends = [bar.end_ns for bar in run(trades, timeframes) if isinstance(bar, Bar) and bar.timeframe == timeframe]
        assert ends == sorted(set(ends))


@given(streams(), timeframe_sets, st.sampled_from([1, 1_000, 20 * 10**9, HOUR]), st.randoms(use_true_random=False))
def test_disorder_within_the_tolerance_changes_no_bar(
    trades: list[Trade], timeframes: list[Timeframe], tolerance: int, chance: random.Random
) -> None:
    arrival = sorted(trades, key=lambda trade: (trade.at_ns + chance.randint(0, tolerance), trade.at_ns))
    expected = reference_bars(arrival, WEEK, timeframes)
    assert only_bars(run(arrival, timeframes, tolerance)) == expected


@given(st.permutations(range(40)), st.sampled_from([0, 5, 20]))
def test_a_trade_is_late_exactly_when_older_than_the_tolerance_and_is_handed_back(
    order: list[int], tolerance_s: int
) -> None:
    trades = [Trade(CONTRACT, MONDAY_OPEN + second * NS_PER_SECOND, 5_000.25, 1) for second in order]
    newest = -1
    late = []
    for trade, second in zip(trades, order, strict=True):
        if second < newest - tolerance_s:
            late.append(trade)
        newest = max(newest, second)
    outcomes = run(trades, [Timeframe.parse("15s")], tolerance_s * NS_PER_SECOND)
    assert [outcome.trade for outcome in outcomes if isinstance(outcome, LateTrade)] == late
    assert sum(bar.volume for bar in outcomes if isinstance(bar, Bar)) == len(trades) - len(late)


@given(streams(), timeframe_sets, st.sampled_from([0, 1_000, 30 * 10**9]), st.randoms(use_true_random=False))
def test_saving_and_restoring_at_every_cut_changes_nothing(
    trades: list[Trade], timeframes: list[Timeframe], tolerance: int, chance: random.Random
) -> None:
    arrival = sorted(trades, key=lambda trade: trade.at_ns + chance.randint(0, 2 * tolerance))
    whole = run(arrival, timeframes, tolerance)
    pieces: list[TradeOutcome] = []
    aggregator = OHLCBarAggregator({CONTRACT: WEEK}, timeframes, tolerance_ns=tolerance)
    while arrival:
        size = chance.randint(1, 7)
        piece, arrival = arrival[:size], arrival[size:]
        pieces += aggregator.push_many(piece)
        saved = json.dumps(aggregator.snapshot())
        aggregator = OHLCBarAggregator({CONTRACT: WEEK}, timeframes, tolerance_ns=tolerance)
        aggregator.restore(json.loads(saved))
    assert [*pieces, *aggregator.finish()] == whole


@given(streams(), st.randoms(use_true_random=False))
def test_the_clock_closes_bars_early_but_never_otherwise(trades: list[Trade], chance: random.Random) -> None:
    timeframes = [Timeframe.parse(text) for text in ("15s", "1m", "1h", "1d")]
    aggregator = OHLCBarAggregator({CONTRACT: WEEK}, timeframes, tolerance_ns=0)
    bars: list[TradeOutcome] = []
    for index, trade in enumerate(trades):
        bars += aggregator.push(trade)
        following = trades[index + 1].at_ns if index + 1 < len(trades) else trade.at_ns + DAY
        to_ns = chance.randint(trade.at_ns, following)
        bars += aggregator.advance_to(to_ns)
        assert all(bar.end_ns <= to_ns for bar in bars if isinstance(bar, Bar))
    bars += aggregator.finish()
    assert only_bars(bars) == reference_bars(trades, WEEK, timeframes)


@given(streams(), st.sampled_from(["15s", "1m", "5m", "1h", "1d"]))
def test_larger_bars_from_smaller_bars_equal_those_from_trades(trades: list[Trade], smaller: str) -> None:
    small = Timeframe.parse(smaller)
    larger = [timeframe for timeframe in ALL if small.nests_in(timeframe)]
    aggregator = OHLCBarAggregator({CONTRACT: WEEK}, larger, tolerance_ns=0)
    bars = [out for bar in run(trades, [small]) if isinstance(bar, Bar) for out in aggregator.push_bar(bar)]
    assert only_bars([*bars, *aggregator.finish()]) == reference_bars(trades, WEEK, larger)


@given(streams(most=30), timeframe_sets, st.sampled_from([0, 1_000, 30 * 10**9]))
def test_the_forming_bar_holds_all_trades_of_its_interval(
    trades: list[Trade], timeframes: list[Timeframe], tolerance: int
) -> None:
    aggregator = OHLCBarAggregator({CONTRACT: WEEK}, timeframes, tolerance_ns=tolerance)
    for count, trade in enumerate(trades, 1):
        aggregator.push(trade)
        for timeframe in timeframes:
            expected = reference_bars(trades[:count], WEEK, [timeframe])[-1]
            forming = aggregator.forming(CONTRACT, timeframe)
            assert forming is not None
            assert (forming.start_ns, forming.open, forming.high, forming.low, forming.close, forming.volume) == (
                expected.start_ns, expected.open, expected.high, expected.low, expected.close, expected.volume,
            )  # fmt: skip


@settings(max_examples=50)
@given(streams(most=40), st.integers(0, 3 * 86_400), st.integers(0, 30_000))
def test_bars_that_overlap_an_unobserved_stretch_and_only_those_are_not_whole(
    trades: list[Trade], start_s: int, length_s: int
) -> None:
    from_ns = MONDAY_OPEN + start_s * NS_PER_SECOND
    until_ns = from_ns + length_s * NS_PER_SECOND
    timeframes = [Timeframe.parse(text) for text in ("1m", "1h", "4h", "1d")]
    aggregator = OHLCBarAggregator({CONTRACT: WEEK}, timeframes, tolerance_ns=0)
    seen = [trade for trade in trades if not from_ns <= trade.at_ns < until_ns]
    bars = aggregator.push_many([trade for trade in seen if trade.at_ns < from_ns])
    bars += aggregator.advance_to(from_ns)
    aggregator.mark_unobserved(from_ns, until_ns)
    bars += aggregator.push_many([trade for trade in seen if trade.at_ns >= until_ns])
    for bar in [*bars, *aggregator.finish()]:
        assert isinstance(bar, Bar)
        interval = WEEK.interval(bar.timeframe, bar.end_ns - 1)
        assert interval is not None
        overlaps = length_s > 0 and interval.open_ns < until_ns and bar.end_ns > from_ns
        assert bar.whole != overlaps
