"""``escapement analyze``: stored bars to stored signals, until stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import structlog
import typer

from escapement import wiring
from escapement.cli import app, settings_of
from escapement.cli.ingest import stop_on_signals
from escapement.services.analyze import AnalyzeStatistics
from escapement.services.reports import Reports
from escapement.services.sharing import Sharing
from escapement.services.supervise import Ready, run_until, unheard
from escapement.settings import Settings
from escapement.storage import DBHandler

log = structlog.get_logger(service="analyze")


@app.command()
def analyze(
    context: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="Analyse what is stored, then end; exit code 1 when an analyzer failed.")
    ] = False,
) -> None:
    """Store the signals that the configured analyzers find in stored bars until SIGTERM or Ctrl-C."""
    settings = settings_of(context)
    check(settings)
    statistics = asyncio.run(_analyze(settings, once=once))
    if once and statistics.faults:
        raise typer.Exit(1)


def check(settings: Settings) -> None:
    """Refuse, before a database is started for nothing, settings that analysis cannot use.

    Raises:
        ConfigurationError: a line for each fault.
    """
    wiring.analyzer_runs(settings)
    if not settings.products:
        wiring.contract_calendars(settings.contracts)


async def _analyze(settings: Settings, *, once: bool) -> AnalyzeStatistics:
    stopping = asyncio.Event()
    stop_on_signals(stopping.set)
    if not once:
        await serve(settings, stopping, unheard)
        return AnalyzeStatistics()
    async with wiring.database(settings) as database:
        return await _work(settings, database, stopping, None, Reports(), once=True)


async def serve(settings: Settings, stopping: asyncio.Event, ready: Ready) -> None:
    """Analyse this process's share until ``stopping``, then what was stored until then; call ``ready`` when it begins.

    Raises:
        EscapementError: the database or a setting stands in the way.
    """
    # Two more connections: for the doorbell, and for the leases.
    async with wiring.database(settings, more_connections=2) as database:
        reports = Reports(ready)

        async def work(share: Sequence[str], ending: asyncio.Event) -> None:
            await _work(settings, database, ending, share, reports, once=False)
            await _work(settings, database, asyncio.Event(), share, reports, once=True)

        leases = wiring.leases(settings, database, "analyze")
        await Sharing("analyze", leases, lambda: wiring.kept_contracts(settings, database), work, reports.begin).run(
            stopping
        )


async def _work(
    settings: Settings,
    database: DBHandler,
    stopping: asyncio.Event,
    contracts: Sequence[str] | None,
    reports: Reports,
    *,
    once: bool,
) -> AnalyzeStatistics:
    async with wiring.analysis(settings, database, contracts=contracts) as service:
        names = [each.name for each in settings.analyzers.run]
        log.info(
            "analyze_started", analyzers=names, timeframes=[str(each) for each in settings.timeframes],
            contracts=contracts,
        )  # fmt: skip
        with reports.during(lambda: asdict(service.statistics())):
            if not stopping.is_set():
                await run_until(stopping, service.stop, service.catch_up() if once else service.run())
        statistics = service.statistics()
        log.info("analyze_stopped", **asdict(statistics))
        return statistics
