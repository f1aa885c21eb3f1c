"""``escapement watchdog``: sees that every position has its stop, beside and without the program that trades."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict

import structlog
import typer

from escapement import wiring, wiring_execution
from escapement.cli import app, settings_of
from escapement.cli.ingest import stop_on_signals
from escapement.services.supervise import run_until
from escapement.settings import Settings

log = structlog.get_logger(service="watchdog")


@app.command()
def watchdog(context: typer.Context) -> None:
    """Close positions of the live account that lack their stop, until SIGTERM or Ctrl-C; it can open nothing."""
    settings = settings_of(context)
    wiring_execution.check_watchdog(settings, os.environ)
    wiring.gateway_params(settings)
    asyncio.run(_watch(settings))


async def _watch(settings: Settings) -> None:
    stopping = asyncio.Event()
    stop_on_signals(stopping.set)
    async with wiring_execution.watchdog(settings) as service:
        log.info("watchdog_started", account=settings.execution.account)
        if not stopping.is_set():
            await run_until(stopping, service.stop, service.run())
        log.info("watchdog_stopped", **asdict(service.statistics))
