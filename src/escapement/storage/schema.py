"""Bringing a database to this program's schema, and telling whether it has it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import asyncpg

from escapement.errors import SchemaMismatch
from escapement.storage import queries
from escapement.storage.database import DBHandler, Series
from escapement.storage.failures import connecting, translated

_MIGRATIONS = Path(__file__).parent / "migrations"
_HYPERTABLE = (_MIGRATIONS / "hypertable.sql").read_text(encoding="utf-8")
_TIMESCALE = queries.load("timescale")
_REVISION = "SELECT version_num FROM alembic_version"
_IS_HYPERTABLE = "SELECT true FROM timescaledb_information.hypertables WHERE hypertable_name = 'ohlc_bars'"
_LOCK = "SELECT pg_advisory_lock(6022140760)"
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Timescale:
    """What the server offers of TimescaleDB: versions, licence (``apache`` or ``timescale``), and what is used."""

    available: str | None
    installed: str | None
    license: str | None
    hypertable: bool


@dataclass(frozen=True, slots=True)
class Status:
    """What a database is and holds; ``revision`` is None without our tables, ``head`` is what this program needs."""

    server_version: str
    revision: str | None
    head: str
    timescale: Timescale
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
    return Status(version, found, head(), scale, [])


async def upgrade(url: str) -> None:
    """Create or update the tables, and make ``ohlc_bars`` a hypertable where the server has TimescaleDB.

    Safe to repeat and to run from several programs at once.

    Raises:
        ConfigurationError: the URL cannot be read, or user, password or database are refused.
        SchemaMismatch: the database belongs to a newer version of this program.
        StorageError: the database does not answer or refuses.
    """
    from escapement.storage import revisions  # noqa: PLC0415 - a third of the time any command takes to start

    with connecting():
        guard = await asyncpg.connect(url, timeout=_TIMEOUT_S)
    with translated():
        try:
            await guard.execute(_LOCK)
            await revisions.apply(lambda: asyncpg.connect(url, timeout=_TIMEOUT_S))
            await _use_timescale(guard)
        finally:
            await guard.close()


@cache
def head() -> str:
    """Return the newest revision this program knows."""
    from escapement.storage import revisions  # noqa: PLC0415 - as in upgrade

    return revisions.head()


async def revision(pool: asyncpg.Pool[asyncpg.Record]) -> str | None:
    """Return the revision the database is at; None without tables.

    Raises:
        StorageError: the database does not answer or refuses.
    """
    with translated():
        try:
            found = await pool.fetchval(_REVISION)
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


async def timescale(
    connection: asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record],
) -> Timescale:
    """Tell what the server has of TimescaleDB.

    Raises:
        StorageError: the database does not answer or refuses.
    """
    with translated():
        row = await connection.fetchrow(_TIMESCALE)
        assert row is not None  # noqa: S101 - a SELECT without FROM has one row
        hypertable = row["installed"] is not None and bool(await connection.fetchval(_IS_HYPERTABLE))
    available = row["available"] if row["preloaded"] else None
    return Timescale(available, row["installed"], row["license"], hypertable)


async def _use_timescale(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    state = await timescale(connection)
    if state.available is None or state.hypertable:
        return
    try:
        async with connection.transaction():
            await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    except asyncpg.InsufficientPrivilegeError:
        # The owner of the server decides; plain PostgreSQL serves as well, and db status shows what is in use.
        return
    await connection.execute(_HYPERTABLE)
