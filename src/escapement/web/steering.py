"""What can be steered: stop all trading at once, and let it go on. Every act is written down with who, when and whence."""

from __future__ import annotations

from escapement.storage import DBHandler
from escapement.web.visitor import Visitor


class Steering:
    """Acts of visitors; each raises Forbidden for who may only look, and StorageError."""

    def __init__(self, database: DBHandler) -> None:
        self._database = database

    async def kill(self, visitor: Visitor, reason: str) -> None:
        """Cancel every order, close every position, open nothing until ``resume``; what happens shows in ``Reading.now``."""
        raise NotImplementedError

    async def resume(self, visitor: Visitor, reason: str) -> None:
        """Let trading go on."""
        raise NotImplementedError
