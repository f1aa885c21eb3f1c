"""The venue for who holds the account's lease: nothing is sent by a process that has lost it without noticing.

A process that was frozen goes on in the middle of what it did. So before each call that changes something, a clock that
went on meanwhile says whether the lease surely holds until the call has arrived; if not, the database is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from escapement.core.execution import Role, role_of
from escapement.errors import LeaseLost, StorageUnavailable
from escapement.model import Account, Contract, Fill, Order, OrderRequest, OrderStatus, Position
from escapement.ports import Broker
from escapement.services.sharing import SharedLeases

log = structlog.get_logger(service="execute")

_ASK_S = 1.0


class LeasedBroker:
    """A ``Broker`` that asks for the lease of ``name`` before it changes anything.

    Args:
        broker: the venue.
        leases: of this process.
        name: of the account.
        margin_s: how much longer the lease has to hold, for what is sent takes a while to arrive.
    """

    def __init__(self, broker: Broker, leases: SharedLeases, name: str, margin_s: float) -> None:
        self._broker = broker
        self._leases = leases
        self._name = name
        self._margin_s = margin_s

    async def place_order(self, request: OrderRequest) -> int:
        """As the port says.

        Raises:
            LeaseLost: another process trades the account; nothing was sent.
            StorageUnavailable: an entry, and nobody can tell whether it is still ours to send.
        """
        await self._allow(opens=role_of(request.custom_tag or "") is Role.ENTRY)
        return await self._broker.place_order(request)

    async def modify_order(self, account_id: int, order_id: int, *, size: int | None = None) -> None:
        """As the port says, or LeaseLost."""
        await self._allow(opens=False)
        await self._broker.modify_order(account_id, order_id, size=size)

    async def cancel_order(self, account_id: int, order_id: int) -> None:
        """As the port says, or LeaseLost."""
        await self._allow(opens=False)
        await self._broker.cancel_order(account_id, order_id)

    async def close_position(self, account_id: int, contract_id: str, *, size: int | None = None) -> None:
        """As the port says, or LeaseLost."""
        await self._allow(opens=False)
        await self._broker.close_position(account_id, contract_id, size=size)

    async def _allow(self, *, opens: bool) -> None:
        if self._leases.holds(self._name, self._margin_s):
            return
        if self._name in self._leases.names:
            try:
                async with asyncio.timeout(_ASK_S):
                    await self._leases.renew()
            except (StorageUnavailable, TimeoutError):
                if opens:
                    raise StorageUnavailable(
                        f"the database does not say whether {self._name} is still ours to trade; nothing is opened"
                    ) from None
                # Who cannot reach the database protects on: each of these calls is harmless when another does it too.
                log.warning("lease_unknown", account=self._name)
                return
        if not self._leases.holds(self._name, self._margin_s):
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
