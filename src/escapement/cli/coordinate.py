"""``escapement coordinate``: stored signals to stored decisions, until stopped."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

import structlog
import typer

from escapement import wiring
from escapement.cli import app, settings_of
from escapement.cli.ingest import stop_on_signals
from escapement.settings import Settings

log = structlog.get_logger(service="coordinate")


@app.command()
def coordinate(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Weigh what is stored, then end.")] = False,
) -> None:
    """Store the decisions that the configured rules make of stored signals until SIGTERM or Ctrl-C."""
    settings = settings_of(context)
    check(settings)
    asyncio.run(_coordinate(settings, once=once))


def check(settings: Settings) -> None:
    """Refuse, before a database is started for nothing, settings that the coordinator cannot use.

    Raises:
        ConfigurationError: a line for each fault.
    """
    wiring.coordination_rules(settings, wiring.analyzer_runs(settings))
    if not settings.products:
        wiring.contract_calendars(settings.contracts)


async def _coordinate(settings: Settings, *, once: bool) -> None:
    stopping = asyncio.Event()
    stop_on_signals(stopping.set)
    # One more connection, for the doorbell.
    async with wiring.database(settings, more_connections=1) as database:
        service = wiring.coordination(settings, database)
        stop_on_signals(service.stop)
        chosen = settings.coordinator
        log.info("coordinate_started", coordinator=chosen.name, entries=[each.rule for each in chosen.entries])
        if not stopping.is_set():
            await (service.catch_up() if once else service.run())
        log.info("coordinate_stopped", **asdict(service.statistics()))
