"""Decisions of the past to orders and fills, by the objects that trade live, against a venue in a loop.

One stream of moments, in order of time; what happens at the same time comes in this order:

1. a session opens, closes or reaches its deadline
2. a call that was sent reaches the venue
3. a decision is taken
4. the market trades, as far as it matters: an order is reached, a limit, or a price is waited for

A call reaches the venue ``latency_ns`` after what caused it. Where only bars are known, it trades at the next bar's
first price, and latency is nothing.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final

from escapement.backtest.market import ANY, Levels, Market
from escapement.core.dealing import Dealer, LastPrice, product_of
from escapement.core.execution import Cancel, Close, Enter, Protect, Resize, Role, Standing, Step, Wish, tag
from escapement.core.risk import Check, Entry, floors, has_floors
from escapement.errors import InvariantViolated
from escapement.model import Contract, Decision, Fill, Order, OrderRequest, OrderSide, OrderStatus, OrderType, Trade
from escapement.simulator.accounts import HalfTrade
from escapement.simulator.fills import Side
from escapement.simulator.orders import Bracket
from escapement.simulator.orders import Order as VenueOrder
from escapement.simulator.orders import OrderRequest as VenueRequest
from escapement.simulator.orders import OrderStatus as VenueStatus
from escapement.simulator.orders import OrderType as VenueOrderType
from escapement.simulator.venue import Answer, Venue

USER: Final = "backtest"
_MOST_STEPS: Final = 50
_HIGHEST: Final = 1 << 62
# The venue numbers them as the gateway does, and so do we.
_STATUSES: Final = {each: OrderStatus(each) for each in VenueStatus}
_TYPES: Final = {each: OrderType(each) for each in VenueOrderType}
_SIDES: Final = {each: OrderSide(each) for each in Side}


class _Kind(IntEnum):
    CLOCK = 0
    CALL = 1
    DECISION = 2


@dataclass(frozen=True, slots=True)
class Refusal:
    """An entry that risk refused; ``at_ns`` is UTC."""

    contract_id: str
    decision_id: str
    at_ns: int
    check: Check


@dataclass(frozen=True, slots=True)
class Rejection:
    """A call that the venue refused."""

    contract_id: str
    at_ns: int
    what: str
    words: str


@dataclass(slots=True)
class _Desk:
    """One contract while it is dealt in."""

    contract: Contract
    market: Market
    wish: Wish | None = None
    is_worked: bool = False
    is_sending: bool = False
    waits_for_price: bool = False


@dataclass(slots=True)
class Engine:
    """Trades the past of some contracts on one account.

    Args:
        dealer: what follows from how the account stands; its clock becomes this engine's.
        venue: where orders go; it lists the contracts.
        markets: their past.
        clock_ns: when sessions open, close or reach their deadline.
        latency_ns: from what causes a call until it reaches the venue; 0 for markets of bars.
    """

    dealer: Dealer
    venue: Venue
    markets: Mapping[str, Market]
    clock_ns: Sequence[int]
    latency_ns: int = 0
    now_ns: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    alarms: list[tuple[int, str]] = field(default_factory=list)
    _desks: dict[str, _Desk] = field(default_factory=dict, init=False)
    _events: list[tuple[int, int, int, Callable[[], None]]] = field(default_factory=list, init=False)
    _count: int = field(default=0, init=False)
    _numbers: Counter[tuple[str, Role]] = field(default_factory=Counter, init=False)
    _blocked_until_ns: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.dealer.now_ns = lambda: self.now_ns

    def run(self, decisions: Sequence[Decision], to_ns: int) -> None:
        """Trade what was decided, in order of time, until ``to_ns``."""
        for contract_id, market in self.markets.items():
            contract = self.venue.listings[contract_id].contract
            self.dealer.book.know(contract)
            self._desks[contract_id] = _Desk(contract, market)
        for at_ns in self.clock_ns:
            self._at(at_ns, _Kind.CLOCK, self._clock)
        self._expect(enumerate(decisions, 1))
        while True:
            event_ns = min(self._events[0][0], to_ns) if self._events else to_ns
            found = self._earliest(event_ns)
            if found is not None:
                self._trade(*found)
            elif self._events and event_ns < to_ns:
                self.now_ns = event_ns
                heapq.heappop(self._events)[3]()
            else:
                break
        self.now_ns = to_ns
        self._settle()
        self._keep_day()

    def _at(self, at_ns: int, kind: _Kind, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (at_ns, kind, self._count, act))

    def _expect(self, decisions: Iterator[tuple[int, Decision]]) -> None:
        """Let the next decision be taken when its time has come, and the one after it be expected then."""
        number, decision = next(decisions, (0, None))
        if decision is None:
            return
        wish = Wish(
            decision.contract_id, decision.decision_id, number, decision.direction, decision.known_at_ns,
            data_complete=True,
        )  # fmt: skip

        def act() -> None:
            self._expect(decisions)
            self._decided(wish)

        self._at(decision.known_at_ns, _Kind.DECISION, act)

    def _earliest(self, until_ns: int) -> tuple[int, str] | None:
        """Return when and where a market next does something that matters."""
        best: tuple[int, str] | None = None
        for contract_id, desk in self._desks.items():
            levels = self._levels(contract_id, desk)
            if levels is not None:
                at_ns = desk.market.next_ns(until_ns if best is None else best[0], levels)
                if at_ns is not None:
                    best = at_ns, contract_id
        return best

    def _levels(self, contract_id: str, desk: _Desk) -> Levels | None:
        """Return between which prices nothing happens; None when nothing happens at any."""
        if desk.waits_for_price:
            return ANY
        down, up = -_HIGHEST, _HIGHEST
        orders = self.venue.working(contract_id)
        for order in orders:
            price = order.limit if order.stop is None else order.stop
            if price is None or order.trail is not None:
                return ANY  # what works at every price
            # A selling stop and a buying limit wait for lower prices, the others for higher ones.
            if (order.stop is None) == (order.side.sign > 0):
                down = max(down, price)
            else:
                up = min(up, price)
        breach = self._breach(contract_id)
        if breach is None and not orders:
            return None
        below, above = (down, up) if breach is None else breach
        return max(down, below), min(up, above)

    def _breach(self, contract_id: str) -> Levels | None:
        """Return the prices at which a loss limit is next looked at; None where nothing is held, or nothing limits."""
        level = self._level(contract_id)
        held = sum(bool(each.net) for each in self.dealer.book.holdings.values())
        # Where other prices move the limit too, every price is looked at.
        return ANY if level is not None and (held > 1 or self.dealer.follows_open_profit) else level

    def _level(self, contract_id: str) -> Levels | None:
        """Return the price at which a loss limit is reached, if no other price moves; None where none can be."""
        dealer = self.dealer
        net = dealer.book.net(contract_id)
        if not net or dealer.blocked or not has_floors(dealer.pack, dealer.own):
            return None
        state = dealer.state()
        limits = floors(dealer.pack, dealer.own, state)
        if not limits:
            return None
        per_tick = abs(net) * self._desks[contract_id].contract.tick_value
        room = state.equity() - max(each.level for each in limits)
        last, ticks = dealer.prices[contract_id].ticks, max(0, -int(-room // per_tick))
        return (last - ticks, _HIGHEST) if net > 0 else (-_HIGHEST, last + ticks)

    def _trade(self, at_ns: int, contract_id: str) -> None:
        """Let a market do what it does next, and do what follows."""
        self.now_ns = max(self.now_ns, at_ns)
        desk = self._desks[contract_id]
        while desk.market.tell(self.venue, at_ns):
            self._learn()
        span = desk.market.span()
        if span is not None:
            self._pass_through(contract_id, *span)
        self._look_at_prices(contract_id)
        self._learn()
        self._watch(contract_id)
        if desk.waits_for_price:
            desk.waits_for_price = False
            self._work(contract_id)

    def _pass_through(self, contract_id: str, low: int, high: int) -> None:
        """Let the limits see a bar's range: first the best price in it, then the one at which a limit is reached."""
        dealer = self.dealer
        net = dealer.book.net(contract_id)
        if not net:
            return
        if dealer.follows_open_profit:
            dealer.prices[contract_id] = LastPrice(high if net > 0 else low, self.now_ns)
            self._keep_day()
        level = self._level(contract_id)
        ticks = None if level is None else level[0] if net > 0 else level[1]
        if ticks is None or not low <= ticks <= high:
            return
        grid = self.venue.listings[contract_id].grid
        self.venue.on_trade(Trade(contract_id, self.now_ns, grid.price(ticks), 0))
        self._learn()
        dealer.prices[contract_id] = LastPrice(ticks, self.now_ns)
        self._watch(contract_id)
        self.venue.quotes.pop(contract_id, None)

    def _look_at_prices(self, *contract_ids: str) -> None:
        for contract_id in contract_ids:
            last = self._desks[contract_id].market.last()
            if last is not None:
                self.dealer.prices[contract_id] = last

    def _settle(self) -> None:
        """Let every market stand where it stands now."""
        for desk in self._desks.values():
            desk.market.settle(self.now_ns, self.venue)
        self._look_at_prices(*self._desks)

    def _clock(self) -> None:
        self._settle()
        if self._blocked_until_ns and self.now_ns >= self._blocked_until_ns:
            self.dealer.blocked, self._blocked_until_ns = "", 0
        self._keep_day()
        for contract_id in self._desks:
            if self.dealer.book.net(contract_id) or self.venue.working(contract_id):
                self._work(contract_id)

    def _decided(self, wish: Wish) -> None:
        self._settle()
        self._keep_day()
        desk = self._desks[wish.contract_id]
        desk.wish = wish
        self._work(wish.contract_id)

    def _keep_day(self) -> None:
        self.dealer.keep_day(next(filter(None, map(self.dealer.session, self._desks)), None))

    def _watch(self, contract_id: str) -> None:
        dealer = self.dealer
        if dealer.blocked or not dealer.book.net(contract_id):
            return
        if dealer.follows_open_profit:
            self._keep_day()
        alarm = dealer.alarm(contract_id)
        if alarm is None:
            return
        session = dealer.session(contract_id)
        dealer.blocked = f"{alarm.code}: {alarm.words}"
        self._blocked_until_ns = self.now_ns if session is None else session.close_ns
        self.alarms.append((self.now_ns, dealer.blocked))
        for each in self._desks:
            self._work(each)

    def _work(self, contract_id: str) -> None:
        """Do what has to be done next about a contract, until nothing has to, or an answer is awaited."""
        desk = self._desks[contract_id]
        if desk.is_worked:
            return  # whoever does that looks again after each step
        desk.is_worked = True
        try:
            for _ in range(_MOST_STEPS):
                if desk.is_sending:
                    return
                found = self.dealer.situation(contract_id, desk.wish, is_known=True)
                if found.step is None:
                    return
                self._do(desk, found.step)
                if desk.waits_for_price:
                    return
        finally:
            desk.is_worked = False
        raise InvariantViolated(f"{contract_id}: after {_MOST_STEPS} steps at {self.now_ns} there is still one to take")

    def _do(self, desk: _Desk, step: Step) -> None:
        contract_id, account_id = desk.contract.contract_id, self.dealer.book.account_id
        match step:
            case Enter():
                self._enter(desk)
            case Protect():
                self._send(desk, "protect", lambda: self._place(self._protection(desk, step)))
            case Close():
                self._send(desk, "close", lambda: self.venue.close_position(USER, account_id, contract_id, step.size))
            case Cancel():
                self._send(desk, "cancel", lambda: self.venue.cancel(USER, account_id, step.order.order_id))
            case Resize():
                order_id, size = step.order.order_id, step.size
                self._send(desk, "resize", lambda: self.venue.modify(USER, account_id, order_id, size=size))

    def _enter(self, desk: _Desk) -> None:
        wish, dealer, contract_id = desk.wish, self.dealer, desk.contract.contract_id
        if wish is None:
            raise InvariantViolated(f"{contract_id}: an entry that nobody wished")
        size, verdict = dealer.weigh(desk.contract, wish)
        refusal = verdict.refusal
        if refusal is not None and dealer.may_pass(refusal, wish):
            desk.waits_for_price = True
            return
        desk.wish = replace(wish, standing=Standing.DROPPED if refusal is not None else Standing.SENT)
        if refusal is not None:
            self.refusals.append(Refusal(contract_id, wish.decision_id, self.now_ns, refusal))
            return
        dealer.reserved[contract_id] = Entry(wish.direction * size, dealer.params.stop_of(product_of(desk.contract)))
        dealer.entries_ns.append(self.now_ns)
        request = dealer.entry(desk.contract, wish, size)
        self._send(desk, "entry", lambda: self._place(request))

    def _protection(self, desk: _Desk, step: Protect) -> OrderRequest:
        decision_id = "none" if desk.wish is None else desk.wish.decision_id
        self._numbers[decision_id, step.role] += 1
        number = self._numbers[decision_id, step.role]
        return self.dealer.protection(desk.contract.contract_id, step, tag(decision_id, step.role, number))

    def _place(self, request: OrderRequest) -> Answer:
        legs = [
            None if each is None else Bracket(each.ticks, VenueOrderType(each.type))
            for each in (request.stop_loss, request.take_profit)
        ]
        return self.venue.place(
            USER,
            VenueRequest(
                request.account_id, request.contract_id, int(request.type), int(request.side), request.size,
                request.limit_price, request.stop_price, request.trail_price, request.custom_tag, *legs,
            ),
        )  # fmt: skip

    def _send(self, desk: _Desk, what: str, call: Callable[[], Answer]) -> None:
        """Have the venue called when the call reaches it."""

        def arrive() -> None:
            contract_id = desk.contract.contract_id
            if self.latency_ns:
                desk.market.settle(self.now_ns, self.venue)
                self._look_at_prices(contract_id)
            self.venue.now_ns = max(self.venue.now_ns, self.now_ns)
            answer = call()
            desk.is_sending = False
            self.dealer.reserved.pop(contract_id, None)
            if answer.code:
                self.rejections.append(
                    Rejection(contract_id, self.now_ns, what, answer.message or f"code {answer.code}")
                )
                desk.waits_for_price = what != "entry"  # it is tried again at the next price
            self._learn(contract_id)

        desk.is_sending = True
        if self.latency_ns:
            self._at(self.now_ns + self.latency_ns, _Kind.CALL, arrive)
        else:
            arrive()

    def _learn(self, *asked: str) -> None:
        """Take what the venue tells into the book, and do what follows."""
        touched, book = dict.fromkeys(asked), self.dealer.book
        events = self.venue.take_events()
        for number in dict.fromkeys(each.data["id"] for each in events if each.kind == "order"):
            order = self.venue.orders[int(str(number))]
            book.see_order(self._order(order))
            touched[order.contract_id] = None
            if not order.is_working and not self.latency_ns:  # no call is under way that could still ask for it
                del self.venue.orders[order.order_id]
        trades = self.venue.accounts[book.account_id].trades
        for half in trades:
            book.see_fill(self._fill(half))
            touched[half.contract_id] = None
        trades.clear()  # the book keeps them
        if not touched:
            return
        self._settle()
        self._keep_day()
        for contract_id in touched:
            desk = self._desks[contract_id]
            if not desk.waits_for_price:
                self._work(contract_id)

    def _order(self, order: VenueOrder) -> Order:
        grid = self.venue.listings[order.contract_id].grid
        return Order(
            order.order_id, order.account_id, order.contract_id, order.created_ns, order.updated_ns,
            _STATUSES[order.status], _TYPES[order.type], _SIDES[order.side], order.size, order.filled,
            grid.mean(order.cost, order.filled) if order.filled else None,
            None if order.limit is None else grid.price(order.limit),
            None if order.stop is None else grid.price(order.stop), None, order.custom_tag, order.parent_id,
            order.sibling_id if order.is_target else None,
        )  # fmt: skip

    def _fill(self, half: HalfTrade) -> Fill:
        grid = self.venue.listings[half.contract_id].grid
        return Fill(
            half.trade_id, half.account_id, half.contract_id, half.order_id, half.at_ns, _SIDES[half.side],
            half.size, grid.price(half.ticks), half.fees + half.commissions, half.profit, half.voided,
        )  # fmt: skip
