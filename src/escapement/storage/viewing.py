"""What is read only to be looked at: candles, what happened on them, and how the machine is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from escapement.errors import StorageError
from escapement.model import Timeframe
from escapement.storage import queries
from escapement.storage.database import DBHandler
from escapement.storage.failures import translated

Row = Mapping[str, Any]

_CONTRACTS = queries.load("view_contracts")
_LAST_PRICES = queries.load("view_last_prices")
_NEWEST = queries.load("view_newest_bars")
_EXTENT = queries.load("view_extent")
_CANDLES = queries.load("view_candles")
_ORDERS = queries.load("view_orders")
_FILLS = queries.load("view_fills")
_GAPS = queries.load("view_gaps")
_LOG = queries.load("view_log")
_CHOICES = queries.load("view_choices")
_COORDINATORS = queries.load("view_coordinators")
_STAGES = queries.load("view_stages")
_TROUBLES = queries.load("view_troubles")
_TABLES = queries.load("view_tables")
_HYPERTABLES = queries.load("view_hypertables")
_COMPRESSION = queries.load("view_compression")
_STATE = queries.load("view_state_age")
_STATES_OF = queries.load("view_states")
_SNAPSHOT_AGE = queries.load("view_snapshot_age")
_SIZE = "SELECT pg_database_size(current_database())"
# Compiling takes longer than running what a screen asks for.
_WITHOUT_JIT = "SET LOCAL jit = off"


class ViewStore:
    """The database as those see it who only look; rows are as their queries name them, times aware UTC.

    Every method raises StorageError.
    """

    def __init__(self, database: DBHandler) -> None:
        self._pool = database.pool

    async def contracts(self) -> Sequence[Row]:
        """Return every series that is kept, with the first and the last bar's label."""
        return await self._fetch(_CONTRACTS)

    async def last_prices(self) -> Sequence[Row]:
        """Return the close of each contract's newest bar."""
        return await self._fetch(_LAST_PRICES)

    async def newest_bars(self, contract_id: str, timeframe: Timeframe, before: datetime, most: int) -> Sequence[Row]:
        """Return the newest bars labelled before a moment, oldest first."""
        rows = await self._fetch(_NEWEST, contract_id, int(timeframe.unit), timeframe.value, before, most)
        return rows[::-1]

    async def extent(
        self, contract_id: str, timeframe: Timeframe, begin: datetime, end: datetime, most: int
    ) -> tuple[datetime | None, datetime | None, int]:
        """Return the labels of the first and the last bar in ``[begin, end)``, and their number, up to ``most``."""
        series = contract_id, int(timeframe.unit), timeframe.value
        (row,) = await self._fetch(_EXTENT, *series, begin, end, most)
        return row["first"], row["last"], row["bars"]

    async def candles(
        self, contract_id: str, timeframe: Timeframe, begin: datetime, end: datetime, seconds: float
    ) -> Sequence[Row]:
        """Return the bars labelled in ``[begin, end)``, merged by so many seconds, oldest first."""
        series = contract_id, int(timeframe.unit), timeframe.value
        return await self._fetch(_CANDLES, *series, begin, end, float(seconds))

    async def orders(self, contract_id: str, begin: datetime, end: datetime, most: int) -> Sequence[Row]:
        """Return the newest orders that worked at some time of a stretch, newest first."""
        return await self._fetch(_ORDERS, contract_id, begin, end, most)

    async def fills(self, contract_id: str, begin: datetime, end: datetime, most: int) -> Sequence[Row]:
        """Return the newest fills of a stretch, newest first."""
        return await self._fetch(_FILLS, contract_id, begin, end, most)

    async def gaps(
        self, contract_id: str | None, begin: datetime | None, end: datetime | None, most: int, *, only_open: bool
    ) -> Sequence[Row]:
        """Return the newest gaps that touch a stretch, newest first."""
        return await self._fetch(_GAPS, contract_id, begin, end, only_open, most)

    async def log(
        self,
        contract_id: str | None,
        coordinator: str | None,
        rule: str | None,
        begin: datetime | None,
        end: datetime | None,
        most: int,
        *,
        decided: bool | None,
    ) -> Sequence[Row]:
        """Return the newest notes on signals, newest first."""
        return await self._fetch(_LOG, contract_id, coordinator, rule, decided, begin, end, most)

    async def choices(self) -> Row:
        """Return the contracts, coordinators and rules that there are decisions of."""
        found: Row = (await self._fetch(_CHOICES))[0]
        return found

    async def coordinators(self, coordinator: str) -> Sequence[Row]:
        """Return where a coordinator stands with each contract."""
        return await self._fetch(_COORDINATORS, coordinator)

    async def stages(self) -> Sequence[Row]:
        """Return how far each stage has got."""
        return await self._fetch(_STAGES)

    async def troubles(self, most: int) -> Sequence[Row]:
        """Return what went wrong lately, newest first."""
        return await self._fetch(_TROUBLES, most)

    async def state(self, name: str) -> Row | None:
        """Return what a stage saved of itself as JSON, and when."""
        return next(iter(await self._fetch(_STATE, name)), None)

    async def states(self, beginning: str) -> Sequence[Row]:
        """Return the same of all whose names begin so."""
        return await self._fetch(_STATES_OF, beginning)

    async def snapshot_age(self, account: str) -> datetime | None:
        """Return when an account was looked at last."""
        found: datetime | None = (await self._fetch(_SNAPSHOT_AGE, account))[0]["max"]
        return found

    async def size(self) -> int:
        """Return how many bytes the database takes."""
        with translated():
            return int(await self._pool.fetchval(_SIZE))

    async def tables(self, *, hypertables: bool) -> list[dict[str, Any]]:
        """Return our tables with ``rows`` and ``bytes``, and what compression saved of ``hypertables``."""
        tables = {row["name"]: {**row, "uncompressed_bytes": None, "compressed_bytes": None}
                  for row in await self._fetch(_TABLES)}  # fmt: skip
        for row in await self._fetch(_HYPERTABLES) if hypertables else ():
            tables[row["name"]] |= dict(row)
            try:
                saved = await self._fetch(_COMPRESSION, row["name"])
            except StorageError:  # the Apache edition has no compression
                continue
            tables[row["name"]] |= dict(saved[0]) if saved else {}
        return sorted(tables.values(), key=lambda table: -table["bytes"])

    async def _fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        with translated():
            async with self._pool.acquire() as connection, connection.transaction(readonly=True):
                await connection.execute(_WITHOUT_JIT)
                return list(await connection.fetch(query, *arguments))
