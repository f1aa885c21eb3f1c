"""What can be steered: stop all trading, and let it go on. Each act is written down with who, when and whence."""

from __future__ import annotations

from collections.abc import Callable

from escapement.storage import DBHandler
from escapement.storage.audit import AuditStore
from escapement.storage.execution import ExecutionStore
from escapement.web.visitor import Forbidden, Visitor


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
