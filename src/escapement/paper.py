"""The paper account: the simulated venue's own matching, fed by the live market.

It is used as the gateway is, so that what trades on paper is the program that trades for money. Only the fills are
estimated: see ``simulator.fills``. Its orders work while the program runs; what the market does meanwhile is not known.
Its market is held back, and calls arrive a fixed time after what caused them: see ``services.pace``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

import structlog

from escapement.core.dealing import LastPrice
from escapement.errors import StorageError
from escapement.model import (
    NS_PER_SECOND,
    Account,
    AggressorSide,
    Contract,
    Fill,
    Order,
    OrderRequest,
    OrderStatus,
    Position,
    SessionCalendar,
    Trade,
)
from escapement.ports import AccountEvent, FeedLive, FeedLost, TradesReceived, VenueTime
from escapement.projectx import payloads
from escapement.projectx.refusals import refusal
from escapement.services.pace import Kind, Pace
from escapement.simulator.accounts import AccountSpec, account_json, position_json, trade_json
from escapement.simulator.fills import FillModel
from escapement.simulator.orders import Bracket, OrderType, order_json
from escapement.simulator.orders import OrderRequest as VenueRequest
from escapement.simulator.venue import Answer, Listing, Venue

log = structlog.get_logger(service="paper")

_USER = "paper"
_ACCOUNT_ID = 1
_QUEUE = 10_000
_KEPT_NS = 3 * 86_400 * NS_PER_SECOND
_READERS: Mapping[str, Callable[[Mapping[str, Any]], Account | Order | Position | Fill]] = {
    "account": payloads.account, "order": payloads.order, "position": payloads.position, "trade": payloads.fill,
}  # fmt: skip


class PaperStore(Protocol):
    """Where the paper account is kept between runs."""

    async def load_state(self, name: str) -> Mapping[str, object] | None:
        """Return what was saved last."""
        ...

    async def save_state(self, name: str, state: Mapping[str, object]) -> None:
        """Replace what was saved."""
        ...


class PaperVenue:
    """A venue with one account, by the methods of the gateway client and of its feed of account events.

    Args:
        name: of the account.
        balance: it begins with, in account money.
        fee: per contract and side.
        model: how orders fill.
        contract_of: asks for the facts of a contract.
        calendar_of: returns its sessions.
        store: where the account is kept.
        pace: in which the market happens.
        latency_ns: from what causes a call until it arrives.
    """

    def __init__(
        self,
        name: str,
        balance: Decimal,
        fee: Decimal,
        model: FillModel,
        contract_of: Callable[[str], Awaitable[Contract]],
        calendar_of: Callable[[str], SessionCalendar],
        store: PaperStore,
        *,
        pace: Pace,
        latency_ns: int,
    ) -> None:
        spec = AccountSpec(_ACCOUNT_ID, name, _USER, balance, commission=Decimal(0), fees=fee)
        self._venue = Venue({}, [spec], 0, model)
        self._listings: dict[str, Listing] = {}
        self._venue.listings = self._listings
        self._contract_of = contract_of
        self._calendar_of = calendar_of
        self._store = store
        self._state_name = f"paper {name}"
        self._queue: asyncio.Queue[AccountEvent | FeedLive | FeedLost | None] = asyncio.Queue(_QUEUE)
        self._is_unsaved = False
        self.pace = pace
        self._latency_ns = latency_ns
        self._last: dict[str, Trade] = {}
        self._untold = 0

    @property
    def is_heard(self) -> bool:
        """Whether all that happened was told to whoever reads ``events``, and he asks for more."""
        return not self._untold

    def prices(self) -> dict[str, LastPrice]:
        """Return the last price of each contract, also from before this run."""
        return {
            contract_id: LastPrice(self._listings[contract_id].grid.nearest(trade.price), trade.at_ns)
            for contract_id, trade in self._last.items()
        }

    async def restore(self) -> None:
        """Take up what was kept.

        Raises:
            StorageError: the database does not answer.
            GatewayError: a contract of kept orders is not told of.
        """
        kept = await self._store.load_state(self._state_name)
        if kept is None:
            return
        state: dict[str, Any] = dict(kept)
        held = [each["contract_id"] for each in state["accounts"][str(_ACCOUNT_ID)]["positions"]]
        for contract_id in {*(each["contract_id"] for each in state["orders"]), *held, *state["quotes"]}:
            await self.contract(contract_id)
        self._venue.restore(state)
        self._last = {each[0]: _trade(each) for each in state.get("last", ()) if each[0] in self._listings}
        self.pace.resume(self._venue.now_ns, map(_trade, state.get("ahead", ())))

    async def hear(self, event: TradesReceived | VenueTime) -> None:
        """Let the market trade, or time pass."""
        if isinstance(event, VenueTime):
            self._pass_time(event.at_ns)
            return
        for trade in event.trades:
            if trade.contract_id in self._listings:
                self._venue.on_trade(trade)
                self._last[trade.contract_id] = trade
                self._is_unsaved = True
        await self._tell()

    async def events(self) -> AsyncIterator[AccountEvent | FeedLive | FeedLost]:
        """Yield what happens to the account, until ``aclose``."""
        yield FeedLive(1, time.time_ns())
        while (event := await self._queue.get()) is not None:
            yield event
            self._untold -= 1
            self.pace.stir()

    async def aclose(self) -> None:
        """End ``events``, and keep the account."""
        await self._queue.put(None)
        self._pass_time(self.pace.now_ns())
        if self._is_unsaved or self.pace.ahead():
            await self._save()

    async def accounts(self, *, only_active: bool = True) -> list[Account]:
        """Return the account."""
        del only_active
        return [payloads.account(account_json(each)) for each in self._venue.accounts.values()]

    async def contract(self, contract_id: str) -> Contract:
        """Return one contract by its id, and trade it from now on."""
        if contract_id not in self._listings:
            contract = await self._contract_of(contract_id)
            self._listings[contract_id] = Listing(contract, self._calendar_of(contract_id))
        return self._listings[contract_id].contract

    async def place_order(self, request: OrderRequest) -> int:
        """Place an order; return its id."""
        await self.contract(request.contract_id)
        legs = [
            None if each is None else Bracket(each.ticks, OrderType(each.type))
            for each in (request.stop_loss, request.take_profit)
        ]
        wanted = VenueRequest(
            request.account_id, request.contract_id, int(request.type), int(request.side), request.size,
            request.limit_price, request.stop_price, request.trail_price, request.custom_tag, *legs,
        )  # fmt: skip
        answer = await self._arrived(lambda: self._venue.place(_USER, wanted))
        return _checked("Order/place", answer).order_id or 0

    async def modify_order(self, account_id: int, order_id: int, *, size: int | None = None) -> None:
        """Change an order's size."""
        answer = await self._arrived(lambda: self._venue.modify(_USER, account_id, order_id, size=size))
        _checked("Order/modify", answer)

    async def cancel_order(self, account_id: int, order_id: int) -> None:
        """Cancel an order."""
        answer = await self._arrived(lambda: self._venue.cancel(_USER, account_id, order_id))
        _checked("Order/cancel", answer)

    async def close_position(self, account_id: int, contract_id: str, *, size: int | None = None) -> None:
        """Close a position at the market, or ``size`` contracts of it."""
        answer = await self._arrived(lambda: self._venue.close_position(_USER, account_id, contract_id, size))
        _checked("Position/closeContract" if size is None else "Position/partialCloseContract", answer)

    async def order(self, account_id: int, order_id: int) -> Order:
        """Return one order by its id."""
        for order in await self.orders(account_id, 0):
            if order.order_id == order_id:
                return order
        raise refusal("Order/searchById", 1, None)

    async def orders(self, account_id: int, from_ns: int, to_ns: int | None = None) -> list[Order]:
        """Return the account's orders of a stretch of time, nanoseconds UTC."""
        return [
            payloads.order(order_json(each, listing.grid, listing.contract.symbol_id))
            for each in self._venue.orders_of(account_id)
            if from_ns <= each.created_ns and (to_ns is None or each.created_ns <= to_ns)
            for listing in (self._listings[each.contract_id],)
        ]

    async def orders_by_status(self, account_id: int, statuses: Sequence[OrderStatus]) -> list[Order]:
        """Return all the account's orders of these statuses."""
        return [each for each in await self.orders(account_id, 0) if each.status in statuses]

    async def positions(self, account_id: int) -> list[Position]:
        """Return what the account holds."""
        return [
            payloads.position(position_json(account_id, each, listing.grid, listing.contract.name))
            for each in self._venue.accounts[account_id].positions.values()
            for listing in (self._listings[each.contract_id],)
        ]

    async def fills(self, account_id: int, from_ns: int, to_ns: int | None = None) -> list[Fill]:
        """Return the account's executions of a stretch of time, nanoseconds UTC."""
        return [
            payloads.fill(trade_json(each, self._listings[each.contract_id].grid))
            for each in self._venue.accounts[account_id].trades
            if from_ns <= each.at_ns and (to_ns is None or each.at_ns <= to_ns)
        ]

    def _pass_time(self, at_ns: int) -> None:
        self._venue.now_ns = max(self._venue.now_ns, at_ns)

    async def _arrived(self, call: Callable[[], Answer]) -> Answer:
        """Return the venue's answer to a call, once that has reached it and what it did was told."""
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        async def arrive() -> None:
            self._pass_time(self.pace.now_ns())
            answer = call()
            await self._tell()
            if not answered.done():
                answered.set_result(answer)

        self.pace.at(self.pace.now_ns() + self._latency_ns, Kind.CALL, arrive)
        self.pace.stir()
        return await answered

    async def _tell(self) -> None:
        """Keep the account as it is now, then tell what happened: what was told of stays true after a crash."""
        events = self._venue.take_events()
        if not events:
            return
        self._is_unsaved = True
        try:
            await self._save()
        except StorageError as error:
            log.warning("paper_unsaved", reason=str(error))
        self._untold += len(events)
        for event in events:
            await self._queue.put(AccountEvent(_READERS[event.kind](event.data), time.time_ns()))

    async def _save(self) -> None:
        state = self._venue.plain()
        before_ns = self._venue.now_ns - _KEPT_NS
        working = {OrderStatus.OPEN, OrderStatus.PENDING, OrderStatus.SUSPENDED}
        state["orders"] = [
            each for each in state["orders"] if each["updated_ns"] >= before_ns or each["status"] in working
        ]
        for account in state["accounts"].values():
            account["trades"] = [each for each in account["trades"] if each["at_ns"] >= before_ns]
        state["last"] = [_plain(each) for each in self._last.values()]
        state["ahead"] = [_plain(each) for each in self.pace.ahead()]
        await self._store.save_state(self._state_name, state)
        self._is_unsaved = False


def _plain(trade: Trade) -> list[object]:
    return [trade.contract_id, trade.at_ns, trade.price, trade.volume, str(trade.aggressor)]


def _trade(plain: Sequence[Any]) -> Trade:
    contract_id, at_ns, price, volume, aggressor = plain
    return Trade(contract_id, at_ns, price, volume, AggressorSide(aggressor))


def _checked(endpoint: str, answer: Answer) -> Answer:
    if answer.code:
        raise refusal(endpoint, answer.code, answer.message)
    return answer
