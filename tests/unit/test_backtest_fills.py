"""Each way in which an order fills in a backtest, on pasts short enough to check by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from escapement.backtest.run import trade
from escapement.core.risk import OwnLimits, Trailing
from escapement.errors import InvalidInput
from escapement.model import Session
from escapement.moments import ns_from_iso
from escapement.simulator.fills import FillModel
from pasts import MES, MINUTE, MNQ, MONDAY, Row, account, bars, decision, fills, history, prints, run

AFTER_ONE = MONDAY + 5 * MINUTE  # the end of the first bar
CALM = (5700.0, 5701.0, 5699.0, 5700.0)


# Long from the second bar's open; a stop 20 ticks (5 points) below the entry, a target 20 ticks above it.
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(5702.0, 5703.0, 5701.0, 5702.0)], [(1, 5702.0)]),
        ([CALM, (5700.0, 5701.0, 5695.0, 5696.0)], [(1, 5700.0), (-1, 5695.0)]),
        ([CALM, (5700.0, 5701.0, 5695.25, 5696.0)], [(1, 5700.0)]),
        ([CALM, (5690.0, 5691.0, 5689.0, 5690.0)], [(1, 5700.0), (-1, 5690.0)]),
        ([CALM, (5700.0, 5705.0, 5699.0, 5704.0)], [(1, 5700.0)]),
        ([CALM, (5700.0, 5705.25, 5699.0, 5704.0)], [(1, 5700.0), (-1, 5705.0)]),
        ([CALM, (5710.0, 5711.0, 5709.0, 5710.0)], [(1, 5700.0), (-1, 5705.0)]),
        ([CALM, (5700.0, 5720.0, 5680.0, 5719.0)], [(1, 5700.0), (-1, 5695.0)]),
        ([(5700.0, 5701.0, 5690.0, 5700.0)], [(1, 5700.0), (-1, 5695.0)]),
        ([(5700.0, 5710.0, 5699.0, 5709.0)], [(1, 5700.0), (-1, 5705.0)]),
    ],
    ids=[
        "enters at the next first price", "stop within the bar", "stop missed by a tick", "gap through the stop",
        "target touched only", "target passed", "gap through the target pays the target", "both: the stop",
        "stopped in the bar of entry", "target in the bar of entry",
    ],
)  # fmt: skip
def test_what_a_bar_fills(rows: list[Row], expected: list[tuple[int, float]]) -> None:
    past = history(bars(CALM, *rows))
    assert fills(run(past, [decision(AFTER_ONE, 1)], account(target=20))) == expected
    mirrored = history(bars(*(_mirrored(row) for row in (CALM, *rows))))
    found = fills(run(mirrored, [decision(AFTER_ONE, -1)], account(target=20)))
    assert found == [(-size, 11_400.0 - price) for size, price in expected]


def _mirrored(row: Row) -> Row:
    opened, high, low, close = (11_400.0 - price for price in row)
    return opened, low, high, close


def test_spread_slippage_and_fees_are_paid_on_both_sides() -> None:
    model = FillModel(spread_ticks=1, slippage_ticks=2)
    past = history(bars(CALM, CALM, (5700.0, 5701.0, 5690.0, 5691.0)))
    outcome = run(past, [decision(AFTER_ONE, 1)], account(fills=model, fee="0.61", contracts=2))
    # The first print sells at the bid, so the ask lies a tick higher; two ticks of slippage on top, and on the stop.
    assert fills(outcome) == [(2, 5700.75), (-2, 5695.25)]
    assert outcome.balance == Decimal(50_000) - 2 * 22 * Decimal("1.25") - 4 * Decimal("0.61")
    assert [(trip.size, trip.ticks, trip.fees) for trip in outcome.trips] == [(2, -44, Decimal("2.44"))]


def test_a_turn_closes_and_enters_at_the_same_first_price_and_an_exit_stays_out() -> None:
    past = history(bars(CALM, CALM, (5703.0, 5704.0, 5702.0, 5703.0), (5701.0, 5702.0, 5700.0, 5701.0)))
    turned = [decision(AFTER_ONE, 1), decision(AFTER_ONE + 5 * MINUTE, -1), decision(AFTER_ONE + 10 * MINUTE, 0)]
    assert fills(run(past, turned, account())) == [(1, 5700.0), (-1, 5703.0), (-1, 5703.0), (1, 5701.0)]


def test_a_stop_of_our_own_protects_from_the_first_price_on() -> None:
    past = history(bars(CALM, (5700.0, 5701.0, 5690.0, 5700.0), CALM))
    outcome = run(past, [decision(AFTER_ONE, 1)], account(own_brackets=True, target=40))
    assert fills(outcome) == [(1, 5700.0), (-1, 5695.0)]
    assert [each.status.name for each in outcome.orders] == ["FILLED", "FILLED", "CANCELLED"]


def test_nothing_fills_while_the_market_rests() -> None:
    # The session of Monday ends at 21:00 UTC, that of Tuesday begins at 22:00.
    end_ns = ns_from_iso("2025-03-17T21:00:00Z")
    past = history([*bars(CALM, begin_ns=end_ns - 5 * MINUTE), *bars(CALM, begin_ns=end_ns + 60 * MINUTE)])
    late = run(past, [decision(end_ns, 1)], account())
    assert fills(late) == []
    assert [each.check.code for each in late.refusals] == ["market_closed"]


def _afternoon(session: Session) -> tuple[int | None, int | None]:
    return session.close_ns - 60 * MINUTE, session.close_ns - 52 * MINUTE  # 20:00 and 20:08 UTC


def test_what_is_closed_over_the_break_is_closed_once_though_its_stop_is_reached_at_the_same_price() -> None:
    rest = ns_from_iso("2025-03-17T21:00:00Z")  # the daily break, of an hour
    count = (rest - MONDAY) // (5 * MINUTE)
    before = bars(*[CALM] * count)
    after = bars(*[(5690.0, 5691.0, 5689.0, 5690.0)] * 3, begin_ns=rest + 60 * MINUTE)
    chosen = [decision(rest - 10 * MINUTE, 1), decision(rest, 0)]
    outcome = run(history([*before, *after]), chosen, account())
    assert fills(outcome) == [(1, 5700.0), (-1, 5690.0)]
    assert outcome.balance == 50_000 - 50


def test_at_the_deadline_all_is_closed_at_the_first_price_of_its_bar_and_nothing_is_opened_after() -> None:
    begin_ns = ns_from_iso("2025-03-17T19:50:00Z")
    rows = [CALM, CALM, (5702.0, 5703.0, 5680.0, 5690.0), (5703.0, 5704.0, 5680.0, 5703.0), CALM, CALM]
    past = history(bars(*rows, begin_ns=begin_ns))
    first, second = decision(begin_ns + 5 * MINUTE, 1), decision(begin_ns + 25 * MINUTE, 1)
    outcome = run(past, [first, second], account(stop=400, deadlines=_afternoon))
    # 20:08 lies in the bar of 20:05, whose first price is 5703.
    assert fills(outcome) == [(1, 5700.0), (-1, 5703.0)]
    assert [each.check.code for each in outcome.refusals] == ["blocked"]


def test_a_trailing_loss_closes_where_it_is_reached_and_blocks_until_the_next_session() -> None:
    own = OwnLimits(orders_per_minute=None, trailing_loss=Decimal(60), trailing=Trailing.OPEN, slippage_ticks=0)
    tuesday_ns = ns_from_iso("2025-03-17T22:00:00Z")
    past = history([
        *bars(CALM, CALM, (5710.0, 5720.0, 5700.0, 5705.0), CALM, CALM),
        *bars(CALM, CALM, begin_ns=tuesday_ns),
    ])  # fmt: skip
    chosen = [decision(AFTER_ONE, 1), decision(AFTER_ONE + 15 * MINUTE, 1), decision(tuesday_ns + 5 * MINUTE, 1)]
    outcome = run(past, chosen, account(stop=45, own=own, fee="0.25"))
    # At 5720 it was worth 79 ticks and two fees, 98.25, so it has to go at 38.25: 31 ticks and a tick for the bid.
    assert fills(outcome) == [(1, 5700.0), (-1, 5708.0)]
    assert [words.partition(":")[0] for _, words in outcome.alarms] == ["trailing_loss"]
    # On Tuesday trading is no longer blocked, but a stop would lie below the floor, which stays.
    assert [each.check.code for each in outcome.refusals] == ["blocked", "trailing_loss"]


def test_trades_fill_after_the_latency_at_the_quote_of_then() -> None:
    past = history([], prints(
        (0, 5700.0, "sell"), (0.1, 5701.0, "buy"), (0.3, 5702.0, "sell"), (1, 5696.75, "sell"), (2, 5690.0, "sell"),
    ))  # fmt: skip
    model = FillModel(spread_ticks=1)
    chosen = [decision(MONDAY + 1, 1)]
    slow = run(past, chosen, account(fills=model, latency_ms=250))
    quick = run(past, chosen, account(fills=model, latency_ms=50))
    # At 0.05 s the ask is a tick above the seller's print; at 0.25 s the buyer's print was the ask.
    assert fills(quick) == [(1, 5700.25), (-1, 5690.0)]
    assert fills(slow) == [(1, 5701.0), (-1, 5690.0)]
    assert slow.fills[0].at_ns == MONDAY + 250_000_000


def test_a_stop_fills_at_the_print_that_reached_it_and_a_target_only_beyond_its_queue() -> None:
    past = history([], prints(
        (0, 5700.0, "buy"), (1, 5705.0, "buy"), (2, 5705.0, "buy"), (3, 5690.0, "sell"),
    ))  # fmt: skip
    chosen = [decision(MONDAY + 1, 1)]
    first = run(past, chosen, account(target=20, fills=FillModel(spread_ticks=1)))
    behind = run(past, chosen, account(target=20, fills=FillModel(spread_ticks=1, queue_ahead=2)))
    assert fills(first) == [(1, 5700.0), (-1, 5705.0)]
    assert first.fills[1].at_ns == MONDAY + 1_000_000_000
    assert fills(behind) == [(1, 5700.0), (-1, 5690.0)]


def test_smaller_bars_tell_what_a_larger_one_hides() -> None:
    minutes = [
        *(bars(CALM, CALM, CALM, CALM, CALM, timeframe="1m")),
        *bars((5700.0, 5706.0, 5699.0, 5705.0), (5705.0, 5706.0, 5680.0, 5690.0), timeframe="1m", begin_ns=AFTER_ONE),
    ]
    larger = bars(CALM, (5700.0, 5706.0, 5680.0, 5690.0))
    chosen = [decision(AFTER_ONE, 1)]
    assert fills(run(history(minutes), chosen, account(target=20))) == [(1, 5700.0), (-1, 5705.0)]
    assert fills(run(history(larger), chosen, account(target=20))) == [(1, 5700.0), (-1, 5695.0)]


def test_an_entry_waits_for_a_price_as_long_as_its_decision_is_fresh() -> None:
    own = OwnLimits(orders_per_minute=None, oldest_price_s=10, oldest_decision_s=60)
    soon = prints((0, 5700.0, "buy"), (50, 5701.0, "buy"), (90, 5702.0, "buy"))
    late = prints((0, 5700.0, "buy"), (95, 5702.0, "buy"))
    asked = [decision(MONDAY + MINUTE // 2, 1)]
    assert fills(run(history([], soon), asked, account(own=own))) == [(1, 5701.0)]
    outcome = run(history([], late), asked, account(own=own))
    assert fills(outcome) == []
    assert [each.check.code for each in outcome.refusals] == ["decision_stale"]


def test_two_contracts_share_one_account() -> None:
    own = OwnLimits(orders_per_minute=None, most_contracts=1)
    other = (20_000.0, 20_001.0, 19_999.0, 20_000.0)
    past = [history(bars(CALM, CALM, CALM)), history(bars(other, other, other, contract_id=MNQ), contract_id=MNQ)]
    chosen = [decision(AFTER_ONE, 1), decision(AFTER_ONE, -1, MNQ), decision(AFTER_ONE + 5 * MINUTE, 0)]
    outcome = run(past, chosen, account(own=own))
    assert [each.contract_id for each in outcome.fills] == [MES, MES]
    assert [(each.contract_id, each.check.code) for each in outcome.refusals] == [(MNQ, "position_too_large")]


def test_a_stretch_without_history_is_refused() -> None:
    past = history(bars(CALM))
    with pytest.raises(InvalidInput, match="there is no history after 2025-03-18"):
        trade([past], [], account(), ns_from_iso("2025-03-18T13:00:00Z"), ns_from_iso("2025-03-18T14:00:00Z"))
