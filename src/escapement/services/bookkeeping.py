"""The account's book at work: what the venue tells goes into it, and from it into the database.

Protection never waits for the database: what was told stays here until it could be written down.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

import structlog

from escapement.core.execution import (
    LAPSED,
    AccountBook,
    HoldingNote,
    OrderNote,
    Role,
    decision_of,
    number_of,
    role_of,
)
from escapement.errors import StorageError
from escapement.model import Contract, Fill, Order, OrderStatus, OrderType

log = structlog.get_logger(service="execute")

_RETRY_S = 1.0


class Records(Protocol):
    """Where orders, fills and positions are written down."""

    async def put(
        self,
        account: str,
        orders: Sequence[OrderNote] = (),
        fills: Sequence[Fill] = (),
        positions: Sequence[HoldingNote] = (),
    ) -> None:
        """Take note of them as they stand."""
        ...


class Bookkeeper:
    """Keeps the book of one account.

    Args:
        account: its name.
        book: of the account.
        records: where it is written down.
        contract_of: asks the venue for the facts of a contract.
        changed: called with a contract's id when something about it changed.
    """

    def __init__(
        self,
        account: str,
        book: AccountBook,
        records: Records,
        contract_of: Callable[[str], Awaitable[Contract]],
        changed: Callable[[str], None],
    ) -> None:
        self.account = account
        self.book = book
        self._records = records
        self._contract_of = contract_of
        self._changed = changed
        self._orders: set[int] = set()
        self._notes: dict[str, OrderNote] = {}
        self._fills: dict[int, Fill] = {}
        self._contracts: set[str] = set()
        self._numbers: Counter[tuple[str, Role]] = Counter()
        self._rung = asyncio.Event()
        self.closing: dict[str, float] = {}  # contracts that we are closing, and for how long that may take
        self.is_behind = False

    def load(self, orders: Sequence[OrderNote], fills: Sequence[Fill]) -> None:
        """Take up what was written down; the book knows all contracts of it."""
        for note in orders:
            self._count(note.key)
            if note.role is Role.CLOSE and note.venue_order_id is not None:
                self.book.closers.add(note.venue_order_id)
            order = _order_of(note, self.book.account_id)
            if order is not None:
                self.book.see_order(order)
        for fill in fills:
            self.book.see_fill(fill)

    def next_number(self, decision_id: str, role: Role) -> int:
        """Return a number that no order of this role and decision has had; it is taken with this."""
        key = (decision_id[:16], role)
        self._numbers[key] += 1
        return self._numbers[key]

    async def know(self, contract_id: str) -> Contract:
        """Return a contract's facts, and let the book know it.

        Raises:
            GatewayError: the venue does not tell of it.
        """
        holding = self.book.holdings.get(contract_id)
        if holding is None:
            holding = self.book.know(await self._contract_of(contract_id))
        return holding.contract

    async def see(self, value: Order | Fill) -> bool:
        """Take note of an order or a fill; return whether that changed anything.

        Raises:
            GatewayError: the venue does not tell of its contract.
        """
        await self.know(value.contract_id)
        if isinstance(value, Order):
            self._count(value.custom_tag or "")
            if value.custom_tag is None and value.type is OrderType.MARKET and self._is_closing(value):
                self.book.closers.add(value.order_id)
            changed = self.book.see_order(value)
            if changed:
                self._orders.add(value.order_id)
        else:
            changed = self.book.see_fill(value)
            if changed:
                self._fills[value.fill_id] = value
        if changed:
            self.touch(value.contract_id)
        return changed

    def touch(self, contract_id: str) -> None:
        """Have a contract looked at and its position written down."""
        self._contracts.add(contract_id)
        self._rung.set()
        self._changed(contract_id)

    def note(self, note: OrderNote) -> None:
        """Have an order that the venue does not know written down."""
        self._notes[note.key] = note
        self._rung.set()

    async def write(self) -> None:
        """Write down what changed, until cancelled; whenever the database does not answer, later."""
        while True:
            await self._rung.wait()
            try:
                await self.flush()
            except StorageError as error:
                if not self.is_behind:
                    log.warning("records_behind", reason=str(error))
                self.is_behind = True
                await asyncio.sleep(_RETRY_S)
            else:
                self.is_behind = False

    async def flush(self) -> None:
        """Write down what changed now.

        Raises:
            StorageError: the database does not answer; what changed is kept.
        """
        self._rung.clear()
        ids, self._orders = self._orders, set()
        notes, self._notes = self._notes, {}
        fills, self._fills = self._fills, {}
        contracts, self._contracts = self._contracts, set()
        orders = [order for order in map(self.book.order, sorted(ids)) if order is not None]
        known = {order.custom_tag for order in orders}
        try:
            await self._records.put(
                self.account,
                [self._note_of(order) for order in orders] + [each for key, each in notes.items() if key not in known],
                [fills[fill_id] for fill_id in sorted(fills)],
                [self._holding(contract_id) for contract_id in sorted(contracts)],
            )
        except BaseException:
            self._orders |= ids
            self._notes = notes | self._notes
            self._fills = fills | self._fills
            self._contracts |= contracts
            self._rung.set()
            raise

    def _holding(self, contract_id: str) -> HoldingNote:
        holding = self.book.holdings[contract_id]
        net, contract = holding.net, holding.contract
        cost = sum(lot.size * lot.ticks for lot in holding.lots)
        return HoldingNote(
            contract_id, net, self.book.foreign_net(contract_id), holding.grid.mean(cost, net) if net else None,
            self.book.protected(contract_id), holding.money - holding.fees, contract.tick_size, contract.tick_value,
        )  # fmt: skip

    def _is_closing(self, order: Order) -> bool:
        """Whether an untagged order is the one by which the venue closes a position for us."""
        is_new = self.book.order(order.order_id) is None
        return is_new and time.monotonic() < self.closing.get(order.contract_id, 0.0)

    def _note_of(self, order: Order) -> OrderNote:
        note = OrderNote.of(order)
        return replace(note, role=Role.CLOSE) if order.order_id in self.book.closers else note

    def _count(self, custom_tag: str) -> None:
        decision = decision_of(custom_tag)
        if decision is not None and not custom_tag.endswith(("-SL", "-TP")):
            key = (decision, role_of(custom_tag))
            self._numbers[key] = max(self._numbers[key], number_of(custom_tag))


def balance_of(start: Decimal, book: AccountBook) -> Decimal:
    """Return an account's balance by its fills, after fees."""
    return start + book.made()


def _order_of(note: OrderNote, account_id: int) -> Order | None:
    """Return the order of a note; None for one that the venue does not know."""
    if note.venue_order_id is None or note.status == LAPSED:
        return None
    status = note.status.upper()
    return Order(
        note.venue_order_id, account_id, note.contract_id, note.created_ns or 0, None,
        OrderStatus[status] if status in OrderStatus.__members__ else OrderStatus.PENDING, note.type, note.side,
        note.size, note.filled_size, note.filled_price, note.limit_price, note.stop_price,
        custom_tag=None if note.key.startswith("#") else note.key,
    )  # fmt: skip
