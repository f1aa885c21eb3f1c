"""Orders at the simulated venue, without a socket: what fills, where, and what everybody is told."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest

from escapement.calendars import calendar_for_contract
from escapement.model import NS_PER_SECOND, AggressorSide, Trade
from escapement.simulator import AccountSpec, FillModel, Rules, contract_facts
from escapement.simulator.fills import Side
from escapement.simulator.orders import Bracket, OrderRequest, OrderStatus, OrderType
from escapement.simulator.venue import Answer, Event, Listing, Venue
from simulated import MES, MNQ, MONDAY_1330

ME = AccountSpec(1, "ONE", "me", balance=Decimal(50_000), fees=Decimal("0.37"), commission=Decimal("0.25"))
BUY, SELL = Side.BUY, Side.SELL
MARKET, LIMIT, STOP, TRAIL = OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.TRAILING_STOP


class Floor:
    """A venue with one tape, told in prices."""

    def __init__(self, *accounts: AccountSpec, fills: FillModel | None = None, rules: Rules | None = None) -> None:
        listings = {each: Listing(contract_facts(each), calendar_for_contract(each)) for each in (MES, MNQ)}
        expired = replace(contract_facts("CON.F.US.MES.H25"), active=False)
        listings["CON.F.US.MES.H25"] = Listing(expired, calendar_for_contract(MES))
        self.venue = Venue(listings, accounts or [ME], MONDAY_1330, fills, rules)
        self.events: list[Event] = []
        self._step = 0

    def prints(self, *prices: float, volume: int = 10, side: AggressorSide = AggressorSide.BUY) -> None:
        for price in prices:
            self._step += 1
            self.venue.on_trade(Trade(MES, MONDAY_1330 + self._step * NS_PER_SECOND, price, volume, side))
        self.events += self.venue.take_events()

    def place(self, kind: OrderType, side: Side, size: int = 1, **more: Any) -> Answer:
        answer = self.venue.place("me", OrderRequest(1, MES, kind, side, size, **more))
        self.events += self.venue.take_events()
        return answer

    def order(self, kind: OrderType, side: Side, size: int = 1, **more: Any) -> int:
        answer = self.place(kind, side, size, **more)
        assert answer.code == 0
        assert answer.order_id is not None
        return answer.order_id

    def status(self, order_id: int) -> OrderStatus:
        return self.venue.orders[order_id].status

    def price(self, order_id: int) -> float:
        """The average price at which an order traded."""
        order = self.venue.orders[order_id]
        return self.venue.listings[order.contract_id].grid.mean(order.cost, order.filled)

    @property
    def held(self) -> int:
        position = self.venue.accounts[1].positions.get(MES)
        return 0 if position is None else position.size

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [event.data for event in self.events if event.kind == kind]


def test_a_market_order_crosses_the_spread_and_pays_slippage() -> None:
    floor = Floor(fills=FillModel(spread_ticks=2, slippage_ticks=1))
    floor.prints(5700.0)  # a buyer printed at the ask, so the bid is half a point below
    assert floor.price(floor.order(MARKET, BUY)) == 5700.25
    assert floor.price(floor.order(MARKET, SELL)) == 5699.25


def test_a_market_order_before_the_first_print_waits_for_it() -> None:
    floor = Floor()
    order = floor.order(MARKET, BUY)
    assert floor.status(order) is OrderStatus.OPEN
    floor.prints(5700.0)
    assert floor.price(order) == 5700.0


def test_a_marketable_limit_order_trades_at_the_quote_and_a_resting_one_at_its_price() -> None:
    floor = Floor()
    floor.prints(5700.0)
    assert floor.price(floor.order(LIMIT, BUY, limit_price=5710.0)) == 5700.0
    resting = floor.order(LIMIT, BUY, limit_price=5690.0)
    floor.prints(5690.25)
    assert floor.status(resting) is OrderStatus.OPEN
    floor.prints(5689.0)
    assert floor.price(resting) == 5690.0


def test_a_touched_limit_order_fills_by_what_was_printed_beyond_the_queue() -> None:
    floor = Floor(fills=FillModel(queue_ahead=15))
    floor.prints(5700.0)
    order = floor.order(LIMIT, BUY, 8, limit_price=5690.0)
    floor.prints(5690.0, volume=10)
    assert floor.venue.orders[order].filled == 0
    floor.prints(5690.0, volume=10)
    assert floor.venue.orders[order].filled == 5
    assert [each["status"] for each in floor.told("order")] == [6, 1, 1]
    floor.prints(5690.0, volume=10)
    assert floor.status(order) is OrderStatus.FILLED
    assert [trade["size"] for trade in floor.told("trade")] == [5, 3]


@pytest.mark.parametrize(("mode", "filled_at"), [("print", 5712.0), ("stop", 5710.0)])
def test_a_stop_that_the_market_jumps_over_fills_where_the_model_says(mode: str, filled_at: float) -> None:
    floor = Floor(fills=FillModel(stops_fill_at=mode))
    floor.prints(5700.0)
    order = floor.order(STOP, BUY, stop_price=5710.0)
    floor.prints(5709.75)
    assert floor.status(order) is OrderStatus.OPEN
    floor.prints(5712.0)
    assert floor.price(order) == filled_at


def test_a_trailing_stop_follows_and_never_goes_back() -> None:
    floor = Floor()
    floor.prints(5700.0)
    order = floor.order(TRAIL, SELL, trail_price=5697.5)
    assert floor.venue.orders[order].trail == 10
    floor.prints(5705.0, 5703.0)
    assert floor.status(order) is OrderStatus.OPEN
    shown = floor.told("order")[-1]
    assert (shown["trailDistance"], shown["trailPrice"]) == (-10, -2.5)
    floor.prints(5702.5)
    assert floor.status(order) is OrderStatus.FILLED
    assert floor.price(order) == 5702.5


def test_joining_orders_rest_at_their_own_side_of_the_quote() -> None:
    floor = Floor(fills=FillModel(spread_ticks=3))
    floor.prints(5700.0)
    bid, ask = floor.order(OrderType.JOIN_BID, BUY), floor.order(OrderType.JOIN_ASK, SELL)
    grid = floor.venue.listings[MES].grid
    limits = [floor.venue.orders[order].limit for order in (bid, ask)]
    assert [grid.price(limit) for limit in limits if limit is not None] == [5699.25, 5700.0]


def bracketed(floor: Floor, **more: Any) -> tuple[int, int, int]:
    """A bought contract with a stop 8 ticks below and a target 12 ticks above; their three ids."""
    entry = floor.order(
        MARKET, BUY, 2, custom_tag="in", stop_loss=Bracket(-8, STOP), take_profit=Bracket(12, LIMIT), **more
    )
    return entry, entry + 1, entry + 2


def test_a_bracket_is_told_as_the_venue_tells_it_and_its_legs_end_one_another() -> None:
    floor = Floor()
    floor.prints(5700.0)
    entry, stop, target = bracketed(floor)
    orders = [(each["id"], each["status"], each["stopPrice"], each["limitPrice"]) for each in floor.told("order")]
    assert orders == [
        (entry, 6, None, None), (stop, 8, None, None), (target, 8, None, None), (entry, 2, None, None),
        (stop, 1, 5698.0, None), (target, 1, None, 5703.0),
    ]  # fmt: skip
    tags = {
        each["id"]: (each["customTag"], each["parentOrderId"], each["linkedOrderId"]) for each in floor.told("order")
    }
    assert tags == {entry: ("in", None, None), stop: ("in-SL", entry, None), target: ("in-TP", entry, stop)}
    floor.prints(5703.25)
    assert [floor.status(order) for order in (entry, stop, target)] == [2, 3, 2]
    assert floor.held == 0
    gone = floor.told("position")[-1]
    assert (gone["type"], gone["size"], gone["averagePrice"]) == (0, 0, 5700.0)
    money = Decimal(50_000) + 2 * 12 * Decimal("1.25") - 4 * Decimal("0.62")
    assert floor.venue.accounts[1].balance == money
    assert floor.told("account")[-1]["balance"] == float(money)


def test_a_leg_that_fills_in_part_leaves_its_sibling_the_rest() -> None:
    floor = Floor()
    floor.prints(5700.0)
    _, stop, target = bracketed(floor)
    floor.prints(5703.0, volume=1)
    assert floor.venue.orders[target].filled == 1
    assert floor.venue.orders[stop].size == 1
    floor.prints(5690.0)
    assert [floor.status(order) for order in (stop, target)] == [2, 3]
    assert floor.held == 0


def test_legs_wait_for_their_entry_and_go_with_it() -> None:
    floor = Floor()
    floor.prints(5700.0)
    entry = floor.order(LIMIT, BUY, 2, limit_price=5690.0, stop_loss=Bracket(8, STOP))
    assert floor.status(entry + 1) is OrderStatus.SUSPENDED
    floor.prints(5680.0 + 10, volume=1)
    assert (floor.status(entry + 1), floor.venue.orders[entry + 1].size) == (OrderStatus.OPEN, 1)
    assert floor.venue.cancel("me", 1, entry) == Answer()
    assert floor.status(entry + 1) is OrderStatus.OPEN
    other = floor.order(LIMIT, BUY, limit_price=5600.0, stop_loss=Bracket(8, STOP))
    floor.venue.cancel("me", 1, other)
    assert floor.status(other + 1) is OrderStatus.CANCELLED


def test_large_fills_can_come_in_pieces() -> None:
    floor = Floor(fills=FillModel(most_per_fill=2))
    floor.prints(5700.0)
    floor.order(MARKET, BUY, 5)
    assert [each["fillVolume"] for each in floor.told("order")] == [0, 2, 4, 5]
    assert [each["size"] for each in floor.told("trade")] == [2, 2, 1]


def test_reversing_books_a_closing_and_an_opening_half_turn() -> None:
    floor = Floor()
    floor.prints(5700.0)
    floor.order(MARKET, BUY, 2)
    floor.prints(5701.0, side=AggressorSide.SELL)
    floor.order(MARKET, SELL, 5)
    assert [(each["size"], each["profitAndLoss"]) for each in floor.told("trade")] == [(2, None), (2, 10.0), (3, None)]
    assert floor.held == -3


def rejected(answer: Answer, floor: Floor) -> tuple[int, str | None]:
    """The code and message of a refusal that left a rejected order behind."""
    assert answer.order_id is not None
    assert floor.status(answer.order_id) is OrderStatus.REJECTED
    assert floor.told("order")[-1]["status"] == 5
    return answer.code, answer.message


@pytest.mark.parametrize(
    ("kind", "more", "message"),
    [
        (LIMIT, {}, "Invalid limit price."),
        (LIMIT, {"limit_price": 5700.1}, "Invalid limit price. Price is not aligned to tick size."),
        (STOP, {"stop_price": -1.0}, "Invalid stop price."),
        (TRAIL, {}, "Trail Distance not set."),
        (TRAIL, {"trail_price": 5700.0}, "Trail Distance not set."),
        (TRAIL, {"trail_price": 5699.9}, "Invalid trail price. Price is not aligned to tick size."),
        (TRAIL, {"trail_price": 5449.75}, "Trail Distance exceeds maximum (1000)"),
        (OrderType.STOP_LIMIT, {"limit_price": 5700.0}, "Invalid order type."),
        (MARKET, {"size": 0}, "Invalid order size."),
        (MARKET, {"stop_loss": Bracket(8, LIMIT)}, "Invalid stop loss bracket type."),
        (MARKET, {"take_profit": Bracket(0, LIMIT)}, "Invalid take profit bracket ticks."),
    ],
)
def test_orders_the_venue_rejects_exist_with_status_5(kind: OrderType, more: dict[str, Any], message: str) -> None:
    floor = Floor()
    floor.prints(5700.0)
    assert rejected(floor.place(kind, BUY, **more), floor) == (2, message)


def test_the_venue_rejects_by_account_and_rule() -> None:
    floor = Floor()
    assert rejected(floor.place(TRAIL, BUY, trail_price=5700.0), floor) == (2, "Cannot trail without a last price")
    floor = Floor(replace(ME, bracket_mode="position"))
    code, message = rejected(floor.place(MARKET, BUY, stop_loss=Bracket(8, STOP)), floor)
    assert code == 2
    assert message == "Brackets cannot be used with Position Brackets. You must enable Auto OCO Brackets."
    floor = Floor(rules=Rules(signed_brackets=True))
    floor.prints(5700.0)
    assert floor.place(MARKET, BUY, stop_loss=Bracket(-8, STOP)).code == 0
    assert rejected(floor.place(MARKET, BUY, stop_loss=Bracket(8, STOP)), floor)[0] == 2
    floor = Floor(replace(ME, margin=Decimal(30_000)))
    floor.prints(5700.0)
    assert floor.place(MARKET, BUY).code == 0
    assert rejected(floor.place(MARKET, BUY, 2), floor)[0] == 3
    assert floor.place(MARKET, SELL).code == 0


def test_a_tag_is_used_once_an_account() -> None:
    floor = Floor(ME, replace(ME, account_id=2))
    floor.prints(5700.0)
    assert floor.place(LIMIT, BUY, limit_price=5600.0, custom_tag="x").code == 0
    assert rejected(floor.place(LIMIT, BUY, limit_price=5600.0, custom_tag="x"), floor)[0] == 2
    second = OrderRequest(2, MES, LIMIT, BUY, 1, limit_price=5600.0, custom_tag="x")
    assert floor.venue.place("me", second).code == 0


@pytest.mark.parametrize(
    ("code", "request_", "spec"),
    [
        (1, OrderRequest(9, MES, MARKET, BUY, 1), ME),
        (1, OrderRequest(1, MES, MARKET, BUY, 1), replace(ME, user="somebody")),
        (4, OrderRequest(1, MES, MARKET, BUY, 1), replace(ME, can_trade=False)),
        (8, OrderRequest(1, "CON.F.US.NO.M25", MARKET, BUY, 1), ME),
        (9, OrderRequest(1, "CON.F.US.MES.H25", MARKET, BUY, 1), ME),
        (2, OrderRequest(1, MES, 9, BUY, 1), ME),
    ],
)
def test_placing_is_refused_by_its_codes(code: int, request_: OrderRequest, spec: AccountSpec) -> None:
    assert Floor(spec).venue.place("me", request_).code == code


def test_who_has_nothing_left_may_still_close() -> None:
    floor = Floor(replace(ME, balance=Decimal(10)))
    floor.prints(5700.0)
    floor.order(MARKET, BUY)
    floor.prints(5600.0)
    assert floor.venue.close_position("me", 1, MES).code == 0
    assert floor.held == 0
    assert floor.venue.accounts[1].balance < 0
    assert rejected(floor.place(MARKET, BUY), floor) == (3, "Insufficient funds.")


def test_nothing_is_placed_outside_trading_hours() -> None:
    floor = Floor()
    floor.venue.now_ns = MONDAY_1330 + 8 * 3_600 * NS_PER_SECOND  # 21:30Z, in the daily break
    assert rejected(floor.place(MARKET, BUY), floor)[0] == 5


def test_modifying_and_cancelling_answer_by_their_codes() -> None:
    floor = Floor(ME, replace(ME, account_id=2, follower=True), replace(ME, account_id=3, simulated=False))
    floor.prints(5700.0)
    order = floor.order(LIMIT, BUY, limit_price=5690.0)
    venue = floor.venue
    assert venue.modify("me", 9, order, size=2).code == 1
    assert venue.modify("me", 1, 5, size=2).code == 2
    assert venue.modify("me", 1, order, limit_price=5690.1).code == 3
    assert venue.modify("me", 1, order, size=3, limit_price=5691.0).code == 0
    assert venue.modify("me", 1, order, limit_price=5700.0).code == 0  # now it crosses
    assert floor.held == 3
    assert venue.modify("me", 1, order, size=4).code == 3
    assert venue.cancel("me", 9, order).code == 1
    assert venue.cancel("me", 1, 5).code == 2
    assert venue.cancel("me", 1, order).code == 3
    assert venue.cancel("me", 2, order) == Answer(6, "Follower accounts cannot cancel orders")
    assert venue.cancel("me", 3, order) == Answer(6, "Live accounts not supported")


def test_modifying_a_trailing_stop_knows_no_longest_distance() -> None:
    floor = Floor()
    floor.prints(5700.0)
    order = floor.order(TRAIL, SELL, trail_price=5697.5)
    assert floor.venue.modify("me", 1, order, trail_price=5400.0).code == 0
    assert floor.venue.orders[order].trail == 1_200
    assert floor.venue.modify("me", 1, order, trail_price=5700.0) == Answer(3, "Trail Distance not set.")


def test_moving_one_leg_leaves_the_other_and_closing_leaves_both_or_cancels_them() -> None:
    for rules, statuses in ((Rules(), [1, 1]), (Rules(closing_cancels_orders=True), [3, 3])):
        floor = Floor(rules=rules)
        floor.prints(5700.0)
        _, stop, target = bracketed(floor)
        before = floor.venue.orders[target].limit
        assert floor.venue.modify("me", 1, stop, stop_price=5699.0).code == 0
        assert floor.venue.orders[target].limit == before
        assert floor.venue.close_position("me", 1, MES) == Answer()
        assert floor.held == 0
        assert [floor.status(order) for order in (stop, target)] == statuses


def test_a_close_that_waited_for_a_price_turns_nothing_round_when_a_stop_came_first() -> None:
    for held, stopped, left in ((1, 1, 0), (3, 2, 1)):
        floor = Floor()
        floor.prints(5700.0)
        floor.order(MARKET, BUY, held)
        floor.order(STOP, SELL, stopped, stop_price=5690.0)
        floor.venue.quotes.clear()
        assert floor.venue.close_position("me", 1, MES) == Answer()
        closing = max(floor.venue.orders)
        floor.prints(5680.0)
        assert floor.held == 0
        order = floor.venue.orders[closing]
        assert (order.filled, order.status) == (left, OrderStatus.CANCELLED)


def test_closing_answers_by_its_codes() -> None:
    floor = Floor(ME, replace(ME, account_id=3, simulated=False))
    floor.prints(5700.0)
    venue = floor.venue
    assert venue.close_position("me", 9, MES).code == 1
    assert venue.close_position("me", 1, MES).code == 2
    assert venue.close_position("me", 1, "CON.F.US.NO.M25").code == 3
    assert venue.close_position("me", 1, "CON.F.US.MES.H25").code == 4
    assert venue.close_position("me", 3, MES, 1).code == 9
    floor.order(MARKET, SELL, 3)
    assert venue.close_position("me", 1, MES, 4).code == 5
    assert venue.close_position("me", 1, MES, 1).code == 0
    assert floor.held == -2
    venue.now_ns = MONDAY_1330 + 8 * 3_600 * NS_PER_SECOND
    assert venue.close_position("me", 1, MES).code == 5
    assert venue.close_position("me", 1, MES, 1).code == 6


def test_a_voided_trade_is_as_if_it_had_never_been() -> None:
    floor, same = Floor(), Floor()
    for each in (floor, same):
        each.prints(5700.0)
        each.order(MARKET, BUY)
    floor.prints(5750.0)
    floor.order(MARKET, SELL)
    assert floor.venue.void(floor.told("trade")[-1]["id"])
    floor.events += floor.venue.take_events()
    assert floor.told("trade")[-1]["voided"] is True
    assert floor.held == 1
    assert floor.venue.accounts[1].balance == same.venue.accounts[1].balance
    assert not floor.venue.void(floor.told("trade")[-1]["id"])


def test_a_venue_that_was_saved_goes_on_as_if_it_had_not() -> None:
    floor, other = Floor(fills=FillModel(queue_ahead=3)), Floor(fills=FillModel(queue_ahead=3))
    floor.prints(5700.0)
    bracketed(floor)
    floor.order(LIMIT, SELL, 4, limit_price=5702.0)
    other.venue.restore(orjson.loads(orjson.dumps(floor.venue.plain())))
    assert other.venue.plain() == floor.venue.plain()
    other._step, floor.events = floor._step, []
    for each in (floor, other):
        each.prints(5702.0, 5702.25, 5698.0, 5690.0)
    assert other.events == floor.events
    assert other.venue.plain() == floor.venue.plain()
