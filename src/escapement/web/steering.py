"""What can be steered: stop all trading, and let it go on. Each act is written down with who, when and whence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from escapement.core.execution import HoldingNote
from escapement.storage import DBHandler
from escapement.storage.audit import AuditStore
from escapement.storage.execution import ExecutionStore
from escapement.web.visitor import Forbidden, Visitor

_LOOK_S: Final = 0.5


class Steering:
    """Acts of visitors; each raises Forbidden for who may only look, and StorageError.

    ``has_ended`` tells whether a log-in was ended before its time: a page may outlive it by some seconds.
    """

    def __init__(self, database: DBHandler, has_ended: Callable[[str], bool] = lambda _session: False) -> None:
        self._has_ended = has_ended
        self._execution = ExecutionStore(database)
        self._audit = AuditStore(database)

    async def kill(self, visitor: Visitor, reason: str) -> None:
        """Cancel every order, close every position and open nothing until ``resume``; ``Reading.now`` shows it."""
        await self.allow(visitor, "kill", reason)
        await self._turn(visitor, reason, killed=True)
        await self._audit.put(str(visitor.role), visitor.address, "kill", reason, done=True)

    async def resume(self, visitor: Visitor, reason: str) -> None:
        """Let trading go on."""
        await self.allow(visitor, "resume", reason)
        # Written down first: trading must not go on without a trace, while stopping it must not wait for one.
        await self._audit.put(str(visitor.role), visitor.address, "resume", reason, done=True)
        await self._turn(visitor, reason, killed=False)

    async def left_open(self, wait_s: float) -> list[HoldingNote]:
        """Return what is still held so many seconds after ``kill``; nothing where trading goes on by then."""
        until_s = time.monotonic() + wait_s
        while left := [each for each in await self._execution.positions() if each.net]:
            if not (await self._execution.kill_switch()).killed:
                return []
            if time.monotonic() >= until_s:
                return left
            await asyncio.sleep(_LOOK_S)
        return []

    async def allow(self, visitor: Visitor, act: str, subject: str) -> None:
        """Let an act pass, or write down that it was refused.

        Raises:
            Forbidden: the visitor may only look, or his log-in is over.
        """
        if not visitor.may_steer or self._has_ended(visitor.session):
            await self._audit.put(str(visitor.role), visitor.address, act, subject, done=False)
            raise Forbidden("this log-in may only look, or is over; log in with the password of the operator")

    async def note(self, visitor: Visitor, act: str, subject: str) -> None:
        """Write down an act that is done elsewhere."""
        await self._audit.put(str(visitor.role), visitor.address, act, subject, done=True)

    async def _turn(self, visitor: Visitor, reason: str, *, killed: bool) -> None:
        by = f"{visitor.role} at {visitor.address} (dashboard)"
        await self._execution.turn_kill_switch(killed=killed, reason=reason or "by hand", by=by)
