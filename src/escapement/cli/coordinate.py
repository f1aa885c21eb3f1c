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
from escapement.services.supervise import Ready, run_until, unheard
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
    await _serve(settings, stopping, unheard, once=once)


async def serve(settings: Settings, stopping: asyncio.Event, ready: Ready) -> None:
    """Decide until ``stopping``, then what was stored until then; call ``ready`` when it begins.

    Raises:
        EscapementError: the database or a setting stands in the way.
    """
    await _serve(settings, stopping, ready, once=False)
    await _serve(settings, asyncio.Event(), unheard, once=True)


async def _serve(settings: Settings, stopping: asyncio.Event, ready: Ready, *, once: bool) -> None:
    # One more connection, for the doorbell.
    async with wiring.database(settings, more_connections=1) as database:
        service = wiring.coordination(settings, database)
        chosen = settings.coordinator
        log.info("coordinate_started", coordinator=chosen.name, entries=[each.rule for each in chosen.entries])
        ready(lambda: asdict(service.statistics()))
        if not stopping.is_set():
            await run_until(stopping, service.stop, service.catch_up() if once else service.run())
        log.info("coordinate_stopped", **asdict(service.statistics()))
