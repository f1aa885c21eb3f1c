"""What must hold of the simulated venue for any input: tapes from bars, money, history."""

from __future__ import annotations

import itertools
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from escapement.calendars import calendar_for_contract
from escapement.core.aggregation import OHLCBarAggregator
from escapement.model import NS_PER_SECOND, Bar, Timeframe, Trade
from escapement.moments import ns_from_iso
from escapement.simulator import AccountSpec, FillModel, contract_facts
from escapement.simulator.accounts import Account
from escapement.simulator.fills import Side, limit_volume, pieces, trailed
from escapement.simulator.history import History
from escapement.simulator.sources import trades_of_bar
from simulated import MES, MONDAY_1330

CALENDAR = calendar_for_contract(MES)
TICK = 0.25
LATER = ns_from_iso("2025-04-01T00:00:00Z")
ticks = st.integers(20_000, 20_400)


@st.composite
def bars(draw: st.DrawFn) -> Bar:
    timeframe = Timeframe.parse(draw(st.sampled_from(["1s", "30s", "1m", "5m", "1h", "4h", "1d", "1w"])))
    # Two weeks around the change to summer time in Chicago, and a holiday.
    start = ns_from_iso("2025-03-03T00:00:00Z") + draw(st.integers(0, 14 * 86_400)) * NS_PER_SECOND
    while (interval := CALENDAR.interval(timeframe, start)) is None:
        start += 3_600 * NS_PER_SECOND
    prices = sorted(draw(st.lists(ticks, min_size=4, max_size=4)))
    inner = draw(st.permutations(prices[1:3]))
    low, high = prices[0] * TICK, prices[3] * TICK
    ends = [each * TICK for each in inner]
    first, last = draw(st.sampled_from([(*ends,), (low, high), (high, low), (ends[0], high), (low, ends[1])]))
    volume = draw(st.integers(1, 50_000))
    return Bar(MES, timeframe, interval.label_ns, interval.end_ns, first, high, low, last, volume)


@given(bars())
def test_trades_made_of_a_bar_rebuild_exactly_that_bar(bar: Bar) -> None:
    stage = OHLCBarAggregator({MES: CALENDAR}, [bar.timeframe], tolerance_ns=0)
    made = trades_of_bar(bar, CALENDAR)
    assert [*stage.push_many(made), *stage.advance_to(LATER)] == [bar]


fills_made = st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 5), ticks), max_size=30)


@given(fills_made, st.data())
def test_money_and_positions_add_up_whatever_is_voided(fills: list[tuple[Side, int, int]], data: st.DataObject) -> None:
    spec = AccountSpec(1, "ONE", "me")
    account, contract, ids = Account(spec), contract_facts(MES), itertools.count(1)
    for number, (side, size, price) in enumerate(fills):
        account.fill(contract, side, size, price, number, number, ids)
    for trade in data.draw(st.lists(st.sampled_from(account.trades), unique_by=id)) if account.trades else []:
        account.void(trade, {MES: contract}, ids)
    kept = [trade for trade in account.trades if not trade.voided]
    position = account.positions.get(MES)
    lots = [] if position is None else position.lots
    held = sum(size for size, _ in lots)
    assert held == sum(trade.side.sign * trade.size for trade in kept)
    assert len({size > 0 for size, _ in lots}) <= 1
    costs = sum((trade.fees + trade.commissions for trade in kept), Decimal(0))
    gained = sum((trade.profit or Decimal(0) for trade in kept), Decimal(0))
    assert account.balance == spec.balance + gained - costs
    # Cash flow says the same as profits: what was paid and got, and what is left in open lots.
    flow = -sum(trade.side.sign * trade.size * trade.ticks for trade in kept) + sum(
        size * price for size, price in lots
    )
    assert gained == flow * contract.tick_value
    restored = Account(spec)
    restored.restore(account.plain())
    assert restored.plain() == account.plain()


@given(st.sampled_from(Side), ticks, st.integers(1, 50), st.integers(0, 30), ticks, st.integers(0, 60))
def test_a_limit_order_never_trades_beyond_its_price_or_size(
    side: Side, limit: int, remaining: int, queued: int, last: int, volume: int
) -> None:
    traded, left = limit_volume(side, limit, remaining, queued, last, volume)
    assert 0 <= traded <= remaining
    assert 0 <= left <= queued
    if (last - limit) * side.sign > 0:
        assert traded == 0
    if last == limit:
        assert traded + (queued - left) <= volume


@given(st.sampled_from(Side), ticks, st.integers(1, 100), st.lists(ticks, min_size=1))
def test_a_trailing_stop_is_at_its_distance_from_the_best_price(
    side: Side, start: int, away: int, tape: list[int]
) -> None:
    stop = start + side.sign * away
    for last in tape:
        stop = trailed(side, stop, away, last)
    best = min([start, *tape]) if side is Side.BUY else max([start, *tape])
    assert stop == best + side.sign * away


@given(st.integers(1, 1_000), st.none() | st.integers(1, 50))
def test_pieces_make_up_the_whole(size: int, most: int | None) -> None:
    made = pieces(size, FillModel(most_per_fill=most))
    assert sum(made) == size
    assert all(1 <= piece <= (most or size) for piece in made)


tapes = st.lists(st.tuples(st.integers(0, 40_000), ticks, st.integers(1, 9)), min_size=1, max_size=60)


@settings(max_examples=50)
@given(tapes, st.sampled_from(["1s", "15s", "1m", "5m", "45m", "1h"]), st.integers(1, 30))
def test_served_bars_are_those_of_an_aggregator(tape: list[tuple[int, int, int]], name: str, limit: int) -> None:
    timeframe = Timeframe.parse(name)
    trades = [Trade(MES, MONDAY_1330 + at * NS_PER_SECOND, price * TICK, size) for at, price, size in sorted(tape)]
    trades = [trade for trade in trades if CALENDAR.is_open(trade.at_ns)]
    history = History(CALENDAR)
    stage = OHLCBarAggregator({MES: CALENDAR}, [timeframe], tolerance_ns=0)
    expected = [*stage.push_many(trades)]
    for trade in trades:
        history.add(trade)
    now_ns = MONDAY_1330 + 40_000 * NS_PER_SECOND
    expected += stage.advance_to(now_ns)
    whole = [bar for bar in expected if isinstance(bar, Bar) and bar.start_ns + timeframe.length_ns <= now_ns]
    served = history.bars(timeframe, MONDAY_1330 - 10**15, now_ns, limit, partial=False)
    assert [(bar.label_ns, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in served] == [
        (bar.start_ns, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in reversed(whole)
    ][:limit]
