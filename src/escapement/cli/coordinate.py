"""``escapement coordinate``: stored signals to stored decisions, until stopped."""

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
from escapement.services.coordinate import CoordinateStatistics
from escapement.settings import Settings
from escapement.storage import DBHandler

log = structlog.get_logger(service="coordinate")


@app.command()
def coordinate(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Weigh what is stored, then end.")] = False,
) -> None:
    """Store the decisions that the configured rules make of stored signals until SIGTERM or Ctrl-C."""
    settings = settings_of(context)
    check(settings)
    asyncio.run(SERVICE.command(settings, once=once))


def check(settings: Settings) -> None:
    """Refuse, before a database is started for nothing, settings that the coordinator cannot use.

    Raises:
        ConfigurationError: a line for each fault.
    """
    wiring.coordination_rules(settings, wiring.analyzer_runs(settings))
    if not settings.products:
        wiring.contract_calendars(settings.contracts)


@asynccontextmanager
async def _opened(
    settings: Settings, database: DBHandler, contracts: Sequence[str] | None
) -> AsyncIterator[Part[CoordinateStatistics]]:
    service, chosen = wiring.coordination(settings, database, contracts=contracts), settings.coordinator
    log.info(
        "coordinate_started", coordinator=chosen.name, entries=[each.rule for each in chosen.entries],
        contracts=contracts,
    )  # fmt: skip
    yield service
    log.info("coordinate_stopped", **asdict(service.statistics()))


SERVICE: SharedService[CoordinateStatistics] = SharedService(
    "coordinate", lambda settings: f"coordinate:{settings.coordinator.name}", _opened
)
