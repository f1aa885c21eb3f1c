"""``escapement ingest``: trades from the gateway to bars in the database, until stopped."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import structlog
import typer

from escapement import wiring
from escapement.cli import app, settings_of
from escapement.settings import Settings

log = structlog.get_logger(service="ingest")


@app.command()
def ingest(context: typer.Context) -> None:
    """Store bars of the configured contracts and timeframes until SIGTERM or Ctrl-C."""
    settings = settings_of(context)
    # Refuse before a database is started for nothing.
    wiring.gateway_params(settings)
    wiring.contract_calendars(settings.contracts)
    asyncio.run(_ingest(settings))


async def _ingest(settings: Settings) -> None:
    async with wiring.database(settings) as database, wiring.ingestion(settings, database) as ingestion:
        stop_on_signals(ingestion.stop)
        log.info("ingest_started", contracts=[c.id for c in settings.contracts], timeframes=settings.timeframes)
        await ingestion.run()
        statistics = ingestion.statistics()
        log.info("ingest_stopped", trades=statistics.trades, late=statistics.late, refused=statistics.refused,
                 bars=statistics.bars, bars_new=statistics.bars_new)  # fmt: skip


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call ``stop`` on SIGTERM and SIGINT in the running event loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
