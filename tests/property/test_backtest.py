"""Whatever the past and the decisions: searching for what matters finds what walking through everything finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escapement.backtest import run as running
from escapement.backtest.engine import Engine
from escapement.backtest.market import ANY
from escapement.core.risk import OwnLimits, Trailing
from escapement.model import AggressorSide, Bar, Decision, Session, Trade
from escapement.simulator.fills import FillModel
from pasts import MES, MINUTE, MNQ, MONDAY, Row, account, bars, decision, history, run

START = {MES: 22_800, MNQ: 80_000}  # in ticks of a quarter point


@st.composite
def rows(draw: st.DrawFn, contract_id: str) -> list[Row]:
    found, at = [], START[contract_id]
    for _ in range(draw(st.integers(3, 25))):
        opened = at + draw(st.integers(-6, 6))
        close = opened + draw(st.integers(-15, 15))
        high, low = max(opened, close) + draw(st.integers(0, 12)), min(opened, close) - draw(st.integers(0, 12))
        found.append((opened / 4, high / 4, low / 4, close / 4))
        at = close
    return found


@st.composite
def prints(draw: st.DrawFn, contract_id: str) -> list[Trade]:
    steps = draw(st.lists(st.tuples(st.integers(0, 90), st.integers(-8, 8), st.sampled_from(list(AggressorSide)),
                                    st.integers(1, 3)), min_size=3, max_size=60))  # fmt: skip
    times = accumulate(second for second, _, _, _ in steps)
    prices = accumulate((step for _, step, _, _ in steps), initial=START[contract_id])
    return [
        Trade(contract_id, MONDAY + second * 1_000_000_000, price / 4, volume, side)
        for second, price, (_, _, side, volume) in zip(times, prices, steps, strict=False)
    ]


def wishes(contract_id: str, unit_ns: int) -> st.SearchStrategy[list[Decision]]:
    one = st.tuples(st.integers(1, 25), st.sampled_from([1, -1, 0]))
    chosen = st.lists(one, max_size=8, unique_by=lambda each: each[0])
    return chosen.map(
        lambda told: [decision(MONDAY + number * unit_ns, direction, contract_id) for number, direction in told]
    )


def deadline(session: Session) -> tuple[int | None, int | None]:
    del session
    return MONDAY + 70 * MINUTE, MONDAY + 83 * MINUTE


own_limits = st.builds(
    OwnLimits,
    orders_per_minute=st.just(None),
    daily_loss=st.sampled_from([None, Decimal(30), Decimal(100)]),
    trailing_loss=st.sampled_from([None, Decimal(60)]),
    trailing=st.sampled_from([Trailing.REALISED, Trailing.OPEN]),
    slippage_ticks=st.just(2),
    oldest_price_s=st.sampled_from([10.0, 400.0]),
)
accounts = st.builds(
    account,
    stop=st.integers(1, 30),
    target=st.sampled_from([None, 5, 20]),
    fills=st.builds(FillModel, spread_ticks=st.integers(0, 2), slippage_ticks=st.integers(0, 2),
                    queue_ahead=st.integers(0, 3)),
    fee=st.sampled_from(["0", "0.61"]),
    contracts=st.integers(1, 3),
    own_brackets=st.booleans(),
    own=own_limits,
    deadlines=st.sampled_from([deadline, lambda _: (None, None)]),
    latency_ms=st.sampled_from([0, 250, 5_000]),
)  # fmt: skip


def walked(do: Callable[[], running.Outcome]) -> running.Outcome:
    """Do a backtest that is told of everything, whether it matters or not."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Engine, "_levels", lambda *_: ANY)
        return do()


def of_bars(told: dict[str, list[Row]]) -> list[running.History]:
    return [history(bars(*each, contract_id=name), contract_id=name) for name, each in told.items()]


def in_order(*told: Sequence[Decision]) -> list[Decision]:
    return sorted((each for some in told for each in some), key=lambda each: (each.known_at_ns, each.contract_id))


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries({MES: rows(MES)}, optional={MNQ: rows(MNQ)}), wishes(MES, 5 * MINUTE),
    wishes(MNQ, 5 * MINUTE), accounts,
)  # fmt: skip
def test_bars_are_searched_as_if_they_were_walked(
    told: dict[str, list[Row]], first: list[Decision], second: list[Decision], with_account: running.Account
) -> None:
    chosen = in_order(first, second if MNQ in told else [])
    found = run(of_bars(told), chosen, with_account)
    assert comparable(found) == comparable(walked(lambda: run(of_bars(told), chosen, with_account)))
    check_sound(found, with_account)
    orders = {order.order_id: order for order in found.orders}
    for fill in found.fills:
        # At the first price of a bar, or while it lasted; never further from its range than spread and slippage, but
        # for a limit, which trades at its own price though the bar began beyond it.
        bar = next(each for each in found.histories[fill.contract_id].bars[min(_frames(found, fill.contract_id))]
                   if each.start_ns <= fill.at_ns < each.end_ns)  # fmt: skip
        reach = (with_account.fills.spread_ticks + with_account.fills.slippage_ticks) / 4
        limit = orders[fill.order_id].limit_price
        low, high = (bar.low, bar.high) if limit is None else (min(bar.low, limit), max(bar.high, limit))
        assert low - reach <= fill.price <= high + reach


@settings(max_examples=300, deadline=None)
@given(
    prints(MES), st.none() | prints(MNQ), wishes(MES, MINUTE), wishes(MNQ, MINUTE), accounts,
)  # fmt: skip
def test_trades_are_searched_as_if_they_were_walked(
    one: list[Trade], other: list[Trade] | None, first: list[Decision], second: list[Decision],
    with_account: running.Account,
) -> None:  # fmt: skip
    past = [history([], one), *([] if other is None else [history([], other, MNQ)])]
    chosen = in_order(first, [] if other is None else second)
    found = run(past, chosen, with_account)
    assert comparable(found) == comparable(walked(lambda: run(past, chosen, with_account)))
    check_sound(found, with_account)
    for fill in found.fills:
        assert fill.at_ns >= min(each.known_at_ns for each in chosen) + with_account.latency_ns


def comparable(found: running.Outcome) -> running.Outcome:
    # What open positions were worth at their best is followed only where a limit asks for it.
    return replace(found, days=tuple(replace(day, highest_equity=day.highest_balance) for day in found.days))


def check_sound(found: running.Outcome, with_account: running.Account) -> None:
    """Money adds up, and nobody ever held more than was wished."""
    made = sum((trip.money - trip.fees for trip in found.trips), Decimal(0))
    bought = dict.fromkeys(found.histories, 0)
    open_fees, tags = Decimal(0), {order.order_id: order.custom_tag for order in found.orders}
    for fill in found.fills:
        before = bought[fill.contract_id]
        bought[fill.contract_id] += fill.size if fill.side.name == "BUY" else -fill.size
        assert tags[fill.order_id] is not None or abs(bought[fill.contract_id]) < abs(before)  # a close closes
        assert abs(bought[fill.contract_id]) <= with_account.deal.sizing.largest
    open_fees = sum((abs(net) * with_account.deal.fee for net in bought.values()), Decimal(0))
    assert abs(found.balance - (found.start_balance + made - open_fees)) < Decimal("0.000001")


def _frames(found: running.Outcome, contract_id: str) -> list[Any]:
    return list(found.histories[contract_id].bars)


def test_what_lies_before_the_beginning_is_never_traded() -> None:
    some: list[Bar] = bars(*[(5700.0, 5701.0, 5699.0, 5700.0)] * 6)
    begin_ns = MONDAY + 15 * MINUTE
    outcome = running.trade([history(some)], [decision(begin_ns, 1)], account(), begin_ns, some[-1].end_ns)
    assert [fill.at_ns for fill in outcome.fills] == [begin_ns]
