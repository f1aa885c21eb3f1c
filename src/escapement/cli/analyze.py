"""``escapement analyze``: stored bars to stored signals, until stopped."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import asdict
from typing import Annotated

import structlog
import typer

from escapement import wiring
from escapement.cli import app, settings_of
from escapement.services.analyze import AnalyzeStatistics
from escapement.settings import Settings

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
    # Refuse before a database is started for nothing.
    wiring.analyzer_runs(settings)
    if not settings.products:
        wiring.contract_calendars(settings.contracts)
    statistics = asyncio.run(_analyze(settings, once=once))
    if once and statistics.faults:
        raise typer.Exit(1)


async def _analyze(settings: Settings, *, once: bool) -> AnalyzeStatistics:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    # One more connection, for the doorbell.
    async with (
        wiring.database(settings, more_connections=1) as database,
        wiring.analysis(settings, database) as service,
    ):
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, service.stop)
        names = [each.name for each in settings.analyzers.run]
        log.info("analyze_started", analyzers=names, timeframes=[str(each) for each in settings.timeframes])
        if not stopping.is_set():
            await (service.catch_up() if once else service.run())
        statistics = service.statistics()
        log.info("analyze_stopped", **asdict(statistics))
        return statistics
