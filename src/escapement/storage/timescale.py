"""What TimescaleDB does for the bars, by what the server offers: a hypertable, compression, retention.

Any edition has hypertables; what the server does by itself, compressing and dropping old chunks, needs the community
edition. Plain PostgreSQL keeps the same table whole. Only bars are worth it: signals and decisions are few, and other
tables refer to a signal by its number, which a hypertable could not keep unique.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import asyncpg

from escapement.errors import StorageUnavailable
from escapement.storage import queries
from escapement.storage.failures import translated

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
AnyConnection: TypeAlias = "Connection | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

_LOOK = queries.load("timescale")
_IS_HYPERTABLE = (
    "SELECT true FROM timescaledb_information.hypertables "
    "WHERE hypertable_schema = current_schema() AND hypertable_name = 'ohlc_bars'"
)
_IS_COMPRESSIBLE = f"{_IS_HYPERTABLE} AND compression_enabled"
_MAKE = queries.load("make_hypertable")
_STATE = queries.load("hypertable_state")
_POLICIES = queries.load("hypertable_policies")
_PROCEDURE = queries.load("drop_old_bars")
_COMPRESS = queries.load("compress_bars")
_ADD_COMPRESSION = queries.load("add_compression")
_ADD_RETENTION = queries.load("add_retention")
_SET_CHUNK_DAYS = "SELECT set_chunk_time_interval('ohlc_bars', make_interval(days => $1))"
_EDITIONS = {"apache": "Apache", "timescale": "community"}
# Before it, a batch that met a stored bar in a compressed chunk could lose the bars behind that one.
_COMPRESSES_SAFELY = 2, 19, 1
_LOCK_WAIT = "60s"
_LOOK_EACH_S = 0.5


@dataclass(frozen=True, slots=True)
class TimescaleParams:
    """What is wished of a server with TimescaleDB.

    Args:
        chunk_days: how many days of bars a new chunk holds.
        compress_after_days: age from which chunks are compressed; None: never.
        keep_days: age from which chunks are dropped; None: never.
    """

    chunk_days: int = 30
    compress_after_days: int | None = None
    keep_days: int | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """Something the server does to bars of more than ``days`` days by itself, and how it went last."""

    name: str
    days: float | None
    last_run: str | None
    last_success: datetime | None
    next_run: datetime | None


@dataclass(frozen=True, slots=True)
class Chunks:
    """The hypertable of bars: its chunks, from when to when, size in bytes, and what compression made of it.

    ``before_bytes`` and ``after_bytes`` are those of the compressed chunks before and since; 0 without any.
    """

    chunks: int
    compressed_chunks: int
    chunk_days: float
    first: datetime | None
    last: datetime | None
    bytes: int
    before_bytes: int
    after_bytes: int
    policies: list[Policy]


@dataclass(frozen=True, slots=True)
class Timescale:
    """What the server offers of TimescaleDB: versions, licence (``apache`` or ``timescale``), and what is used."""

    available: str | None
    installed: str | None
    license: str | None
    hypertable: bool

    @property
    def edition(self) -> str:
        """The edition's name, by the licence."""
        return _EDITIONS.get(self.license or "", self.license or "unknown")


async def timescale(connection: AnyConnection) -> Timescale:
    """Tell what the server has of TimescaleDB.

    Raises:
        StorageError: the database does not answer or refuses.
    """
    with translated():
        row = await connection.fetchrow(_LOOK)
        assert row is not None  # noqa: S101 - a SELECT without FROM has one row
        hypertable = row["installed"] is not None and bool(await connection.fetchval(_IS_HYPERTABLE))
    available = row["available"] if row["preloaded"] else None
    return Timescale(available, row["installed"], row["license"], hypertable)


async def chunks(connection: AnyConnection) -> Chunks:
    """Look at the hypertable of bars.

    Raises:
        StorageError: the database does not answer or refuses.
    """
    with translated():
        row = await connection.fetchrow(_STATE)
        policies = await connection.fetch(_POLICIES)
    assert row is not None  # noqa: S101 - an aggregate has one row
    return Chunks(
        row["chunks"], row["compressed_chunks"], row["chunk_days"], row["first"], row["last"], row["bytes"],
        row["before_bytes"], row["after_bytes"],
        [
            Policy(
                each["name"], each["days"], each["last_run_status"], each["last_successful_finish"], each["next_start"]
            )
            for each in policies
        ],
    )  # fmt: skip


async def use_timescale(
    connection: Connection,
    params: TimescaleParams,
    connect: Callable[[], Awaitable[Connection]],
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Make of ``ohlc_bars`` what the server can, and have it do what is wished; safe to repeat.

    Args:
        connection: to a database with our tables.
        params: what is wished.
        connect: makes another connection, which looks how far a large table is.
        progress: told how many bytes of how many are moved, about, while the table becomes a hypertable.

    Returns:
        What was wished and cannot be had, a sentence each.

    Raises:
        StorageUnavailable: somebody else holds the table.
        StorageError: the database does not answer or refuses.
    """
    wishes = [
        f"timescale.{name} ({value})"
        for name, value in (("compress_after_days", params.compress_after_days), ("keep_days", params.keep_days))
        if value is not None
    ]
    state = await timescale(connection)
    if state.available is None:
        return _in_vain(wishes, "TimescaleDB, which this server does not have")
    if not state.hypertable:
        try:
            async with connection.transaction():
                await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        except asyncpg.InsufficientPrivilegeError:
            # The owner of the server decides; plain PostgreSQL serves as well, and db status shows what is in use.
            return _in_vain(wishes, "TimescaleDB, whose extension this user may not create")
        async with _watched(connection, connect, progress):
            await _make_hypertable(connection, params.chunk_days)
        state = await timescale(connection)
    await connection.execute(_PROCEDURE)
    if (await chunks(connection)).chunk_days != params.chunk_days:
        await connection.execute(_SET_CHUNK_DAYS, params.chunk_days)
    return await set_policies(connection, params, state)


async def set_policies(connection: Connection, params: TimescaleParams, state: Timescale) -> list[str]:
    """Make the server's compression and retention of bars what is wished; return what it refuses, a sentence each.

    Raises:
        StorageError: the database does not answer or refuses for another reason than its edition.
    """
    notes = []
    rows = await connection.fetch(_POLICIES)
    compresses = next((row for row in rows if row["compresses"]), None)
    drops = next((row for row in rows if row["drops"]), None)
    compress_after = params.compress_after_days
    if compress_after is not None and _version(state.installed) < _COMPRESSES_SAFELY:
        needed = ".".join(map(str, _COMPRESSES_SAFELY))
        wish = f"timescale.compress_after_days ({compress_after})"
        notes = _in_vain([wish], f"TimescaleDB {needed} or later, and this is {state.installed}")
        compress_after = None
    for wish, wished, found, change in (
        ("compress_after_days", compress_after, compresses, _change_compression),
        ("keep_days", params.keep_days, drops, _change_retention),
    ):
        if wished == (None if found is None else found["days"]):
            continue
        try:
            async with connection.transaction():
                await change(connection, wished, found)
        except asyncpg.FeatureNotSupportedError:
            notes += _in_vain(
                [f"timescale.{wish} ({wished})"],
                f"TimescaleDB's community edition, and this server has the {state.edition} edition",
            )
    return notes


def _in_vain(wishes: list[str], needed: str) -> list[str]:
    return [f"{wish} has no effect: it needs {needed}" for wish in wishes]


def _version(text: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in (text or "").partition("-")[0].split(".") if part.isdigit())


async def _change_compression(connection: Connection, days: int | None, found: asyncpg.Record | None) -> None:
    if found is not None:
        await connection.execute("SELECT remove_compression_policy('ohlc_bars')")
    if days is not None:
        if not await connection.fetchval(_IS_COMPRESSIBLE):
            await connection.execute(_COMPRESS)
        await connection.execute(_ADD_COMPRESSION, days)


async def _change_retention(connection: Connection, days: int | None, found: asyncpg.Record | None) -> None:
    if found is not None:
        await connection.execute("SELECT delete_job($1)", found["job_id"])
    if days is not None:
        await connection.execute(_ADD_RETENTION, days)


async def _make_hypertable(connection: Connection, chunk_days: int) -> None:
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'")
            await connection.execute(_MAKE, chunk_days)
    except asyncpg.LockNotAvailableError as error:
        raise StorageUnavailable(
            f"ohlc_bars cannot become a hypertable: it is in use for {_LOCK_WAIT}; end long queries and try again"
        ) from error


@asynccontextmanager
async def _watched(
    connection: Connection, connect: Callable[[], Awaitable[Connection]], progress: Callable[[int, int], None] | None
) -> AsyncIterator[None]:
    """Tell by the database's growth how far the move is: rows of an open transaction cannot be counted from outside."""
    if progress is None or not await connection.fetchval("SELECT EXISTS (SELECT FROM ohlc_bars)"):
        yield
        return
    total = await connection.fetchval("SELECT pg_total_relation_size('ohlc_bars')")
    watch = asyncio.create_task(_watch(connect, total, progress))
    try:
        yield
        progress(total, total)
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def _watch(
    connect: Callable[[], Awaitable[Connection]], total: int, progress: Callable[[int, int], None]
) -> None:
    connection = await connect()
    try:
        size = "SELECT pg_database_size(current_database())"
        before = await connection.fetchval(size)
        done = 0
        while True:
            done = max(done, min(await connection.fetchval(size) - before, total))
            progress(done, total)
            await asyncio.sleep(_LOOK_EACH_S)
    finally:
        await connection.close()
