"""Looks after the program from inside any of its processes: what is ready, and what was counted.

All it knows comes from the database and the disk, so every process says the same of services that may run elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

from escapement.errors import EscapementError
from escapement.ports import Check, Measured, ServiceHealth, StageLags
from escapement.services.lags import BOUNDS_S
from escapement.services.metrics import Metrics
from escapement.services.readiness import (
    account_checks,
    database_away,
    database_check,
    disk_checks,
    feed_checks,
    service_checks,
)
from escapement.services.within import within

T = TypeVar("T")
# How often it looks at most, however often it is asked.
_EACH_S = 1.0


class Ledger(Protocol):
    """What it asks the database; every method raises StorageError."""

    async def schema(self) -> tuple[str | None, str]:
        """Return the revision that the database is at, and the one this program needs."""
        ...

    async def services(self, alive_s: float) -> Sequence[ServiceHealth]:
        """Return how each service is."""
        ...

    async def settled(self) -> datetime:
        """Return the moment up to which everything stored can be seen by now."""
        ...

    async def counts(self, since: datetime, until: datetime) -> Sequence[Measured]:
        """Return how much was stored in ``[since, until)``."""
        ...

    async def lags(self, since: datetime, until: datetime, bounds_s: Sequence[float]) -> Sequence[StageLags]:
        """Return how long each stage took for what it stored in ``[since, until)``."""
        ...

    async def standing(self) -> Sequence[Measured]:
        """Return how things stand now."""
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...

    def abandon(self) -> None:
        """Cut its connections off, whatever waits on them."""
        ...


@dataclass(frozen=True, slots=True)
class LookoutParams:
    """What counts as well.

    ``services``: those that have to run, None for all that were started anywhere; a process is alive that spoke
    ``alive_s`` seconds ago at most. In a session something has to come, or be confirmed to be nothing, every
    ``stale_s`` seconds. In ``directories`` at least ``least_free_bytes`` have to be free. The database has to answer
    within ``answer_s`` seconds.
    """

    services: Sequence[str] | None
    directories: Sequence[Path]
    alive_s: float
    stale_s: float = 90.0
    least_free_bytes: int = 1_000_000_000
    answer_s: float = 3.0


class Lookout:
    """Answers ``ready`` and ``metrics``; ``open_ledger`` opens the database, and is called again until it succeeds."""

    def __init__(self, open_ledger: Callable[[], Awaitable[Ledger]], metrics: Metrics, params: LookoutParams) -> None:
        self._open_ledger = open_ledger
        self._metrics = metrics
        self._params = params
        self._ledger: Ledger | None = None
        self._turn = asyncio.Lock()
        self._checks: tuple[float, list[Check]] = 0.0, []
        self._text: tuple[float, bytes] = 0.0, b""
        self._counted_to: datetime | None = None

    async def aclose(self) -> None:
        """Close the database."""
        if self._ledger is not None:
            await self._ledger.aclose()

    async def ready(self) -> list[Check]:
        """Return everything that has to be well, as it was a second ago at most."""
        async with self._turn:
            return await self._ready()

    async def metrics(self) -> bytes:
        """Return what was counted, in Prometheus's text format."""
        async with self._turn:
            if time.monotonic() - self._text[0] >= _EACH_S:
                self._metrics.judge(await self._ready())
                try:
                    await self._ask(self._count)
                except (EscapementError, TimeoutError):
                    self._metrics.stand((), ())  # what is not known is not told; the check says why
                self._text = time.monotonic(), self._metrics.text()
            return self._text[1]

    async def _ask(self, question: Callable[[Ledger], Awaitable[T]]) -> T:
        """Ask the database; one that hangs is given up, connections and all, and opened anew the next time.

        Raises:
            StorageError: it does not answer, or refuses.
            TimeoutError: it does not answer in time.
        """

        async def ask() -> T:
            if self._ledger is None:
                self._ledger = await self._open_ledger()
            return await question(self._ledger)

        try:
            return await within(self._params.answer_s, ask())
        except TimeoutError:
            if self._ledger is not None:
                self._ledger.abandon()
                self._ledger = None
            raise

    async def _ready(self) -> list[Check]:
        if time.monotonic() - self._checks[0] >= _EACH_S:
            params = self._params
            try:
                found = await self._ask(self._of_database)
            except EscapementError as error:
                found = [database_away(str(error))]
            except TimeoutError:
                found = [database_away(f"the database does not answer within {params.answer_s:g} s")]
            found += await asyncio.to_thread(disk_checks, params.directories, params.least_free_bytes)
            self._checks = time.monotonic(), found
        return self._checks[1]

    async def _of_database(self, ledger: Ledger) -> list[Check]:
        params = self._params
        schema = database_check(*await ledger.schema())
        if not schema.ok:
            return [schema]
        heard = await ledger.services(params.alive_s)
        services = service_checks(heard, params.services, params.alive_s)
        feeds = feed_checks(heard, params.alive_s, params.stale_s)
        return [schema, *services, *feeds, *account_checks(heard, params.alive_s)]

    async def _count(self, ledger: Ledger) -> None:
        until = await ledger.settled()
        since = self._counted_to or until
        counts, lags = await ledger.counts(since, until), await ledger.lags(since, until, BOUNDS_S)
        standing, heard = await ledger.standing(), await ledger.services(self._params.alive_s)
        self._counted_to = until
        self._metrics.count(counts, lags)
        self._metrics.stand(standing, heard)
