"""The venue's orders, positions, fills and balance against ours: what we missed is learnt, what differs is noted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

import structlog
from msgspec import structs

from escapement.core.dealing import product_of
from escapement.core.execution import Difference, Lot, Role, role_of
from escapement.errors import GatewayRefused, StorageError
from escapement.model import Account, Order, OrderStatus, OrderType, Position
from escapement.services.dealing import WRITE_S, Dealing
from escapement.services.within import within

log = structlog.get_logger(service="execute")

WORKING = OrderStatus.OPEN, OrderStatus.PENDING, OrderStatus.PENDING_CANCELLATION, OrderStatus.SUSPENDED
_AGAIN_S = 0.3
_TIMES = 5
_CENT = Decimal("0.01")


class DifferenceStore(Protocol):
    """Where differences are written down."""

    async def put_differences(self, account: str, cause: str, differences: Sequence[Difference]) -> None:
        """Take note of where the venue and our book differed."""
        ...


class Reconciliation:
    """Compares one account with what the venue says of it.

    Args:
        deal: the account.
        store: where differences are written down.
    """

    def __init__(self, deal: Dealing, store: DifferenceStore) -> None:
        self._deal = deal
        self._store = store
        self._told: set[tuple[str, str, str, str]] = set()
        self._turn = asyncio.Lock()
        self._asked = 0

    async def run(self, cause: str) -> None:
        """Ask the venue for everything, and take it into the book.

        Raises:
            GatewayError: the venue does not answer; nothing is known then.
        """
        asked = self._asked
        async with self._turn:
            if self._asked > asked + 1:
                return  # whoever waited here was served by who came after
            self._asked += 1
            differences = await self._compare()
            new = [each for each in differences if _key(each) not in self._told]
            self._told = {_key(each) for each in differences}
        if new:
            for each in new:
                log.warning("difference", cause=cause, kind=each.kind, subject=each.subject, ours=each.ours,
                            venues=each.venues, action=each.action)  # fmt: skip
            try:
                await within(WRITE_S, self._store.put_differences(self._deal.account, cause, new))
            except (StorageError, TimeoutError) as error:
                log.warning("differences_unwritten", reason=str(error))

    async def _compare(self) -> list[Difference]:
        deal = self._deal
        differences = await self._learn()
        for attempt in range(_TIMES):
            positions = {each.contract_id: each for each in await deal.broker.positions(deal.account_id)}
            contracts = [*deal.keeper.book.holdings, *positions]
            unlike = [each for each in dict.fromkeys(contracts) if not self._agrees(each, positions)]
            if not unlike:
                break
            # What is on its way comes first: nothing is taken for a difference that is only news.
            await asyncio.sleep(_AGAIN_S * attempt)
            differences += await self._learn()
        else:
            differences += [await self._take_over(each, positions.get(each)) for each in unlike]
        return differences + await self._money() + self._foreign() + self._contradictions()

    async def _learn(self) -> list[Difference]:
        """Take in orders and fills; return what we had not heard of."""
        deal, keeper = self._deal, self._deal.keeper
        book, missed = keeper.book, []
        from_ns, now_ns = deal.news_from_ns(), deal.clock.now_ns()
        orders = {each.order_id: each for each in await deal.broker.orders(deal.account_id, from_ns)}
        orders |= {each.order_id: each for each in await deal.broker.orders_by_status(deal.account_id, WORKING)}
        fills = await deal.broker.fills(deal.account_id, from_ns)
        working = [each for contract_id in list(book.holdings) for each in book.working(contract_id)]
        for order in orders.values():  # before their fills, which would seem to be of others
            known_order = book.order(order.order_id)
            await keeper.see(order)
            now = book.order(order.order_id)
            if now is not None and (known_order is None or _standing(known_order) != _standing(now)):
                ours = "none" if known_order is None else known_order.status.name.lower()
                missed.append(_order_difference(now, ours))
        for fill in fills:
            contract = await keeper.know(fill.contract_id)
            known = book.holdings[contract.contract_id].has(fill.fill_id)
            if await keeper.see(fill):
                what = "voided" if fill.voided else f"{fill.side.name.lower()} {fill.size} at {fill.price}"
                missed.append(Difference("fill", str(fill.fill_id), "as it was" if known else "none", what, "learnt"))
        deal.learnt_to_ns = max(deal.learnt_to_ns, now_ns)
        for order in working:
            if order.order_id not in orders:
                missed += await self._look_up(order)
        return missed

    async def _look_up(self, order: Order) -> list[Difference]:
        """Ask for an order that works as far as we know, and that the venue did not name."""
        try:
            found = await self._deal.broker.order(order.account_id, order.order_id)
        except GatewayRefused as error:
            await self._deal.keeper.see(structs.replace(order, status=OrderStatus.EXPIRED))
            return [
                Difference("order", order.custom_tag or f"#{order.order_id}", order.status.name.lower(), str(error),
                           "taken as ended")
            ]  # fmt: skip
        changed = await self._deal.keeper.see(found)
        return [_order_difference(found, order.status.name.lower())] if changed else []

    def _agrees(self, contract_id: str, positions: Mapping[str, Position]) -> bool:
        position = positions.get(contract_id)
        held = 0 if position is None else position.net
        book = self._deal.keeper.book
        return book.net(contract_id) == held and not book.awaits_fills(contract_id)

    async def _take_over(self, contract_id: str, position: Position | None) -> Difference:
        """Believe the venue about a position that its fills do not explain; what is too much counts as of others."""
        await self._deal.keeper.know(contract_id)
        holding = self._deal.keeper.book.holdings[contract_id]
        ours, venues = holding.net, 0 if position is None else position.net
        price = 0.0 if position is None else position.average_price
        ticks = holding.grid.nearest(price) if position is not None else holding.lots[0].ticks if holding.lots else 0
        if venues != ours:
            holding.correct(Lot(venues - ours, ticks, self._deal.clock.now_ns(), 0))
            self._deal.keeper.touch(contract_id)
        return Difference("position", contract_id, str(ours), str(venues), "the venue's is believed")

    async def _money(self) -> list[Difference]:
        deal = self._deal
        accounts: Sequence[Account] = await deal.broker.accounts(only_active=False)
        account = next((each for each in accounts if each.account_id == deal.account_id), None)
        if deal.dealer.pack is not None and deal.dealer.pack.no_hedging:
            deal.dealer.others = await self._elsewhere(accounts)
        deal.dealer.can_trade = account is not None and account.can_trade
        if account is None:
            return [Difference("account", deal.account, "there", "not there", "nothing is opened")]
        if abs(account.balance - deal.dealer.balance) < _CENT:
            return []
        return [Difference("balance", deal.account, f"{deal.dealer.balance:.2f}", f"{account.balance:.2f}", "noted")]

    async def _elsewhere(self, accounts: Sequence[Account]) -> tuple[tuple[str, str, int], ...]:
        """Return what the user's other accounts hold: account, product, net."""
        found = []
        for account in accounts:
            if account.account_id != self._deal.account_id and account.can_trade:
                for position in await self._deal.broker.positions(account.account_id):
                    contract = await self._deal.broker.contract(position.contract_id)
                    found.append((account.name, product_of(contract), position.net))
        return tuple(found)

    def _foreign(self) -> list[Difference]:
        """Return orders and positions of others, and what becomes of them."""
        book = self._deal.keeper.book
        done = {"adopt": "adopted", "leave": "left alone", "flatten": "flattened"}[self._deal.params.foreign]
        found = []
        for contract_id in book.holdings:
            net = book.foreign_net(contract_id)
            if net:
                found.append(Difference("foreign position", contract_id, "none", str(net), done))
            found += [
                Difference("foreign order", f"#{order.order_id}", "none", _words(order), done)
                for order in book.working(contract_id)
                if role_of(order.custom_tag) is Role.FOREIGN and order.type is not OrderType.MARKET
            ]
        return found

    def _contradictions(self) -> list[Difference]:
        return [
            Difference("contradiction", subject, words, "", "noted")
            for subject, words in self._deal.keeper.book.faults().items()
        ]


def _order_difference(order: Order, ours: str) -> Difference:
    return Difference("order", order.custom_tag or f"#{order.order_id}", ours, _words(order), "learnt")


def _words(order: Order) -> str:
    price = order.limit_price if order.limit_price is not None else order.stop_price
    at = "" if price is None else f" at {price}"
    return f"{order.status.name.lower()} {order.side.name.lower()} {order.type.name.lower()} {order.size}{at}"


def _standing(order: Order) -> tuple[object, ...]:
    return order.status, order.size, order.filled_size, order.limit_price, order.stop_price


def _key(difference: Difference) -> tuple[str, str, str, str]:
    return difference.kind, difference.subject, difference.ours, difference.venues
