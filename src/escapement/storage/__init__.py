"""PostgreSQL and TimescaleDB: bars, saved state and the embedded server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import structlog

from escapement.errors import EscapementError
from escapement.storage.database import DBHandler, Series
from escapement.storage.embedded import POSTGRES_BIN_PATH, embedded_server, revive
from escapement.storage.schema import Status, require_head, status_of
from escapement.storage.schema import upgrade as migrate
from escapement.storage.timescale import TimescaleParams

__all__ = [
    "POSTGRES_BIN_PATH", "DBHandler", "Series", "Status", "TimescaleParams", "database_url", "migrate", "open_database",
    "status_of",
]  # fmt: skip

log = structlog.get_logger(service="database")

_CHECK_S = 1.0


@asynccontextmanager
async def database_url(url: str | None, data_dir: Path) -> AsyncIterator[str]:
    """Give ``url``, or without one that of the embedded server in ``data_dir``, which runs meanwhile, schema made.

    Raises:
        ConfigurationError: the data directory cannot be used.
        StorageError: the embedded server does not start.
    """
    if url is not None:
        yield url
        return
    async with AsyncExitStack() as stack:
        server = embedded_server(data_dir)
        own = await asyncio.to_thread(server.__enter__)
        stack.push_async_callback(asyncio.to_thread, server.__exit__, None, None, None)
        await migrate(own)
        watch = asyncio.create_task(_keep_alive(data_dir))
        try:
            yield own
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)


async def _keep_alive(data_dir: Path) -> None:
    """Start the embedded server again whenever it dies, as a system's supervisor does for a server of its own."""
    while True:
        await asyncio.sleep(_CHECK_S)
        try:
            if await asyncio.to_thread(revive, data_dir):
                log.error("database_revived", data_dir=str(data_dir))
        except (EscapementError, OSError) as error:
            log.error("database_dead", reason=str(error))  # noqa: TRY400 - the message says it all


@asynccontextmanager
async def open_database(
    url: str | None, data_dir: Path, *, connections: int = 4, timeout_s: float = 60.0
) -> AsyncIterator[DBHandler]:
    """Open the database that ``url`` names, or the embedded one in ``data_dir``.

    Raises:
        ConfigurationError: the URL or the data directory cannot be used.
        SchemaMismatch: the database that ``url`` names has another schema; ``escapement db init`` makes it.
        StorageError: the database does not answer or refuses.
    """
    async with (
        database_url(url, data_dir) as found,
        await DBHandler.open(found, connections=connections, timeout_s=timeout_s) as database,
    ):
        await require_head(database.pool)
        yield database
