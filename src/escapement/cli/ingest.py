"""``escapement ingest``: trades from the gateway to bars in the database, until stopped."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import structlog
import typer

from escapement import wiring
from escapement.calendars import calendar_for_contract
from escapement.cli import app, settings_of
from escapement.model import Contract
from escapement.projectx import HubParams
from escapement.services.ingest import Ingestion
from escapement.services.reports import Reports
from escapement.services.roll import RollParams, follow
from escapement.services.sharing import Sharing
from escapement.services.supervise import Ready, run_until, unheard
from escapement.settings import Settings
from escapement.storage import DBHandler

log = structlog.get_logger(service="ingest")


@app.command()
def ingest(context: typer.Context) -> None:
    """Store bars of the configured contracts and timeframes until SIGTERM or Ctrl-C."""
    settings = settings_of(context)
    check(settings)
    asyncio.run(_ingest(settings))


def check(settings: Settings) -> None:
    """Refuse, before a database is started for nothing, settings that ingestion cannot use.

    Raises:
        ConfigurationError: credentials, contracts or calendars are missing.
    """
    wiring.gateway_params(settings)
    for product in settings.products:
        calendar_for_contract(product.code, product.calendar)
    if settings.contracts or not settings.products:
        wiring.contract_calendars(settings.contracts)


async def _ingest(settings: Settings) -> None:
    stopping = asyncio.Event()
    stop_on_signals(stopping.set)
    await serve(settings, stopping, unheard)


async def serve(settings: Settings, stopping: asyncio.Event, ready: Ready) -> None:
    """Ingest this process's share of the contracts until ``stopping``; call ``ready`` when it begins.

    Raises:
        EscapementError: the database, the gateway or a setting stands in the way.
    """
    # One more connection for the leases, whose renewal must wait for nothing else.
    async with wiring.database(settings, more_connections=1) as database:
        leases, reports = wiring.leases(settings, database, "ingest"), Reports(ready)

        async def names() -> list[str]:
            return wiring.shared_names(settings)

        async def work(share: Sequence[str], ending: asyncio.Event) -> None:
            await _ingest_share(wiring.only(settings, share), database.fenced(leases.fence(share)), ending, reports)

        await Sharing("ingest", leases, names, work, reports.begin).run(stopping)


async def _ingest_share(settings: Settings, database: DBHandler, stopping: asyncio.Event, reports: Reports) -> None:
    if settings.products:
        await ingest_products(settings, database, stopping, reports=reports)
        return
    async with _ingestion(settings, database, reports=reports) as ingestion:
        if not stopping.is_set():
            await run_until(stopping, ingestion.stop, ingestion.run())


async def ingest_products(
    settings: Settings,
    database: DBHandler,
    stopping: asyncio.Event,
    *,
    hub: HubParams | None = None,
    params: RollParams | None = None,
    reports: Reports | None = None,
) -> None:
    """Store bars of the settings' contracts and of the front contracts of their products until ``stopping``.

    Raises:
        EscapementError: a product has no front, or ingestion failed.
    """
    running: list[Ingestion] = []

    @asynccontextmanager
    async def ingest_fronts(fronts: Mapping[str, Contract]) -> AsyncIterator[Ingestion]:
        async with _ingestion(wiring.with_fronts(settings, fronts), database, hub, reports) as ingestion:
            running[:] = [ingestion]
            yield ingestion

    def now_ns() -> int:
        """Return the market's time; in a replay the one heard last, 0 before any was."""
        if settings.ingest.clock == "system":
            return time.time_ns()
        return running[0].statistics().venue_time_ns if running else 0

    async with wiring.roll(settings, now_ns, params) as roll:
        await follow(roll, ingest_fronts, stopping)


@asynccontextmanager
async def _ingestion(
    settings: Settings, database: DBHandler, hub: HubParams | None = None, reports: Reports | None = None
) -> AsyncIterator[Ingestion]:
    async with wiring.ingestion(settings, database, hub=hub) as ingestion:
        log.info("ingest_started", contracts=[c.id for c in settings.contracts], timeframes=settings.timeframes)
        with (reports or Reports()).during(ingestion.report):
            yield ingestion
        statistics = ingestion.statistics()
        log.info("ingest_stopped", trades=statistics.trades, late=statistics.late, refused=statistics.refused,
                 bars=statistics.bars, bars_new=statistics.bars_new)  # fmt: skip


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call ``stop`` on SIGTERM and SIGINT in the running event loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
