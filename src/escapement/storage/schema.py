"""Bringing a database to this program's schema, and telling whether it has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import asyncpg

from escapement.errors import SchemaMismatch
from escapement.storage import queries
from escapement.storage.database import DBHandler, Series
from escapement.storage.failures import connecting, translated
from escapement.storage.timescale import Chunks, Timescale, TimescaleParams, chunks, timescale, use_timescale

_SIZES = queries.load("table_sizes")
REVISION_OF = "SELECT version_num FROM alembic_version"
_LOCK = "SELECT pg_advisory_lock(6022140760)"
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class TableSize:
    """How many bytes a table takes with its indexes."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Status:
    """What a database is and holds; ``revision`` is None without our tables, ``head`` is what this program needs.

    ``chunks`` is None where ``ohlc_bars`` is a plain table; ``tables`` stand by size.
    """

    server_version: str
    revision: str | None
    head: str
    timescale: Timescale
    chunks: Chunks | None
    tables: list[TableSize]
    series: list[Series]


async def status_of(database: DBHandler) -> Status:
    """Look at a database, whatever its schema.

    Raises:
        StorageError: the database does not answer or refuses.
    """
    server = await server_of(database)
    return replace(server, series=await database.series()) if server.revision == server.head else server


async def server_of(database: DBHandler) -> Status:
    """Look at a database as ``status_of`` does, but not at its bars, which takes long when there are many.

    Raises:
        StorageError: the database does not answer or refuses.
    """
    found = await revision(database.pool)
    with translated():
        version = str(await database.pool.fetchval("SHOW server_version"))
        async with database.pool.acquire() as connection:
            scale = await timescale(connection)
            parts = await chunks(connection) if scale.hypertable else None
            sizes = {row["name"]: row["bytes"] for row in await connection.fetch(_SIZES)}
    if parts is not None:
        sizes["ohlc_bars"] = parts.bytes
    tables = [TableSize(*each) for each in sorted(sizes.items(), key=lambda pair: (-pair[1], pair[0]))]
    return Status(version, found, head(), scale, parts, tables, [])


async def upgrade(
    url: str, params: TimescaleParams | None = None, progress: Callable[[int, int], None] | None = None
) -> list[str]:
    """Create or update the tables, and make ``ohlc_bars`` a hypertable where the server has TimescaleDB.

    Safe to repeat and to run from several programs at once. A filled table is locked while its rows move.

    Args:
        url: of the database.
        params: what is wished of TimescaleDB.
        progress: told how many bytes of how many have moved, about.

    Returns:
        What was wished and cannot be had there, a sentence each.

    Raises:
        ConfigurationError: the URL cannot be read, or user, password or database are refused.
        SchemaMismatch: the database belongs to a newer version of this program.
        StorageError: the database does not answer or refuses.
    """
    from escapement.storage import revisions  # noqa: PLC0415 - a third of the time any command takes to start

    async def connect() -> asyncpg.Connection[asyncpg.Record]:
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(url, timeout=_TIMEOUT_S)
        return connection

    with connecting():
        guard = await connect()
    with translated():
        try:
            await guard.execute(_LOCK)
            await revisions.apply(connect)
            return await use_timescale(guard, params or TimescaleParams(), connect, progress)
        finally:
            await guard.close()


@cache
def head() -> str:
    """Return the newest revision this program knows."""
    from escapement.storage import revisions  # noqa: PLC0415 - as in upgrade

    return revisions.head()


def is_known(revision: str) -> bool:
    """Whether this program knows how to go on from a revision."""
    from escapement.storage import revisions  # noqa: PLC0415 - as in upgrade

    return revisions.is_known(revision)


async def revision(pool: asyncpg.Pool[asyncpg.Record]) -> str | None:
    """Return the revision the database is at; None without tables.

    Raises:
        StorageError: the database does not answer or refuses.
    """
    with translated():
        try:
            found = await pool.fetchval(REVISION_OF)
        except asyncpg.UndefinedTableError:
            return None
    return None if found is None else str(found)


async def require_head(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """Make sure the database has this program's schema.

    Raises:
        SchemaMismatch: it has another, or none.
        StorageError: the database does not answer or refuses.
    """
    found = await revision(pool)
    if found != head():
        raise SchemaMismatch(
            f"the database's schema is {found or 'not there'}, this program needs {head()}; run escapement db init"
        )
