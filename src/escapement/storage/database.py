"""Bars and saved state in PostgreSQL, with or without TimescaleDB."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

import asyncpg
import orjson

from escapement.model import Bar, BarSource, Coverage, FormingBar, Gap, GapCause, Session, Timeframe, TimeframeUnit
from escapement.moments import datetime_from_ns, ns_from_datetime
from escapement.storage import queries
from escapement.storage.bus import RedisBus
from escapement.storage.failures import connecting, translated
from escapement.storage.fence import Fence

COPY_FROM = 1_000
_COLUMNS = (
    "contract_id", "timestamp", "timeframe_unit", "timeframe_value", "open", "high", "low", "close", "volume",
    "ends_at", "whole", "source",
)  # fmt: skip
_INSERT = queries.load("insert_bars")
_INSERT_NEW = queries.load("insert_new_bars")
_INSERT_STAGED = queries.load("insert_staged_bars")
_CREATE_STAGING = queries.load("create_staging")
_RING = queries.load("ring_bars")
_REVISE = queries.load("revise_bars")
_PUT_COVERAGE = queries.load("put_coverage")
_COVERAGE = queries.load("coverage")
_PUT_GAPS = queries.load("put_gaps")
_OPEN_GAPS = queries.load("open_gaps")
_NOTE_ATTEMPT = queries.load("note_attempt")
_CLOSE_GAPS = queries.load("close_gaps")
_PUT_PERIODS = queries.load("put_periods")
_DROP_PERIODS = queries.load("drop_periods")
_TRACK = queries.load("track_series")
_LATEST = queries.load("latest_bar")
_BETWEEN = queries.load("bars_between")
_COUNTS = queries.load("bar_counts")
_LOAD_STATE = queries.load("load_state")
_SAVE_STATE = queries.load("save_state")
_TELL_FORMING = queries.load("tell_forming")
# The channel on which whoever looks is told of growing bars.
FORMING = "forming_bars"


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

    def __init__(
        self, pool: asyncpg.Pool[asyncpg.Record], fence: Fence | None = None, bus: RedisBus | None = None
    ) -> None:
        self._pool = pool
        self._fence = fence
        self.bus = bus

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

    def fenced(self, fence: Fence) -> DBHandler:
        """Return the same database for who holds leases: what is observed and saved is written only while he does."""
        return DBHandler(self._pool, fence, self.bus)

    def ring(self, channel: str, payloads: Iterable[str]) -> None:
        """Ring where another doorbell than that of the database is used; call it after the commit."""
        if self.bus is not None:
            self.bus.ring(channel, payloads)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy[asyncpg.Record]]:
        """Give a connection in a transaction, in which the leases of this handler, if it has any, are held.

        Raises:
            LeaseLost: they are not; nothing can be written.
            StorageError: the database does not answer or refuses.
        """
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                await self.pass_fence(connection)
                yield connection

    async def pass_fence(self, connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
        """Make sure that the leases of this handler, if it has any, are held until the connection's transaction ends.

        Raises:
            LeaseLost: they are not.
        """
        if self._fence is not None:
            await self._fence.check(connection)

    async def store_bars(self, bars: Sequence[Bar]) -> int:
        """Store the bars that are not there yet, in one transaction; return how many were new or replaced."""
        if not bars:
            return 0
        with translated():
            if len(bars) >= COPY_FROM:
                async with self._pool.acquire() as connection, connection.transaction():
                    await _stage(connection, bars)
                    stored = await _insert_staged(connection)
            else:
                stored = int(await self._pool.fetchval(_INSERT, *_columns(bars)))
        self._ring_bars(bars if stored else ())
        return stored

    def _ring_bars(self, bars: Sequence[Bar]) -> None:
        self.ring("ohlc_bars", {f"{bar.contract_id} {bar.timeframe}" for bar in bars} if self.bus else ())

    async def store_observed(
        self,
        bars: Sequence[Bar],
        coverage: Sequence[Coverage],
        gaps: Sequence[Gap],
        states: Mapping[str, Mapping[str, object]] | None,
    ) -> int:
        """Store bars, what of the market was observed, gaps, and states by their names, in one transaction.

        Returns:
            How many bars were new or replaced.

        Raises:
            LeaseLost: another process may write that now; nothing was stored.
        """
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                many = len(bars) >= COPY_FROM
                if many:  # before anything is locked, for a client that is frozen while it copies holds its locks
                    await _stage(connection, bars)
                await self.pass_fence(connection)
                if gaps:
                    await connection.execute(_PUT_GAPS, *_gap_columns(gaps))
                if coverage:
                    await connection.execute(_PUT_COVERAGE, *_coverage_columns(coverage))
                if states:
                    saved = [(name, orjson.dumps(state).decode()) for name, state in states.items()]
                    await connection.executemany(_SAVE_STATE, saved)
                if many:
                    stored = await _insert_staged(connection)
                else:
                    stored = int(await connection.fetchval(_INSERT, *_columns(bars))) if bars else 0
        self._ring_bars(bars if stored else ())
        return stored

    async def store_repair(
        self, contract_id: str, bars: Sequence[Bar], coverage: Sequence[Coverage], closed: Sequence[Gap]
    ) -> int:
        """Store repaired bars of a contract, revising those that differ, with what that closes, in one transaction.

        Returns:
            How many bars were new or revised.

        Raises:
            LeaseLost: another process may write that now; nothing was stored.
        """
        async with self.writing() as connection:
            written = int(await connection.fetchval(_REVISE, *_columns(bars))) if bars else 0
            if coverage:
                await connection.execute(_PUT_COVERAGE, *_coverage_columns(coverage))
            if closed:
                await connection.execute(_CLOSE_GAPS, contract_id, *_gap_keys(closed), written)
        if written:
            self._ring_bars(bars)
            self.ring("bar_revisions", {_revision_of(bar) for bar in bars} if self.bus else ())
        return written

    async def revise_bars(self, bars: Sequence[Bar]) -> int:
        """Store bars, revising stored ones that differ; return how many were new or revised."""
        return await self.store_repair("", bars, (), ())

    async def cover(self, contract_id: str, from_ns: int, to_ns: int, source: BarSource) -> None:
        """Take note that every trade of ``[from_ns, to_ns)`` (UTC) is in the stored bars of the smallest timeframe."""
        await self.store_observed((), [Coverage(contract_id, from_ns, to_ns, source)], (), None)

    async def coverage(self, contract_id: str) -> list[tuple[int, int]]:
        """Return what of a contract was observed, as stretches ``[from, to)`` in nanoseconds UTC, oldest first."""
        with translated():
            rows = await self._pool.fetch(_COVERAGE, contract_id)
        return [(ns_from_datetime(row["begins_at"]), ns_from_datetime(row["ends_at"])) for row in rows]

    async def open_gaps(self, contract_id: str) -> list[Gap]:
        """Return the contract's gaps that are not repaired, oldest first."""
        with translated():
            rows = await self._pool.fetch(_OPEN_GAPS, contract_id)
        return [
            Gap(
                row["contract_id"], ns_from_datetime(row["begins_at"]),
                None if row["ends_at"] is None else ns_from_datetime(row["ends_at"]), GapCause(row["cause"]),
                row["detail"],
            )
            for row in rows
        ]  # fmt: skip

    async def note_attempt(self, contract_id: str, gaps: Sequence[Gap], reason: str) -> None:
        """Take note that a repair of these gaps did not succeed."""
        async with self.writing() as connection:
            await connection.execute(_NOTE_ATTEMPT, contract_id, *_gap_keys(gaps), reason)

    async def set_periods(self, contract_id: str, sessions: Sequence[Session]) -> None:
        """Make what is stored of the contract's trading periods equal ``sessions`` from their first to their last."""
        if not sessions:
            return
        periods = [(session.trade_date, period) for session in sessions for period in session.periods]
        opens = [datetime_from_ns(period.open_ns) for _, period in periods]
        closes = [datetime_from_ns(period.close_ns) for _, period in periods]
        async with self.writing() as connection:
            await connection.execute(_DROP_PERIODS, contract_id, opens[0], closes[-1], opens)
            await connection.execute(_PUT_PERIODS, contract_id, [day for day, _ in periods], opens, closes)

    async def track(self, contract_ids: Iterable[str], timeframes: Sequence[Timeframe]) -> None:
        """Take note that these series are kept from now on."""
        pairs = [(contract_id, timeframe) for contract_id in contract_ids for timeframe in timeframes]
        with translated():
            await self._pool.execute(
                _TRACK, [contract_id for contract_id, _ in pairs], [int(each.unit) for _, each in pairs],
                [each.value for _, each in pairs],
            )  # fmt: skip

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

    async def tell_forming(self, contract_id: str, bars: Sequence[FormingBar]) -> None:
        """Tell those who listen on ``FORMING`` of a contract's growing bars; nothing is stored."""
        told = {
            str(bar.timeframe): [
                bar.start_ns,
                bar.end_ns,
                bar.open,
                bar.high,
                bar.low,
                bar.close,
                bar.volume,
                bar.whole,
            ]
            for bar in bars
        }
        as_of_ns = max(bar.as_of_ns for bar in bars)
        text = orjson.dumps({"contract_id": contract_id, "as_of_ns": as_of_ns, "bars": told}).decode()
        if self.bus is not None:
            self.bus.ring(FORMING, [text])
            return
        with translated():
            await self._pool.execute(_TELL_FORMING, text)

    async def load_state(self, name: str) -> Mapping[str, object] | None:
        """Return the state last saved under ``name``, or None."""
        with translated():
            text = await self._pool.fetchval(_LOAD_STATE, name)
        if text is None:
            return None
        state: dict[str, object] = orjson.loads(text)
        return state

    async def save_state(self, name: str, state: Mapping[str, object]) -> None:
        """Replace the state saved under ``name``."""
        async with self.writing() as connection:
            await connection.execute(_SAVE_STATE, name, orjson.dumps(state).decode())


async def _as_it_is(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Put a connection back: nothing here changes a session's settings, and resetting them is another round trip."""
    del connection


def _revision_of(bar: Bar) -> str:
    """Return what the trigger on ``bar_revisions`` tells of a bar's series."""
    unit, value = int(bar.timeframe.unit), bar.timeframe.value
    return orjson.dumps({"contract_id": bar.contract_id, "timeframe_unit": unit, "timeframe_value": value}).decode()


async def _stage(connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record], bars: Sequence[Bar]) -> None:
    await connection.execute(_CREATE_STAGING)
    rows = list(zip(*_columns(bars), strict=True))
    await connection.copy_records_to_table("staged_bars", records=rows, columns=list(_COLUMNS))


async def _insert_staged(connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> int:
    await connection.execute(_RING)
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
        [bar.source.value for bar in chosen],
    )


def _gap_columns(gaps: Sequence[Gap]) -> tuple[list[object], ...]:
    once = {(gap.contract_id, gap.begins_ns // 1_000, gap.cause): gap for gap in gaps}.values()
    return (
        [gap.contract_id for gap in once],
        [datetime_from_ns(gap.begins_ns) for gap in once],
        [None if gap.ends_ns is None else datetime_from_ns(gap.ends_ns) for gap in once],
        [gap.cause.value for gap in once],
        [gap.detail for gap in once],
    )


def _gap_keys(gaps: Sequence[Gap]) -> tuple[list[object], list[object]]:
    return [datetime_from_ns(gap.begins_ns) for gap in gaps], [gap.cause.value for gap in gaps]


def _coverage_columns(coverage: Sequence[Coverage]) -> tuple[list[object], ...]:
    return (
        [each.contract_id for each in coverage],
        [datetime_from_ns(each.begins_ns) for each in coverage],
        [datetime_from_ns(each.ends_ns) for each in coverage],
        ["live" if each.source is BarSource.LIVE else "history" for each in coverage],
    )


def _count(status: str) -> int:
    """Return the row count of a command tag such as ``INSERT 0 12``."""
    return int(status.rpartition(" ")[2])


def _bar(contract_id: str, timeframe: Timeframe, row: asyncpg.Record) -> Bar:
    return Bar(
        contract_id, timeframe, ns_from_datetime(row["timestamp"]), ns_from_datetime(row["ends_at"]),
        row["open"], row["high"], row["low"], row["close"], row["volume"], row["whole"],
        BarSource(row["source"]),
    )  # fmt: skip
