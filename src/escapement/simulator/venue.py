"""The simulated venue: orders of several users matched against a tape.

Pure: prints and calls come in, answers and events come out, the time is the tape's. ``take_events`` hands over what the
user hub has to tell, in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from escapement.model import Contract, PriceGrid, SessionCalendar, Trade
from escapement.simulator import entry, fills
from escapement.simulator.accounts import Account, AccountSpec, account_json, position_json, trade_json
from escapement.simulator.entry import Objection
from escapement.simulator.fills import FillModel, Quote, Side
from escapement.simulator.orders import Order, OrderRequest, OrderStatus, OrderType, order_json

_TYPES: Final = tuple(OrderType)
_SIDES: Final = tuple(Side)
EventKind = Literal["account", "order", "position", "trade"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to: the endpoint's error code (0 is success), its message, the order's id if there is one."""

    code: int = 0
    message: str | None = None
    order_id: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something the user hub tells of one account; ``data`` as REST gives it, ``action`` as the hub numbers changes."""

    kind: EventKind
    account_id: int
    action: int
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class Rules:
    """Where the venue's behaviour is unknown or depends on the account.

    ``signed_brackets`` refuses bracket ticks whose sign does not fit the entry's side, instead of ignoring signs.
    ``closing_cancels_orders``: closing a position also cancels the contract's working orders.
    """

    signed_brackets: bool = False
    closing_cancels_orders: bool = False


class Listing:
    """A contract the venue trades, with its sessions and its price grid."""

    def __init__(self, contract: Contract, calendar: SessionCalendar) -> None:
        self.contract = contract
        self.calendar = calendar
        self.grid = PriceGrid(contract.tick_size)


class Venue:
    """Accounts, orders and quotes.

    Args:
        listings: what trades, by contract id.
        accounts: as they begin.
        now_ns: the time before the first print.
        model: how orders fill.
        rules: what is not known of the real venue.
        tells: whether events say how things stand; else only which order or execution something happened to, for
            somebody who looks for himself.
    """

    def __init__(
        self,
        listings: Mapping[str, Listing],
        accounts: Sequence[AccountSpec],
        now_ns: int,
        model: FillModel | None = None,
        rules: Rules | None = None,
        *,
        tells: bool = True,
    ) -> None:
        self.listings = listings
        self.accounts = {spec.account_id: Account(spec) for spec in accounts}
        self.now_ns = now_ns
        self.quotes: dict[str, Quote] = {}
        self.orders: dict[int, Order] = {}
        self._model = model or FillModel()
        self._rules = rules or Rules()
        self._tells = tells
        self._working: dict[str, list[Order]] = {}
        self._tags: dict[int, set[str]] = {}
        self._events: list[Event] = []
        self._last_id = 1_000_000
        self._ids = iter(self._next_id, None)

    def accounts_of(self, user: str) -> list[Account]:
        """Return the accounts a user owns."""
        return [account for account in self.accounts.values() if account.spec.user.lower() == user.lower()]

    def account(self, user: str, account_id: int) -> Account | None:
        """Return one account, if it is the user's."""
        account = self.accounts.get(account_id)
        return account if account is not None and account.spec.user.lower() == user.lower() else None

    def orders_of(self, account_id: int) -> list[Order]:
        """Return all orders of an account, oldest first."""
        return [order for order in self.orders.values() if order.account_id == account_id]

    def take_events(self) -> list[Event]:
        """Return what happened since the last call."""
        events, self._events = self._events, []
        return events

    def on_trade(self, trade: Trade) -> None:
        """Let a print move the quote and fill what it fills."""
        self.now_ns = max(self.now_ns, trade.at_ns)
        contract_id = trade.contract_id
        last = self.listings[contract_id].grid.nearest(trade.price)
        spread = self._model.spread_ticks
        quote = fills.quote_after(self.quotes.get(contract_id), last, trade.aggressor, spread)
        self.quotes[contract_id] = quote
        working = self._working.get(contract_id)
        if working:
            for order in working.copy():
                if order.status is OrderStatus.OPEN:
                    self._match(order, quote, trade.volume)
            self._working[contract_id] = [order for order in working if order.is_working]

    def on_range(self, contract_id: str, low: int, high: int, at_ns: int) -> bool:
        """Let the market have been everywhere between two ticks by ``at_ns``; return whether an order filled.

        Nobody knows in which order, so a stop comes before a target, and orders that wait for a price see none. It
        returns after what fills first, for that may change what else is there; call it until nothing fills. Trailing
        stops stay where they are.
        """
        self.now_ns = max(self.now_ns, at_ns)
        self.quotes.pop(contract_id, None)
        working = [each for each in self._working.get(contract_id, ()) if each.status is OrderStatus.OPEN]
        for order in sorted(working, key=lambda each: each.stop is None):
            ticks = fills.range_price(order.side, order.limit, order.stop, low, high, self._model)
            if ticks is not None:
                self._fill(order, order.remaining, ticks)
                self._working[contract_id] = [each for each in self._working[contract_id] if each.is_working]
                return True
        return False

    def working(self, contract_id: str) -> list[Order]:
        """Return the orders of a contract that prints can fill."""
        return [each for each in self._working.get(contract_id, ()) if each.status is OrderStatus.OPEN]

    def place(self, user: str, request: OrderRequest) -> Answer:
        """Take a new order; codes of ``Order/place``. A rejected order exists, with status 5."""
        account = self.account(user, request.account_id)
        if account is None:
            return Answer(1)
        listing = self.listings.get(request.contract_id)
        if listing is None:
            return Answer(8)
        if not listing.contract.active:
            return Answer(9)
        if not account.spec.can_trade:
            return Answer(4)
        if request.type not in _TYPES or request.side not in _SIDES:
            return Answer(entry.REJECTED, "Invalid order type or side.")
        return self._place(account, listing, request)

    def modify(
        self,
        user: str,
        account_id: int,
        order_id: int,
        *,
        size: int | None = None,
        limit_price: float | None = None,
        stop_price: float | None = None,
        trail_price: float | None = None,
    ) -> Answer:
        """Change a working order; codes of ``Order/modify``."""
        order, refusal = self._own_order(user, account_id, order_id)
        if order is None:
            return refusal
        quote = self.quotes.get(order.contract_id)
        try:
            entry.set_changes(
                order, self.listings[order.contract_id].grid, quote,
                size=size, limit_price=limit_price, stop_price=stop_price, trail_price=trail_price,
            )  # fmt: skip
        except Objection as objection:
            return Answer(3, objection.message)
        self._tell_order(order)
        if order.status is OrderStatus.OPEN:
            self._try_at_once(order)
        return Answer()

    def cancel(self, user: str, account_id: int, order_id: int) -> Answer:
        """Cancel a working order; codes of ``Order/cancel``."""
        account = self.account(user, account_id)
        if account is not None and account.spec.follower:
            return Answer(6, "Follower accounts cannot cancel orders")
        if account is not None and not account.spec.simulated:
            return Answer(6, "Live accounts not supported")
        order, refusal = self._own_order(user, account_id, order_id)
        if order is None:
            return refusal
        self._end(order, OrderStatus.CANCELLED)
        return Answer()

    def close_position(self, user: str, account_id: int, contract_id: str, size: int | None = None) -> Answer:
        """Close a position, or ``size`` contracts of it, at the market.

        Codes of ``Position/closeContract``; with ``size`` those of ``Position/partialCloseContract``.
        """
        account = self.account(user, account_id)
        if account is None:
            return Answer(1)
        listing = self.listings.get(contract_id)
        if listing is None:
            return Answer(3)
        if not listing.contract.active:
            return Answer(4)
        if size is not None and not account.spec.simulated:
            return Answer(9, "Live accounts not supported")
        position = account.positions.get(contract_id)
        if position is None:
            return Answer(2)
        if size is not None and not 1 <= size <= abs(position.size):
            return Answer(5, "Invalid close size.")
        side = Side.SELL if position.size > 0 else Side.BUY
        wanted = abs(position.size) if size is None else size
        request = OrderRequest(account_id, contract_id, OrderType.MARKET, side, wanted)
        answer = self._place(account, listing, request, closes=True)
        if answer.code:
            return Answer(5 if size is None else 6, answer.message)
        if size is None and self._rules.closing_cancels_orders:
            self._cancel_all(account_id, contract_id)
        return Answer()

    def void(self, trade_id: int) -> bool:
        """Void a half-turn trade, as an exchange does with an erroneous one; return whether it exists."""
        contracts = {contract_id: listing.contract for contract_id, listing in self.listings.items()}
        for account in self.accounts.values():
            for trade in account.trades:
                if trade.trade_id == trade_id and not trade.voided:
                    held = self._position(account, trade.contract_id)
                    account.void(trade, contracts, self._ids)
                    self._tell("trade", account, 0, trade_json(trade, self.listings[trade.contract_id].grid))
                    self._tell_position(account, trade.contract_id, held)
                    return True
        return False

    def plain(self) -> dict[str, Any]:
        """Return everything that has happened as plain data."""
        return {
            "now_ns": self.now_ns,
            "last_id": self._last_id,
            "quotes": {contract_id: asdict(quote) for contract_id, quote in self.quotes.items()},
            "accounts": {str(account_id): account.plain() for account_id, account in self.accounts.items()},
            "orders": [order.plain() for order in self.orders.values()],
        }

    def restore(self, data: dict[str, Any]) -> None:
        """Become what ``plain`` told of; accounts that are no longer configured are left out."""
        self.now_ns, self._last_id = data["now_ns"], data["last_id"]
        self.quotes = {contract_id: Quote(**quote) for contract_id, quote in data["quotes"].items()}
        for account_id, account in self.accounts.items():
            if str(account_id) in data["accounts"]:
                account.restore(data["accounts"][str(account_id)])
        orders = [Order.from_plain(each) for each in data["orders"]]
        self.orders = {order.order_id: order for order in orders if order.account_id in self.accounts}
        self._working, self._tags = {}, {}
        for order in self.orders.values():
            if order.custom_tag is not None:
                self._tags.setdefault(order.account_id, set()).add(order.custom_tag)
            if order.is_working:
                self._working.setdefault(order.contract_id, []).append(order)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _own_order(self, user: str, account_id: int, order_id: int) -> tuple[Order | None, Answer]:
        """Return a working order, or why there is none; modify and cancel share these codes."""
        if self.account(user, account_id) is None:
            return None, Answer(1)
        order = self.orders.get(order_id)
        if order is None or order.account_id != account_id:
            return None, Answer(2)
        if not order.is_working:
            return None, Answer(3, "Order is not open.")
        return order, Answer()

    def _place(self, account: Account, listing: Listing, request: OrderRequest, *, closes: bool = False) -> Answer:
        quote = self.quotes.get(request.contract_id)
        order = Order(
            self._next_id(), request.account_id, request.contract_id, self.now_ns, self.now_ns,
            OrderType(request.type), Side(request.side), request.size, closes=closes,
        )  # fmt: skip
        self.orders[order.order_id] = order
        try:
            tags = self._tags.setdefault(request.account_id, set())
            mode = account.spec.bracket_mode
            entry.check_request(request, mode, tags, signed_ticks=self._rules.signed_brackets)
            entry.set_prices(order, request, listing.grid, quote)
            self._check_means(account, listing, order)
        except Objection as objection:
            order.status = OrderStatus.REJECTED
            self._tell_order(order)
            return Answer(objection.code, objection.message, order.order_id)
        order.custom_tag = request.custom_tag
        legs = entry.legs_of(order, request, self._last_id + 1)
        self._last_id += len(legs)
        tags.update(each.custom_tag for each in (order, *legs) if each.custom_tag is not None)
        self.orders |= {leg.order_id: leg for leg in legs}
        for each in (order, *legs):
            self._tell_order(each)
        self._open(order)
        return Answer(order_id=order.order_id)

    def _check_means(self, account: Account, listing: Listing, order: Order) -> None:
        if not listing.calendar.is_open(self.now_ns):
            raise Objection("Market is closed.", 5)
        position = account.positions.get(order.contract_id)
        held = 0 if position is None else position.size
        opened = max(0, abs(held + order.side.sign * order.size) - abs(held))
        if opened and opened * account.spec.margin > account.balance:  # what closes needs no money
            raise Objection("Insufficient funds.", 3)

    def _open(self, order: Order) -> None:
        order.status = OrderStatus.OPEN
        order.queued = self._model.queue_ahead
        # Without prints nothing else takes out what has ended.
        working = [each for each in self._working.get(order.contract_id, ()) if each.is_working]
        self._working[order.contract_id] = [*working, order]
        if order.type is not OrderType.MARKET or order.contract_id not in self.quotes:
            self._tell_order(order)
        self._try_at_once(order)

    def _try_at_once(self, order: Order) -> None:
        """Fill an order that the present quote already fills."""
        quote = self.quotes.get(order.contract_id)
        if quote is None:
            return
        if order.type is OrderType.MARKET:
            self._fill_at_market(order, quote)
        elif order.limit is not None:
            if fills.crosses(order.side, order.limit, quote):
                self._fill(order, order.remaining, quote.best(order.side))
        elif order.stop is not None and fills.is_triggered(order.side, order.stop, quote.last):
            self._fill(order, order.remaining, fills.stop_price(order.side, order.stop, quote.last, self._model))

    def _match(self, order: Order, quote: Quote, volume: int) -> None:
        last = quote.last
        if order.type is OrderType.MARKET:
            self._fill_at_market(order, quote)
        elif order.limit is not None:
            traded, order.queued = fills.limit_volume(
                order.side, order.limit, order.remaining, order.queued, last, volume
            )
            if traded:
                self._fill(order, traded, order.limit)
        elif order.stop is not None:
            if fills.is_triggered(order.side, order.stop, last):
                self._fill(order, order.remaining, fills.stop_price(order.side, order.stop, last, self._model))
            elif order.trail is not None:
                order.stop = fills.trailed(order.side, order.stop, order.trail, last)

    def _fill_at_market(self, order: Order, quote: Quote) -> None:
        size = order.remaining
        if order.closes:  # a stop may have closed some of it while the order waited for a price
            position = self.accounts[order.account_id].positions.get(order.contract_id)
            held = 0 if position is None else position.size
            size = min(size, max(0, -order.side.sign * held))
        if size:
            self._fill(order, size, fills.market_price(order.side, quote, self._model))
        if order.is_working:
            self._end(order, OrderStatus.CANCELLED)

    def _fill(self, order: Order, size: int, ticks: int) -> None:
        account = self.accounts[order.account_id]
        listing = self.listings[order.contract_id]
        held = self._position(account, order.contract_id) if self._tells else None
        for part in fills.pieces(size, self._model):
            order.filled += part
            order.cost += part * ticks
            order.status = OrderStatus.OPEN if order.remaining else OrderStatus.FILLED
            self._tell_order(order)
            halves = account.fill(listing.contract, order.side, part, ticks, self.now_ns, order.order_id, self._ids)
            for half in halves:
                self._tell(
                    "trade", account, 0, trade_json(half, listing.grid) if self._tells else {"id": half.trade_id}
                )
            held = self._tell_position(account, order.contract_id, held)
            self._follow(order, ticks)

    def _follow(self, order: Order, ticks: int) -> None:
        """After a fill, let bracket legs follow their entry, and a leg's sibling follow the leg."""
        for leg in self._legs(order):
            if leg.is_working:
                leg.size = order.filled
                if leg.status is OrderStatus.SUSPENDED:
                    leg.status = OrderStatus.OPEN
                    leg.queued = self._model.queue_ahead
                    entry.place_leg(leg, ticks)
                    self._working.setdefault(leg.contract_id, []).append(leg)
                self._tell_order(leg)
        sibling = None if order.sibling_id is None else self.orders.get(order.sibling_id)
        if sibling is not None and sibling.is_working:
            if order.remaining:
                sibling.size = sibling.filled + order.remaining
                self._tell_order(sibling)
            else:
                self._end(sibling, OrderStatus.CANCELLED)

    def _cancel_all(self, account_id: int, contract_id: str) -> None:
        for order in self._working.get(contract_id, []).copy():
            if order.account_id == account_id and order.is_working:
                self._end(order, OrderStatus.CANCELLED)

    def _end(self, order: Order, status: OrderStatus) -> None:
        order.status = status
        self._tell_order(order)
        for leg in self._legs(order):
            if leg.status is OrderStatus.SUSPENDED:
                self._end(leg, OrderStatus.CANCELLED)

    def _legs(self, order: Order) -> list[Order]:
        # Legs get the ids that follow their entry's.
        following = (self.orders.get(order.order_id + offset) for offset in (1, 2))
        return [leg for leg in following if leg is not None and leg.parent_id == order.order_id]

    def _tell(self, kind: EventKind, account: Account, action: int, data: dict[str, object]) -> None:
        self._events.append(Event(kind, account.spec.account_id, action, data))

    def _tell_order(self, order: Order) -> None:
        order.updated_ns = self.now_ns
        data: dict[str, object] = {"id": order.order_id}
        if self._tells:
            listing = self.listings[order.contract_id]
            data = order_json(order, listing.grid, listing.contract.symbol_id)
        self._tell("order", self.accounts[order.account_id], 1 if order.is_working else 2, data)

    def _position(self, account: Account, contract_id: str) -> dict[str, object] | None:
        position = account.positions.get(contract_id)
        if position is None:
            return None
        listing = self.listings[contract_id]
        return position_json(account.spec.account_id, position, listing.grid, listing.contract.name)

    def _tell_position(
        self, account: Account, contract_id: str, before: dict[str, object] | None
    ) -> dict[str, object] | None:
        """Tell of a position and the balance; a closed one is told with action 2, type 0, size 0 and its old price."""
        if not self._tells:
            return None
        now = self._position(account, contract_id)
        if now is not None:
            self._tell("position", account, 1, now)
        elif before is not None:
            self._tell("position", account, 2, before | {"type": 0, "size": 0})
        self._tell("account", account, 1, account_json(account))
        return now
