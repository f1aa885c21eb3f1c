"""Bars and saved state in PostgreSQL, with or without TimescaleDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

import asyncpg
import orjson

from escapement.model import Bar, Timeframe, TimeframeUnit
from escapement.moments import datetime_from_ns, ns_from_datetime
from escapement.storage import queries
from escapement.storage.failures import connecting, translated

COPY_FROM = 1_000
_COLUMNS = (
    "contract_id", "timestamp", "timeframe_unit", "timeframe_value", "open", "high", "low", "close", "volume",
    "ends_at", "whole",
)  # fmt: skip
_INSERT = queries.load("insert_bars")
_INSERT_WITH_STATE = queries.load("insert_bars_with_state")
_INSERT_NEW = queries.load("insert_new_bars")
_INSERT_STAGED = queries.load("insert_staged_bars")
_CREATE_STAGING = queries.load("create_staging")
_LATEST = queries.load("latest_bar")
_BETWEEN = queries.load("bars_between")
_COUNTS = queries.load("bar_counts")
_LOAD_STATE = queries.load("load_state")
_SAVE_STATE = queries.load("save_state")


@dataclass(frozen=True, slots=True)
class Series:
    """What is stored of one contract and timeframe; ``first`` and ``last`` are bar timestamps, UTC."""

    contract_id: str
    timeframe: Timeframe
    bars: int
    not_whole: int
    first: datetime
    last: datetime


class DBHandler:
    """A pool of connections to one database; ``open`` it, and close it with ``aclose`` or ``async with``.

    Every method raises StorageUnavailable when the database does not answer; a later call connects anew. A stored bar
    is never overwritten, except that a whole bar replaces one that is not whole.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool

    @classmethod
    async def open(cls, url: str, *, connections: int = 4, timeout_s: float = 60.0) -> Self:
        """Connect to the database that ``url`` names.

        Args:
            url: ``postgresql://user:password@host:port/database``.
            connections: how many at most.
            timeout_s: how long one statement may take.

        Raises:
            ConfigurationError: the URL cannot be read, or user, password or database are refused.
            StorageUnavailable: the server does not answer.
        """
        with connecting():
            # No connections in reserve: the pool would fill the log while the server is away.
            pool = await asyncpg.create_pool(
                url, min_size=0, max_size=connections, command_timeout=timeout_s, timeout=10, reset=_as_it_is,
                server_settings={"application_name": "escapement", "TimeZone": "UTC"},
            )  # fmt: skip
            await pool.fetchval("SELECT 1")
        return cls(pool)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.close()

    @property
    def pool(self) -> asyncpg.Pool[asyncpg.Record]:
        """The connections, for the modules of this room."""
        return self._pool

    async def store_bars(self, bars: Sequence[Bar]) -> int:
        """Store the bars that are not there yet, in one transaction; return how many were new or replaced."""
        if not bars:
            return 0
        with translated():
            if len(bars) >= COPY_FROM:
                async with self._pool.acquire() as connection, connection.transaction():
                    return await _copy(connection, bars)
            status: str = await self._pool.execute(_INSERT, *_columns(bars))
            return _count(status)

    async def store_bars_and_state(self, bars: Sequence[Bar], name: str, state: Mapping[str, object]) -> int:
        """Store bars and a stage's state in one transaction; return how many bars were new or replaced."""
        text = orjson.dumps(state).decode()
        with translated():
            if len(bars) >= COPY_FROM:
                async with self._pool.acquire() as connection, connection.transaction():
                    await connection.execute(_SAVE_STATE, name, text)
                    return await _copy(connection, bars)
            status: str = await self._pool.execute(_INSERT_WITH_STATE, *_columns(bars), name, text)
            return _count(status)

    async def latest_bar(self, contract_id: str, timeframe: Timeframe) -> Bar | None:
        """Return the newest stored bar, or None."""
        with translated():
            row = await self._pool.fetchrow(_LATEST, contract_id, int(timeframe.unit), timeframe.value)
        return None if row is None else _bar(contract_id, timeframe, row)

    async def bars_between(self, contract_id: str, timeframe: Timeframe, from_ns: int, to_ns: int) -> list[Bar]:
        """Return the bars whose timestamp lies in ``[from_ns, to_ns)``, nanoseconds UTC, oldest first."""
        moments = datetime_from_ns(from_ns), datetime_from_ns(to_ns)
        with translated():
            rows = await self._pool.fetch(_BETWEEN, contract_id, int(timeframe.unit), timeframe.value, *moments)
        return [_bar(contract_id, timeframe, row) for row in rows]

    async def series(self) -> list[Series]:
        """Return what is stored of each contract and timeframe."""
        with translated():
            rows = await self._pool.fetch(_COUNTS)
        return [
            Series(
                row["contract_id"], Timeframe(TimeframeUnit(row["timeframe_unit"]), row["timeframe_value"]),
                row["bars"], row["not_whole"], row["first"], row["last"],
            )
            for row in rows
        ]  # fmt: skip

    async def read(self, sql: str) -> tuple[list[str], list[tuple[object, ...]]]:
        """Run one statement that may only read; return the names of its columns and its rows, times in UTC.

        Raises:
            StorageError: the statement is wrong, or would write.
        """
        with translated(missing_is_ours=False):
            async with self._pool.acquire() as connection:
                async with connection.transaction(readonly=True):
                    statement = await connection.prepare(sql)
                    names = [column.name for column in statement.get_attributes()]
                    rows = [tuple(row) for row in await statement.fetch()]
                await connection.reset()  # the statement may have been a SET
            return names, rows

    async def load_state(self, name: str) -> Mapping[str, object] | None:
        """Return the state last saved under ``name``, or None."""
        with translated():
            text = await self._pool.fetchval(_LOAD_STATE, name)
        if text is None:
            return None
        state: dict[str, object] = orjson.loads(text)
        return state

    async def save_state(self, name: str, state: Mapping[str, object]) -> None:
        """Replace the state saved under ``name`` by plain JSON data."""
        with translated():
            await self._pool.execute(_SAVE_STATE, name, orjson.dumps(state).decode())


async def _as_it_is(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Put a connection back: nothing here changes a session's settings, and resetting them is another round trip."""
    del connection


async def _copy(connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record], bars: Sequence[Bar]) -> int:
    await connection.execute(_CREATE_STAGING)
    rows = list(zip(*_columns(bars), strict=True))
    await connection.copy_records_to_table("staged_bars", records=rows, columns=list(_COLUMNS))
    try:
        async with connection.transaction():
            added = _count(await connection.execute(_INSERT_NEW))
    except asyncpg.UniqueViolationError:
        added = 0
    return added or _count(await connection.execute(_INSERT_STAGED))


def _columns(bars: Sequence[Bar]) -> tuple[list[object], ...]:
    """Turn bars into columns, each bar once: one statement cannot touch a row twice."""
    once: dict[tuple[str, int, Timeframe], Bar] = {}
    for bar in bars:
        key = bar.contract_id, bar.start_ns, bar.timeframe
        if key not in once or (bar.whole and not once[key].whole):
            once[key] = bar
    chosen = once.values()
    # Bars of a series share their ends with the next one's start, and series share moments with one another.
    distinct = {bar.start_ns for bar in chosen}.union([bar.end_ns for bar in chosen])
    moments = {at_ns: datetime_from_ns(at_ns) for at_ns in distinct}
    return (
        [bar.contract_id for bar in chosen],
        [moments[bar.start_ns] for bar in chosen],
        [int(bar.timeframe.unit) for bar in chosen],
        [bar.timeframe.value for bar in chosen],
        [bar.open for bar in chosen],
        [bar.high for bar in chosen],
        [bar.low for bar in chosen],
        [bar.close for bar in chosen],
        [bar.volume for bar in chosen],
        [moments[bar.end_ns] for bar in chosen],
        [bar.whole for bar in chosen],
    )


def _count(status: str) -> int:
    """Return the row count of a command tag such as ``INSERT 0 12``."""
    return int(status.rpartition(" ")[2])


def _bar(contract_id: str, timeframe: Timeframe, row: asyncpg.Record) -> Bar:
    return Bar(
        contract_id, timeframe, ns_from_datetime(row["timestamp"]), ns_from_datetime(row["ends_at"]),
        row["open"], row["high"], row["low"], row["close"], row["volume"], row["whole"],
    )  # fmt: skip
