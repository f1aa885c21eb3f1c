"""``escapement simulate``: a ProjectX gateway on this machine."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from escapement.cli import app, settings_of
from escapement.cli.ingest import stop_on_signals
from escapement.errors import InvalidInput
from escapement.model import Trade
from escapement.moments import iso_from_ns
from escapement.simulator import (
    Simulator,
    SimulatorConfig,
    merged,
    synthetic_trades,
    trades_from_bar_file,
    trades_from_file,
)

TRADES_HELP = "CSV of trades to replay; may be given several times."
BARS_HELP = "CSV of bars to replay as trades that rebuild them; may be given several times."


@app.command()
def simulate(
    context: typer.Context,
    trades: Annotated[list[Path] | None, typer.Option(help=TRADES_HELP)] = None,
    bars: Annotated[list[Path] | None, typer.Option(help=BARS_HELP)] = None,
    contract: Annotated[
        list[str] | None, typer.Option(help="Contract of a trades file without that column, or to invent a market of.")
    ] = None,
    day: Annotated[str, typer.Option(help="Trade date of an invented session.")] = "2025-03-17",
    per_minute: Annotated[float, typer.Option(help="Trades a minute of an invented contract.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Seed of an invented session.")] = 1,
    speed: Annotated[float, typer.Option(help="Virtual seconds a second; 0 is as quick as the clients take it.")] = 1.0,
    calendar: Annotated[str | None, typer.Option(help="Trading sessions; else by product.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8765,
    user: Annotated[str, typer.Option(help="User name that may log in.")] = "demo",
    api_key: Annotated[
        str, typer.Option(help="That user's API key; it opens nothing but this simulator.")
    ] = "demo-key-0001",
    wait: Annotated[bool, typer.Option(help="Begin when every contract has a subscriber.")] = True,
) -> None:
    """Replay real or invented trades through a gateway on localhost, until Ctrl-C."""
    settings_of(context)
    stream = replayed(trades or [], bars or [], contract or [], day, per_minute, seed, calendar)
    config = SimulatorConfig(
        contract_ids=sorted({trade.contract_id for trade in stream}),
        users={user: SecretStr(api_key)},
        host=host,
        port=port,
        speed=speed or None,
        audience="start" if wait else "ignore",
        calendar=calendar,
    )
    asyncio.run(_simulate(config, stream))


def replayed(
    trade_files: list[Path],
    bar_files: list[Path],
    contracts: list[str],
    day: str,
    per_minute: float,
    seed: int,
    calendar: str | None,
) -> list[Trade]:
    """Return the trades to replay, in order of time.

    Raises:
        InvalidInput: a file or argument cannot be used.
    """
    named = contracts[0] if contracts else None
    streams = [trades_from_file(path, named) for path in trade_files]
    streams += [trades_from_bar_file(path, calendar) for path in bar_files]
    if streams:
        return list(merged(streams))
    try:
        trade_date = date.fromisoformat(day)
    except ValueError:
        raise InvalidInput(f"--day {day!r} is no date; write for example 2025-03-17") from None
    if per_minute <= 0:
        raise InvalidInput(f"--per-minute {per_minute} is not positive")
    chosen = contracts or ["CON.F.US.MES.DEMO", "CON.F.US.MNQ.DEMO"]
    return list(synthetic_trades(chosen, trade_date, seed=seed, per_minute=per_minute, calendar=calendar))


async def _simulate(config: SimulatorConfig, stream: list[Trade]) -> None:
    stopped = asyncio.Event()
    stop_on_signals(stopped.set)
    async with Simulator(config, stream) as simulator:
        typer.echo(f"API         {simulator.base_url}")
        typer.echo(f"market hub  {simulator.market_hub_url}")
        typer.echo(f"user hub    {simulator.user_hub_url}")
        typer.echo(f"contracts   {', '.join(config.contract_ids)}")
        typer.echo(f"{len(stream):,} trades from {iso_from_ns(stream[0].at_ns)} to {iso_from_ns(stream[-1].at_ns)}")
        waiting = [asyncio.create_task(stopped.wait()), asyncio.create_task(simulator.finished.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if simulator.finished.is_set():
            typer.echo(f"replayed {simulator.progress.trades:,} trades; stays up until Ctrl-C")
            await stopped.wait()
        for task in waiting:
            task.cancel()
