"""Running a service of which each process does its share of the contracts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

from escapement import wiring
from escapement.cli.ingest import stop_on_signals
from escapement.services.analyze import AnalyzeStatistics
from escapement.services.coordinate import CoordinateStatistics
from escapement.services.reports import Reports
from escapement.services.sharing import Sharing
from escapement.services.supervise import Ready, run_until, unheard
from escapement.settings import Settings
from escapement.storage import DBHandler

Counts_co = TypeVar("Counts_co", bound=AnalyzeStatistics | CoordinateStatistics, covariant=True)


class Part(Protocol[Counts_co]):
    """A service at work on some of the contracts."""

    def statistics(self) -> Counts_co:
        """Return the counts so far."""
        ...

    def stop(self) -> None:
        """Ask for an orderly end."""
        ...

    async def run(self) -> None:
        """Work until ``stop``."""
        ...

    async def catch_up(self) -> None:
        """Do what there is to do now."""
        ...


@dataclass(frozen=True, slots=True)
class SharedService(Generic[Counts_co]):
    """A service, what its leases are called, and what gives its part for some contracts (None: all)."""

    name: str
    lease: Callable[[Settings], str]
    opened: Callable[[Settings, DBHandler, Sequence[str] | None], AbstractAsyncContextManager[Part[Counts_co]]]

    async def serve(self, settings: Settings, stopping: asyncio.Event, ready: Ready) -> None:
        """Do this process's share until ``stopping``, then what was stored until then; call ``ready`` at the begin.

        Raises:
            EscapementError: the database or a setting stands in the way.
        """
        # Two more connections: for the doorbell, and for the leases.
        async with wiring.database(settings, more_connections=2) as database:
            reports = Reports(ready)

            async def work(share: Sequence[str], ending: asyncio.Event) -> None:
                await self._work(settings, database, ending, share, reports, once=False)
                await self._work(settings, database, asyncio.Event(), share, reports, once=True)

            leases = wiring.leases(settings, database, self.lease(settings))
            names = partial(wiring.kept_contracts, settings, database)
            await Sharing(self.name, leases, names, work, reports.begin).run(stopping)

    async def command(self, settings: Settings, *, once: bool) -> Counts_co | None:
        """Serve until SIGTERM or Ctrl-C; or do ``once`` what there is to do, and return the counts.

        Raises:
            EscapementError: the database or a setting stands in the way.
        """
        stopping = asyncio.Event()
        stop_on_signals(stopping.set)
        if not once:
            await self.serve(settings, stopping, unheard)
            return None
        async with wiring.database(settings) as database:
            return await self._work(settings, database, stopping, None, Reports(), once=True)

    async def _work(
        self,
        settings: Settings,
        database: DBHandler,
        stopping: asyncio.Event,
        contracts: Sequence[str] | None,
        reports: Reports,
        *,
        once: bool,
    ) -> Counts_co:
        async with self.opened(settings, database, contracts) as part:
            with reports.during(lambda: asdict(part.statistics())):
                if not stopping.is_set():
                    await run_until(stopping, part.stop, part.catch_up() if once else part.run())
            return part.statistics()
