"""What those who watch the program ask the database: whether it can be used, what is new, and how things stand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from escapement.ports import Measured, ServiceHealth, StageLags
from escapement.storage import queries
from escapement.storage.database import DBHandler
from escapement.storage.failures import translated
from escapement.storage.health import HealthStore
from escapement.storage.schema import head, revision

_COUNTS = queries.load("counts_between")
_LAGS = queries.load("lags_between")
_STANDING = queries.load("standing")
# A row bears the time at which it was written, and is seen when its transaction ends: what is younger is not all there.
_SETTLED = "SELECT clock_timestamp() - interval '5 seconds'"


class OperationsStore:
    """The database as those who watch the program see it; every method raises StorageError."""

    def __init__(self, database: DBHandler) -> None:
        self._database = database
        self._pool = database.pool
        self._health = HealthStore(database)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._database.aclose()

    def abandon(self) -> None:
        """Cut all connections off, whatever waits on them: a server that hangs lets none be closed."""
        self._pool.terminate()

    async def services(self, alive_s: float) -> list[ServiceHealth]:
        """Return how each service is; a process that is alive spoke ``alive_s`` seconds ago at most."""
        return await self._health.services(alive_s)

    async def schema(self) -> tuple[str | None, str]:
        """Return the revision that the database is at, None without tables, and the one this program needs."""
        return await revision(self._pool), head()

    async def settled(self) -> datetime:
        """Return the moment up to which everything stored can be seen by now, UTC."""
        with translated():
            found: datetime = await self._pool.fetchval(_SETTLED)
        return found

    async def counts(self, since: datetime, until: datetime) -> list[Measured]:
        """Return how much was stored in ``[since, until)``."""
        with translated():
            rows = await self._pool.fetch(_COUNTS, since, until)
        return [_measured(row) for row in rows]

    async def lags(self, since: datetime, until: datetime, bounds_s: Sequence[float]) -> list[StageLags]:
        """Return how long each stage took for what it stored in ``[since, until)``, by buckets of seconds."""
        with translated():
            rows = await self._pool.fetch(_LAGS, since, until, list(bounds_s))
        return [StageLags(row["stage"], row["bucket"], row["value"], row["sum_s"]) for row in rows]

    async def standing(self) -> list[Measured]:
        """Return how things stand now."""
        with translated():
            return [_measured(row) for row in await self._pool.fetch(_STANDING)]


def _measured(row: Any) -> Measured:
    return Measured(row["name"], orjson.loads(row["labels"]), float(row["value"]))
