"""The venue for who holds the account's lease: nothing is sent by a process that has lost it without noticing.

A process that was frozen goes on in the middle of what it did. So before each call that changes something, a clock that
went on meanwhile says whether the lease surely holds until the call has arrived; if not, the database is asked. A call
that takes longer, because it waits for its turn or for a log-in, is given up: it might leave after the lease is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from escapement.core.execution import Role, role_of
from escapement.errors import LeaseLost, OutcomeUnknown, StorageUnavailable
from escapement.model import Account, Contract, Fill, Order, OrderRequest, OrderStatus, Position
from escapement.ports import Broker
from escapement.services.sharing import SharedLeases
from escapement.services.within import within

log = structlog.get_logger(service="execute")

_ASK_S = 1.0


class LeasedBroker:
    """A ``Broker`` that asks for the lease of ``name`` before it changes anything.

    Args:
        broker: the venue.
        leases: of this process.
        name: of the account.
        longest_s: how much longer the lease has to hold, which is as long as a call may take; None where calls do not
            leave this process.
    """

    def __init__(self, broker: Broker, leases: SharedLeases, name: str, longest_s: float | None) -> None:
        self._broker = broker
        self._leases = leases
        self._name = name
        self._longest_s = longest_s

    async def place_order(self, request: OrderRequest) -> int:
        """As the port says.

        Raises:
            LeaseLost: another process trades the account; nothing was sent.
            StorageUnavailable: an entry, and nobody can tell whether it is still ours to send.
            OutcomeUnknown: it took too long.
        """
        async with self._allowed(opens=role_of(request.custom_tag or "") is Role.ENTRY):
            return await self._broker.place_order(request)

    async def modify_order(self, account_id: int, order_id: int, *, size: int | None = None) -> None:
        """As the port says, or LeaseLost."""
        async with self._allowed(opens=False):
            await self._broker.modify_order(account_id, order_id, size=size)

    async def cancel_order(self, account_id: int, order_id: int) -> None:
        """As the port says, or LeaseLost."""
        async with self._allowed(opens=False):
            await self._broker.cancel_order(account_id, order_id)

    async def close_position(self, account_id: int, contract_id: str, *, size: int | None = None) -> None:
        """As the port says, or LeaseLost."""
        async with self._allowed(opens=False):
            await self._broker.close_position(account_id, contract_id, size=size)

    @asynccontextmanager
    async def _allowed(self, *, opens: bool) -> AsyncIterator[None]:
        await self._allow(self._longest_s or 0.0, opens=opens)
        timer = asyncio.timeout(self._longest_s)
        try:
            async with timer:
                yield
        except TimeoutError:
            if not timer.expired():
                raise
            raise OutcomeUnknown(
                f"a call took longer than {self._longest_s:g} s, for which {self._name} is surely ours to trade; "
                "whether it was done is unknown: look for it before sending anything"
            ) from None

    async def _allow(self, for_s: float, *, opens: bool) -> None:
        if self._leases.holds(self._name, for_s):
            return
        if self._name in self._leases.names:
            try:
                await within(_ASK_S, self._leases.renew())
            except (StorageUnavailable, TimeoutError):
                if opens:
                    raise StorageUnavailable(
                        f"the database does not say whether {self._name} is still ours to trade; nothing is opened"
                    ) from None
                # Who cannot reach the database protects on: each of these calls is harmless when another does it too.
                log.warning("lease_unknown", account=self._name)
                return
        if not self._leases.holds(self._name, for_s):
            raise LeaseLost(f"the lease of {self._name} went to another process; nothing was sent")

    async def accounts(self, *, only_active: bool = True) -> Sequence[Account]:
        """As the port says."""
        return await self._broker.accounts(only_active=only_active)

    async def contract(self, contract_id: str) -> Contract:
        """As the port says."""
        return await self._broker.contract(contract_id)

    async def order(self, account_id: int, order_id: int) -> Order:
        """As the port says."""
        return await self._broker.order(account_id, order_id)

    async def orders(self, account_id: int, from_ns: int, to_ns: int | None = None) -> Sequence[Order]:
        """As the port says."""
        return await self._broker.orders(account_id, from_ns, to_ns)

    async def orders_by_status(self, account_id: int, statuses: Sequence[OrderStatus]) -> Sequence[Order]:
        """As the port says."""
        return await self._broker.orders_by_status(account_id, statuses)

    async def positions(self, account_id: int) -> Sequence[Position]:
        """As the port says."""
        return await self._broker.positions(account_id)

    async def fills(self, account_id: int, from_ns: int, to_ns: int | None = None) -> Sequence[Fill]:
        """As the port says."""
        return await self._broker.fills(account_id, from_ns, to_ns)
