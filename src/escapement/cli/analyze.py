"""``escapement analyze``: stored bars to stored signals, until stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated

import structlog
import typer

from escapement import wiring
from escapement.cli import app, settings_of
from escapement.cli.share import Part, SharedService
from escapement.services.analyze import AnalyzeStatistics
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
    statistics = asyncio.run(SERVICE.command(settings, once=once))
    if statistics is not None and statistics.faults:
        raise typer.Exit(1)


def check(settings: Settings) -> None:
    """Refuse, before a database is started for nothing, settings that analysis cannot use.

    Raises:
        ConfigurationError: a line for each fault.
    """
    wiring.analyzer_runs(settings)
    if not settings.products:
        wiring.contract_calendars(settings.contracts)


@asynccontextmanager
async def _opened(
    settings: Settings, database: DBHandler, contracts: Sequence[str] | None
) -> AsyncIterator[Part[AnalyzeStatistics]]:
    async with wiring.analysis(settings, database, contracts=contracts) as service:
        names = [each.name for each in settings.analyzers.run]
        log.info(
            "analyze_started", analyzers=names, timeframes=[str(each) for each in settings.timeframes],
            contracts=contracts,
        )  # fmt: skip
        yield service
        log.info("analyze_stopped", **asdict(service.statistics()))


SERVICE: SharedService[AnalyzeStatistics] = SharedService("analyze", lambda _: "analyze", _opened)
