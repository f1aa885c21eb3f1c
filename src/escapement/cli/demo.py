"""``escapement demo``: simulator, ingestion and embedded database together, ending by itself."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from escapement import wiring
from escapement.cli import app, settings_of
from escapement.cli.ingest import stop_on_signals
from escapement.cli.simulate import BARS_HELP, TRADES_HELP, replayed
from escapement.model import Trade
from escapement.moments import iso_from_ns
from escapement.services.ingest import Ingestion
from escapement.settings import ContractSettings, DatabaseSettings, GatewaySettings, Settings
from escapement.simulator import Simulator, SimulatorConfig
from escapement.storage import DBHandler

_REFRESH_S = 0.25


@app.command()
def demo(
    context: typer.Context,
    trades: Annotated[list[Path] | None, typer.Option(help=TRADES_HELP)] = None,
    bars: Annotated[list[Path] | None, typer.Option(help=BARS_HELP)] = None,
    contract: Annotated[
        list[str] | None, typer.Option(help="Contract of a trades file without that column, or to invent a market of.")
    ] = None,
    speed: Annotated[float, typer.Option(help="Virtual seconds a second; 0 is as quick as possible.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the invented session.")] = 1,
    calendar: Annotated[str | None, typer.Option(help="Trading sessions; else by product.")] = None,
) -> None:
    """Stream a session from a simulated gateway into the embedded database; --trades and --bars replay files."""
    settings = settings_of(context, logging={"level": "warning"})
    stream = replayed(trades or [], bars or [], contract or [], "2025-03-17", 15.0, seed, calendar)
    contracts = sorted({trade.contract_id for trade in stream})
    config = SimulatorConfig(contracts, speed=speed or None, audience="always", calendar=calendar)
    asyncio.run(_demo(settings, config, stream))


async def _demo(settings: Settings, config: SimulatorConfig, stream: list[Trade]) -> None:
    async with Simulator(config, stream) as simulator:
        own = _pointed_at(simulator, settings, config)
        # State is not kept: the next demonstration begins with the same session again.
        async with wiring.database(own) as database, wiring.ingestion(own, database, state_name=None) as ingestion:
            stop_on_signals(ingestion.stop)
            started = time.monotonic()
            beside = [
                asyncio.create_task(_stop_at_end(simulator, ingestion)),
                asyncio.create_task(_show(simulator, ingestion, own)),
            ]
            try:
                await ingestion.run()
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
            await _summarize(database, ingestion, own, time.monotonic() - started)


def _pointed_at(simulator: Simulator, settings: Settings, config: SimulatorConfig) -> Settings:
    """Return the settings with the simulator as gateway and the embedded database, whatever they named before."""
    user, key = next(iter(config.users.items()))
    gateway = GatewaySettings(
        api_url=simulator.base_url, market_hub_url=simulator.market_hub_url, user_hub_url=simulator.user_hub_url,
        user_name=user, api_key=key,
    )  # fmt: skip
    return settings.model_copy(
        update={
            "gateway": gateway,
            "database": DatabaseSettings(),
            "contracts": [ContractSettings(id=each, calendar=config.calendar) for each in config.contract_ids],
            "ingest": settings.ingest.model_copy(update={"clock": "stream"}),
        }
    )


async def _stop_at_end(simulator: Simulator, ingestion: Ingestion) -> None:
    await simulator.finished.wait()
    while ingestion.statistics().venue_time_ns < simulator.end_ns:  # noqa: ASYNC110 - an event would cost each trade
        await asyncio.sleep(0.02)
    ingestion.stop()


async def _show(simulator: Simulator, ingestion: Ingestion, settings: Settings) -> None:
    console = Console(stderr=True)
    if not console.is_terminal:
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(_table(simulator, ingestion, settings), refresh=True)
            await asyncio.sleep(_REFRESH_S)


def _table(simulator: Simulator, ingestion: Ingestion, settings: Settings) -> Table:
    counts = ingestion.statistics()
    title = f"{iso_from_ns(simulator.progress.now_ns)[:19]}Z   {counts.trades:,} trades   {counts.bars:,} bars"
    table = Table("contract", "bar", "start", "open", "high", "low", "close", "volume", title=title)
    for contract in settings.contracts:
        for timeframe in settings.timeframes:
            bar = ingestion.forming(contract.id, timeframe) or ingestion.latest(contract.id, timeframe)
            if bar is not None:
                prices = (f"{price:,.15g}" for price in (bar.open, bar.high, bar.low, bar.close))
                start = iso_from_ns(bar.start_ns)[5:16].replace("T", " ")
                table.add_row(contract.id, str(timeframe), start, *prices, f"{bar.volume:,}")
    return table


async def _summarize(database: DBHandler, ingestion: Ingestion, settings: Settings, seconds: float) -> None:
    counts = ingestion.statistics()
    typer.echo(
        f"{counts.trades:,} trades became {counts.bars:,} bars in {seconds:.1f} s; {counts.bars_new:,} were new in the "
        f"database, {counts.late} trades were late, {counts.refused} refused."
    )
    mine = {contract.id for contract in settings.contracts}
    for series in await database.series():
        if series.contract_id in mine:
            typer.echo(
                f"  {series.contract_id:24} {series.timeframe!s:>4} {series.bars:7,} bars  "
                f"{series.first:%Y-%m-%d %H:%M}Z to {series.last:%Y-%m-%d %H:%M}Z"
            )
    typer.echo(f"Stored in table ohlc_bars of the embedded PostgreSQL in {settings.data_dir / 'postgres'}.")
    typer.echo('Look at them: escapement db query "SELECT * FROM ohlc_bars ORDER BY timestamp DESC LIMIT 5"')
