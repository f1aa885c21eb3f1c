"""What an account has: orders, fills, what it holds and what it made; by what the venue tells, in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal

from msgspec import structs

from escapement.core.execution.holdings import Holding, Lot
from escapement.core.execution.orders import STOPS, OrderRecord, is_working, remaining
from escapement.core.execution.tags import Role, role_of
from escapement.errors import InvalidInput
from escapement.model import Contract, Fill, Order, OrderStatus


class AccountBook:
    """Orders and fills of one account, joined from all that was told of them.

    Args:
        account_id: of the venue.
        since_ns: what was ordered or filled before it is not in the book, nanoseconds UTC.
    """

    def __init__(self, account_id: int, since_ns: int = 0) -> None:
        self.account_id = account_id
        self.since_ns = since_ns
        self.holdings: dict[str, Holding] = {}
        self.closers: set[int] = set()  # the venue's orders by which it closed positions for us
        self._records: dict[int, OrderRecord] = {}
        self._orders: dict[int, Order] = {}  # as the records have them stand
        self._ids: dict[str, int] = {}
        self._filled: Counter[int] = Counter()
        self._working: dict[str, set[int]] = {}
        self._awaited: dict[str, set[int]] = {}

    def know(self, contract: Contract, seed: tuple[Lot, ...] = ()) -> Holding:
        """Take note of a contract, with what was held of it before ``since_ns``; return its holding."""
        if contract.contract_id not in self.holdings:
            self.holdings[contract.contract_id] = Holding(contract, seed)
        return self.holdings[contract.contract_id]

    def see_order(self, order: Order) -> bool:
        """Take note of an order as someone told it; return whether that changed anything.

        Raises:
            InvalidInput: it is of another account.
        """
        self._check(order.account_id)
        told = OrderRecord.of(order)
        known = self._records.get(order.order_id)
        record = told if known is None else known.joined(told)
        if record == known:
            return False
        self._records[order.order_id] = record
        self._orders[order.order_id] = stands = record.order
        self._file(stands)
        return True

    def see_fill(self, fill: Fill) -> bool:
        """Take note of a fill as someone told it; return whether that changed anything.

        Raises:
            InvalidInput: it is of another account, or of a contract that was not made known.
        """
        self._check(fill.account_id)
        if fill.at_ns < self.since_ns:
            return False
        # A fill read back from the database, which keeps microseconds, is the fill that the venue told of.
        if fill.at_ns % 1_000:
            fill = structs.replace(fill, at_ns=fill.at_ns // 1_000 * 1_000)
        holding = self.holdings.get(fill.contract_id)
        if holding is None:
            raise InvalidInput(f"fill {fill.fill_id} is of {fill.contract_id}, which the book does not know")
        if not holding.has(fill.fill_id):
            self._filled[fill.order_id] += fill.size
        changed = holding.see(fill)
        order = self.order(fill.order_id)
        if changed and order is not None:
            self._file(order)
        return changed

    def order(self, order_id: int) -> Order | None:
        """Return an order as it stands."""
        return self._orders.get(order_id)

    def orders(self) -> list[Order]:
        """Return all orders as they stand, oldest first."""
        return [self._orders[order_id] for order_id in sorted(self._orders)]

    def tagged(self, custom_tag: str) -> Order | None:
        """Return the order with this tag."""
        order_id = self._ids.get(custom_tag)
        return None if order_id is None else self.order(order_id)

    def working(self, contract_id: str) -> list[Order]:
        """Return the orders of a contract that can still trade or wait for that, oldest first."""
        return [self._orders[order_id] for order_id in sorted(self._working.get(contract_id, ()))]

    def awaits_fills(self, contract_id: str) -> bool:
        """Whether an order is said to be filled further than its fills say: what is held is not known then."""
        return bool(self._awaited.get(contract_id))

    def is_own(self, order_id: int) -> bool:
        """Whether an order is one of ours, a leg of one, or the venue's by which it closed a position for us."""
        if order_id in self.closers:
            return True
        order = self.order(order_id)
        return order is not None and role_of(order.custom_tag) is not Role.FOREIGN

    def foreign_net(self, contract_id: str) -> int:
        """Return how many of the contracts held were opened by orders that are not ours; negative when short."""
        holding = self.holdings.get(contract_id)
        lots: Iterable[Lot] = () if holding is None else holding.lots
        return sum(lot.size for lot in lots if not self.is_own(lot.order_id))

    def net(self, contract_id: str) -> int:
        """Return how many contracts are held; negative when short."""
        holding = self.holdings.get(contract_id)
        return 0 if holding is None else holding.net

    def protected(self, contract_id: str) -> int:
        """Return how many of the contracts held are closed by working stops."""
        net = self.net(contract_id)
        return sum(
            remaining(order)
            for order in self.working(contract_id)
            if order.type in STOPS and order.status is not OrderStatus.SUSPENDED and bool(order.side) == (net > 0)
        )

    def made(self) -> Decimal:
        """Return what all closed lots made less all fees, in account money."""
        return sum((each.money - each.fees for each in self.holdings.values()), Decimal(0))

    def faults(self) -> dict[str, str]:
        """Return what was told that contradicts itself, in words, by order or fill."""
        orders = {
            f"order {order_id}": "; ".join(record.faults) for order_id, record in self._records.items() if record.faults
        }
        fills = {
            f"fill {fill_id}": words for each in self.holdings.values() for fill_id, words in each.faults.items()
        }  # fmt: skip
        return orders | fills

    def _check(self, account_id: int) -> None:
        if account_id != self.account_id:
            raise InvalidInput(f"account {account_id} is told of in the book of account {self.account_id}")

    def _file(self, order: Order) -> None:
        if order.custom_tag is not None:
            self._ids[order.custom_tag] = order.order_id
        awaits = order.created_ns >= self.since_ns and order.filled_size > self._filled[order.order_id]
        for shelf, belongs in ((self._working, is_working(order)), (self._awaited, awaits)):
            ids = shelf.setdefault(order.contract_id, set())
            (ids.add if belongs else ids.discard)(order.order_id)
