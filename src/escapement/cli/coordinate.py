"""``escapement coordinate``: stored signals to stored decisions, until stopped."""

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
from escapement.services.reports import Reports
from escapement.services.sharing import Sharing
from escapement.services.supervise import Ready, run_until, unheard
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
    if not once:
        await serve(settings, stopping, unheard)
        return
    async with wiring.database(settings) as database:
        await _work(settings, database, stopping, None, Reports(), once=True)


async def serve(settings: Settings, stopping: asyncio.Event, ready: Ready) -> None:
    """Decide of this process's share until ``stopping``, then what was stored until then; call ``ready`` at the begin.

    Raises:
        EscapementError: the database or a setting stands in the way.
    """
    # Two more connections: for the doorbell, and for the leases.
    async with wiring.database(settings, more_connections=2) as database:
        reports = Reports(ready)

        async def work(share: Sequence[str], ending: asyncio.Event) -> None:
            await _work(settings, database, ending, share, reports, once=False)
            await _work(settings, database, asyncio.Event(), share, reports, once=True)

        leases = wiring.leases(settings, database, f"coordinate:{settings.coordinator.name}")
        await Sharing("coordinate", leases, lambda: wiring.kept_contracts(settings, database), work, reports.begin).run(
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
) -> None:
    service = wiring.coordination(settings, database, contracts=contracts)
    chosen = settings.coordinator
    log.info(
        "coordinate_started", coordinator=chosen.name, entries=[each.rule for each in chosen.entries],
        contracts=contracts,
    )  # fmt: skip
    with reports.during(lambda: asdict(service.statistics())):
        if not stopping.is_set():
            await run_until(stopping, service.stop, service.catch_up() if once else service.run())
    log.info("coordinate_stopped", **asdict(service.statistics()))
