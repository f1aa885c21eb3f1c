"""A doorbell that tells that tables changed: LISTEN, or Redis where there is one. What changed stands in the tables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import asyncpg
import structlog

from escapement.errors import StorageError, StorageUnavailable
from escapement.storage.database import DBHandler
from escapement.storage.failures import translated

log = structlog.get_logger(service="database")

_RETRY_S = 1.0
_CHECK_S = 10.0


class Doorbell:
    """Listens on a connection of its own, which it makes anew whenever it is lost.

    Args:
        database: one of its connections is taken for as long as ``listen`` runs, unless it has a bus.
        channels: the names to listen to.
    """

    def __init__(self, database: DBHandler, channels: Sequence[str]) -> None:
        self._pool = database.pool
        self._bus = database.bus
        self._channels = tuple(channels)

    async def listen(self, hear: Callable[[str, str], None]) -> None:
        """Call ``hear`` with channel and payload of each notification until cancelled.

        ``hear`` is called with two empty texts whenever listening begins: anything may have happened before.

        Raises:
            StorageError: the database refused for good.
        """
        if self._bus is not None:
            await self._bus.listen(self._channels, hear)
        while True:
            try:
                await self._listen_once(hear)
            except StorageUnavailable as error:
                log.warning("doorbell_lost", reason=str(error))
            except StorageError:
                raise
            await asyncio.sleep(_RETRY_S)

    async def _listen_once(self, hear: Callable[[str, str], None]) -> None:
        def ring(_connection: object, _pid: int, channel: str, payload: str) -> None:
            hear(channel, payload)

        lost = asyncio.Event()
        with translated():
            connection = await self._pool.acquire()
            try:
                connection.add_termination_listener(lambda _connection: lost.set())
                for channel in self._channels:
                    await connection.add_listener(channel, ring)
                hear("", "")
                while not lost.is_set():
                    try:
                        await asyncio.wait_for(lost.wait(), _CHECK_S)
                    except TimeoutError:
                        # A connection whose other end is gone without a word is found by asking.
                        await connection.execute("SELECT 1", timeout=_CHECK_S)
            finally:
                await self._put_back(connection)

    async def _put_back(self, connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
        # Ended rather than given back: the next user of the connection would go on listening.
        connection.terminate()
        await self._pool.release(connection)
