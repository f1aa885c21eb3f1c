"""``escapement execute``: stored decisions to orders, until stopped."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated

import structlog
import typer

from escapement import wiring, wiring_execution
from escapement.cli import app, settings_of
from escapement.cli.ingest import stop_on_signals
from escapement.errors import LeaseLost, StorageUnavailable
from escapement.services.reports import Reports
from escapement.services.sharing import hold, while_held
from escapement.services.supervise import Ready, run_until, unheard
from escapement.settings import Settings
from escapement.storage import DBHandler
from escapement.storage.leases import Leases

log = structlog.get_logger(service="execute")


@app.command()
def execute(
    context: typer.Context,
    mode: Annotated[str | None, typer.Option(metavar="MODE", help="paper or live; else that of the settings.")] = None,
) -> None:
    """Trade the stored decisions on paper, or live where everything allows it, until SIGTERM or Ctrl-C."""
    settings = settings_of(context)
    check(settings, mode)
    asyncio.run(_execute(settings, wiring_execution.check_mode(settings, mode, os.environ)))


def check(settings: Settings, mode: str | None = None) -> None:
    """Refuse, before a database is started for nothing, settings that execution cannot use.

    Raises:
        ConfigurationError: a line for each fault.
    """
    wiring_execution.check_mode(settings, mode, os.environ)
    wiring_execution.firm_rules(settings)
    wiring.gateway_params(settings)
    if not settings.products:
        wiring.contract_calendars(settings.contracts)


async def _execute(settings: Settings, mode: str) -> None:
    stopping = asyncio.Event()
    stop_on_signals(stopping.set)
    await _serve(settings, mode, stopping, unheard)


async def serve(settings: Settings, stopping: asyncio.Event, ready: Ready) -> None:
    """Trade until ``stopping``; call ``ready`` when it begins, or stands by.

    Raises:
        EscapementError: the database, the gateway or a setting stands in the way.
    """
    await _serve(settings, wiring_execution.check_mode(settings, None, os.environ), stopping, ready)


async def _serve(settings: Settings, mode: str, stopping: asyncio.Event, ready: Ready) -> None:
    # Two more connections: for the doorbell, and for the lease, whose renewal must wait for nothing else.
    async with wiring.database(settings, more_connections=2) as database:
        account, leases = wiring_execution.account_name(settings, mode), wiring.leases(settings, database, "execute")
        reports = Reports(ready)
        try:
            while await hold(leases, account, stopping, reports.begin):
                try:
                    await while_held(leases, account, _trade(settings, database, mode, leases, stopping, reports))
                except LeaseLost as error:
                    log.warning("lease_lost", account=account, reason=str(error))
                else:
                    return
        finally:
            with suppress(StorageUnavailable):
                await leases.give_back()


async def _trade(
    settings: Settings,
    database: DBHandler,
    mode: str,
    leases: Leases,
    stopping: asyncio.Event,
    reports: Reports,
) -> None:
    async with wiring_execution.execution(settings, database, mode, leases) as service:
        log.info("execute_started", mode=mode, account=service.deal.account)
        with reports.during(service.report):
            if not stopping.is_set():
                await run_until(stopping, service.stop, service.run())
        log.info("execute_stopped", **asdict(service.statistics()))
