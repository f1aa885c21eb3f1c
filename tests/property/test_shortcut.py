"""Whatever the past, the decisions and the account: what is reckoned in whole numbers is what the engine trades."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escapement import wiring_sweep
from escapement.backtest.run import Account, Outcome, trade
from escapement.backtest.shortcut import Reckoned, is_plain, reckon
from escapement.calendars import calendar_for_contract
from escapement.core.analysis import MovingAverageCrossover, MovingAverageCrossoverParams
from escapement.core.analysis.columns import said
from escapement.core.analysis.donchian_breakout import DonchianBreakout, DonchianBreakoutParams
from escapement.core.risk import OwnLimits
from escapement.model import Bar, Decision, Session, Timeframe
from escapement.simulator.fills import FillModel
from pasts import MES, MINUTE, MONDAY, account, decision, history

EVENING = MONDAY + 430 * MINUTE  # 15:40 at the exchange: the session ends twenty minutes later, for an hour
FIVE = Timeframe.parse("5m")


@st.composite
def pasts(draw: st.DrawFn) -> list[Bar]:
    """Bars of five minutes of which some are missing, across the end of a session or not."""
    at_ns, ticks = draw(st.sampled_from([MONDAY, EVENING])), 22_800
    calendar, found = calendar_for_contract(MES), list[Bar]()
    reach = draw(st.sampled_from([1, 3, 12]))
    for _ in range(draw(st.integers(3, 40))):
        interval = calendar.interval(FIVE, at_ns)
        if interval is not None and draw(st.integers(0, 6)) != 0:
            opened = ticks + draw(st.integers(-reach, reach))
            ticks = opened + draw(st.integers(-reach, reach))
            high = max(opened, ticks) + draw(st.integers(0, reach))
            low = min(opened, ticks) - draw(st.integers(0, reach))
            found.append(
                Bar(MES, FIVE, interval.label_ns, interval.end_ns, opened / 4, high / 4, low / 4, ticks / 4, 9)
            )
        at_ns += 5 * MINUTE
    return found


@st.composite
def wishes(draw: st.DrawFn, some: Sequence[Bar]) -> list[Decision]:
    """Decisions at the ends of bars and between, in stretches that turn round each time or in any order."""
    begin, end = some[0].start_ns, some[-1].end_ns
    minutes = st.integers(1, (end - begin) // MINUTE)
    ends = st.sampled_from([(bar.end_ns - begin) // MINUTE for bar in some])
    places = sorted(set(draw(st.lists(ends | ends | ends | minutes, max_size=30))))
    turns, way, found = draw(st.booleans()), 1, []
    for place in places:
        way = -way if turns else draw(st.sampled_from([1, -1, 0, 1, -1]))
        found.append(decision(begin + place * MINUTE, way))
    return found


def late(session: Session) -> tuple[int | None, int | None]:
    return session.close_ns - 12 * MINUTE, session.close_ns - 7 * MINUTE


accounts = st.builds(
    account,
    stop=st.integers(1, 30) | st.just(500),
    target=st.sampled_from([None, 1, 2, 5, 20]),
    fills=st.builds(FillModel, spread_ticks=st.integers(0, 2), slippage_ticks=st.integers(0, 2),
                    queue_ahead=st.integers(0, 3)),
    fee=st.sampled_from(["0", "0.61"]),
    contracts=st.integers(1, 3),
    own=st.builds(
        OwnLimits, most_contracts=st.sampled_from([None, 2]), most_per_order=st.sampled_from([None, 1, 2]),
        orders_per_minute=st.sampled_from([None, 1, 10]), orders_per_day=st.sampled_from([None, 3, 12]),
        trade_loss=st.sampled_from([None, Decimal(40)]), oldest_price_s=st.sampled_from([10.0, 400.0]),
        oldest_decision_s=st.sampled_from([60.0, 700.0]),
    ),
    deadlines=st.sampled_from([late, lambda _: (None, None)]),
    balance=st.sampled_from([50_000, 50_000, 30]),
)  # fmt: skip


def both(some: Sequence[Bar], chosen: Sequence[Decision], with_account: Account) -> tuple[Reckoned, Outcome]:
    past = history(some)
    assert is_plain([past], with_account)
    begin, end = some[0].start_ns, some[-1].end_ns
    at_ns = np.array([each.known_at_ns for each in chosen], np.int64)
    ways = np.array([each.direction for each in chosen], np.int64)
    return reckon(past, at_ns, ways, with_account, begin, end), trade([past], chosen, with_account, begin, end)


def check_same(reckoned: Reckoned, traded: Outcome) -> None:
    trips = reckoned.trips
    assert list(zip(*(each.tolist() for each in trips[:5]), strict=True)) == [
        (each.opened_ns, each.closed_ns, each.size, each.entry_ticks, each.exit_ticks) for each in traded.trips
    ]
    assert reckoned.balance == traded.balance
    assert wiring_sweep.told(reckoned) == wiring_sweep.told(traded)


@settings(max_examples=600, deadline=None)
@given(st.data(), pasts(), accounts)
def test_what_is_reckoned_is_what_is_traded(data: st.DataObject, some: list[Bar], with_account: Account) -> None:
    if some:
        check_same(*both(some, data.draw(wishes(some)), with_account))


@pytest.mark.parametrize("orders_per_minute", [None, 1])
@pytest.mark.parametrize("stop", [12, 60, 15_000])
def test_long_stretches_of_turns_are_reckoned_at_once(stop: int, orders_per_minute: int | None) -> None:
    from pasts import walk  # noqa: PLC0415

    some = walk(3_000)
    chosen = [decision(bar.end_ns, 1 if number % 2 else -1) for number, bar in enumerate(some[5:-1:7])]
    own = OwnLimits(orders_per_minute=orders_per_minute)
    reckoned, traded = both(some, chosen, account(stop=stop, fee="0.61", own=own))
    assert reckoned.trips.size.size > 300
    check_same(reckoned, traded)
    broke, refused = both(some, chosen, account(stop=stop, fee="0.61", own=own, balance=60))
    assert broke.trips.size.size < reckoned.trips.size.size
    check_same(broke, refused)


@pytest.mark.parametrize("orders_per_minute", [1, 2, 3])
def test_a_stretch_of_turns_ends_where_entries_come_too_soon(orders_per_minute: int) -> None:
    quarter = Timeframe.parse("15s")
    some = [
        Bar(
            MES,
            quarter,
            MONDAY + each * MINUTE // 4,
            MONDAY + (each + 1) * MINUTE // 4,
            5700.0,
            5700.5,
            5699.5,
            5700.0,
            9,
        )
        for each in range(400)
    ]
    ends = [bar.end_ns for number, bar in enumerate(some[:-1]) if number % 50 not in {3, 11, 12, 13, 14, 40}]
    chosen = [decision(at_ns, 1 if number % 2 else -1) for number, at_ns in enumerate(ends)]
    reckoned, traded = both(some, chosen, account(stop=500, own=OwnLimits(orders_per_minute=orders_per_minute)))
    assert traded.refusals
    check_same(reckoned, traded)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(-9, 9), max_size=120), st.integers(1, 9), st.integers(1, 20), st.sampled_from([0.25, 0.00005])
)  # fmt: skip
def test_analyzers_say_of_columns_what_they_say_bar_by_bar(steps: list[int], one: int, more: int, tick: float) -> None:
    ticks, some = 22_800, list[Bar]()
    for number, step in enumerate(steps):
        ticks += step
        begin = MONDAY + number * MINUTE
        open_, high, low, close = [round(each * tick, 5) for each in (ticks, ticks + abs(step), ticks - 2, ticks)]
        some.append(Bar(MES, Timeframe.parse("1m"), begin, begin + MINUTE, open_, high, low, close, 1))
    columns = [np.array([getattr(bar, name) for bar in some], np.float64) for name in ("high", "low", "close")]
    crossing = MovingAverageCrossoverParams(one, one + more)
    channel = DonchianBreakoutParams(more)
    for analyzer, params in ((MovingAverageCrossover(crossing), crossing), (DonchianBreakout(channel), channel)):
        found = said(analyzer, params, *columns)
        by_bar = [(number, signal.signal_type) for number, bar in enumerate(some) for signal in analyzer.push(bar)]
        if found is None:
            # Of prices that do not add up exactly, averages are left to the analyzer.
            assert tick == 0.00005
            assert isinstance(analyzer, MovingAverageCrossover)
        else:
            assert (
                list(zip(found.bar.tolist(), [found.types[each] for each in found.kind.tolist()], strict=True))
                == by_bar
            )
