"""The watchdog: sees with its own eyes that every position has its stop, and may cancel and flatten, nothing else.

It asks the venue and trusts nobody. It needs neither the program that trades nor the database, so it acts although both
are gone:

- a position that has lacked a working stop of its size for ``bare_s`` is closed;
- a stop or target of ours that has been left without a position for ``bare_s`` is cancelled, before it opens one;
- when trading was stopped, or the deadline of the session has come, everything is cancelled and closed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog

from escapement.core.execution import STOPS, KillSwitch, Role, remaining, role_of
from escapement.errors import GatewayError, GatewayRefused, InvalidInput, StorageError
from escapement.model import Order, OrderStatus, OrderType, Position
from escapement.ports import Stopper
from escapement.services.within import within

log = structlog.get_logger(service="watchdog")

WORKING = OrderStatus.OPEN, OrderStatus.PENDING, OrderStatus.SUSPENDED


@dataclass(frozen=True, slots=True)
class WatchdogParams:
    """How often it looks, and how long a position may lack its stop."""

    every_s: float = 3.0
    bare_s: float = 20.0

    def __post_init__(self) -> None:
        for name in ("every_s", "bare_s"):
            if getattr(self, name) <= 0:
                raise InvalidInput(f"watchdog.{name} is {getattr(self, name)}; use more than 0")


@dataclass(slots=True)
class WatchdogStatistics:
    """Counts since the start."""

    looks: int = 0
    blind: int = 0
    closed: int = 0
    cancelled: int = 0


@dataclass(slots=True)
class Watchdog:
    """Looks after one account.

    Args:
        account_id: of the venue.
        stopper: what it may do.
        must_go: returns why everything of a contract has to go now, empty when nothing has to.
        killed: returns whether trading was stopped; None without a database.
        params: how to look.
        clock_s: seconds that only grow.
    """

    account_id: int
    stopper: Stopper
    must_go: Callable[[str], str]
    killed: Callable[[], Awaitable[KillSwitch]] | None = None
    params: WatchdogParams = field(default_factory=WatchdogParams)
    clock_s: Callable[[], float] = time.monotonic
    statistics: WatchdogStatistics = field(default_factory=WatchdogStatistics, init=False)
    _kill: KillSwitch = field(default_factory=KillSwitch, init=False)
    _since_s: dict[str, float] = field(default_factory=dict, init=False)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def stop(self) -> None:
        """Ask for an end; what is being done is finished."""
        self._stopping.set()

    async def run(self) -> None:
        """Look after the account until ``stop``; whatever fails is tried again."""
        while not self._stopping.is_set():
            try:
                await self._ask_whether_killed()
                await self.look()
            except GatewayRefused:
                raise
            except GatewayError as error:
                self.statistics.blind += 1
                log.warning("venue_unseen", reason=str(error))
            try:
                async with asyncio.timeout(self.params.every_s):
                    await self._stopping.wait()
            except TimeoutError:
                pass

    async def _ask_whether_killed(self) -> None:
        if self.killed is None:
            return
        try:
            self._kill = await within(self.params.every_s, self.killed())
        except (StorageError, TimeoutError) as error:
            log.warning("kill_switch_unseen", reason=str(error) or "no answer")

    async def look(self) -> None:
        """Look once, and do what has to be done.

        Raises:
            GatewayError: the venue does not answer.
        """
        positions = {each.contract_id: each for each in await self.stopper.positions(self.account_id)}
        orders = await self.stopper.orders_by_status(self.account_id, WORKING)
        self.statistics.looks += 1
        wrong: set[str] = set()
        for contract_id in {*positions, *(order.contract_id for order in orders)}:
            own = [order for order in orders if order.contract_id == contract_id]
            position = positions.get(contract_id)
            reason = f"trading was stopped: {self._kill.reason}" if self._kill.killed else self.must_go(contract_id)
            if reason:
                await self._clear(contract_id, position, own, reason)
            elif position is not None and _protected(position, own) < abs(position.net):
                wrong.add(f"position {contract_id}")
                if self._lasts(f"position {contract_id}"):
                    await self._close(position, "it lacks a working stop of its size")
            elif position is None:
                left = [order for order in own if role_of(order.custom_tag) in {Role.STOP, Role.TARGET}]
                entries = [order for order in own if role_of(order.custom_tag) is Role.ENTRY]
                for order in [] if entries else left:
                    wrong.add(f"order {order.order_id}")
                    if self._lasts(f"order {order.order_id}"):
                        await self._cancel(order, "there is no position that it closes")
        self._since_s = {name: since for name, since in self._since_s.items() if name in wrong}

    def _lasts(self, name: str) -> bool:
        """Whether something has been wrong for as long as it may."""
        now_s = self.clock_s()
        return now_s - self._since_s.setdefault(name, now_s) >= self.params.bare_s

    async def _clear(self, contract_id: str, position: Position | None, orders: Sequence[Order], reason: str) -> None:
        del contract_id
        protecting = [order for order in orders if order.type in STOPS and position is not None]
        for order in orders:
            if order not in protecting and order.type is not OrderType.MARKET:
                await self._cancel(order, reason)
        if position is not None:
            await self._close(position, reason)

    async def _close(self, position: Position, reason: str) -> None:
        log.error("position_closed", contract=position.contract_id, net=position.net, reason=reason)
        try:
            await self.stopper.close_position(self.account_id, position.contract_id)
        except GatewayRefused as error:
            log.warning("not_closed", contract=position.contract_id, reason=str(error))
        else:
            self.statistics.closed += 1

    async def _cancel(self, order: Order, reason: str) -> None:
        log.error("order_cancelled", contract=order.contract_id, order=order.order_id, reason=reason)
        try:
            await self.stopper.cancel_order(self.account_id, order.order_id)
        except GatewayRefused as error:
            log.warning("not_cancelled", order=order.order_id, reason=str(error))
        else:
            self.statistics.cancelled += 1


def _protected(position: Position, orders: Sequence[Order]) -> int:
    return sum(
        remaining(order)
        for order in orders
        if order.type in STOPS and order.status is OrderStatus.OPEN and bool(order.side) == (position.net > 0)
    )
