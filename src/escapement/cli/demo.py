"""``escapement demo``: a simulated gateway and all that trades on paper at it, ending by themselves."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from escapement import wiring
from escapement.cli import app, settings_of
from escapement.cli.ingest import stop_on_signals
from escapement.cli.run import RUNNABLE, leave, service, supervised
from escapement.cli.simulate import BARS_HELP, TRADES_HELP, replayed
from escapement.errors import EscapementError
from escapement.model import Action, Trade
from escapement.moments import iso_from_ns
from escapement.services.ingest import Ingestion
from escapement.services.supervise import Ready, Service, Supervisor, run_until
from escapement.settings import ContractSettings, DashboardSettings, DatabaseSettings, GatewaySettings, Settings
from escapement.simulator import Simulator, SimulatorConfig
from escapement.storage import DBHandler
from escapement.storage.analysis import AnalysisStore
from escapement.storage.coordination import CoordinationStore
from escapement.storage.execution import ExecutionStore
from escapement.web.process import serve_in_child

_SPEED = 3_600.0
_CHAIN = "ingest", "analyze", "coordinate", "execute"
_REFRESH_S = 0.25
# Orders stay so far behind the market that what is decided comes in time, also on a slow machine.
_DELAY_S = 4.0
_PLAIN: Any = {"box": None, "pad_edge": False, "padding": (0, 1, 0, 0)}
_NEWEST = 3  # so that all of it fits on a terminal of 24 lines
_EXAMPLE = "SELECT * FROM ohlc_bars ORDER BY timestamp DESC LIMIT 5"
_CHANGES = [str(action) for action in Action if action is not Action.HOLD]


@app.command()
def demo(
    context: typer.Context,
    trades: Annotated[list[Path] | None, typer.Option(help=TRADES_HELP)] = None,
    bars: Annotated[list[Path] | None, typer.Option(help=BARS_HELP)] = None,
    contract: Annotated[
        list[str] | None, typer.Option(help="Contract of a trades file without that column, or to invent a market of.")
    ] = None,
    speed: Annotated[
        float, typer.Option(help="Virtual seconds a second; 0 is as quick as possible, without orders.")
    ] = _SPEED,
    seed: Annotated[int, typer.Option(help="Seed of the invented session.")] = 1,
    calendar: Annotated[str | None, typer.Option(help="Trading sessions; else by product.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Go on serving the dashboard until Ctrl-C.")] = False,
) -> None:
    """Stream a session from a simulated gateway to bars, signals, decisions and orders on paper."""
    settings = settings_of(context, logging={"level": "error"})
    stream = replayed(trades or [], bars or [], contract or [], "2025-03-17", 15.0, seed, calendar)
    contracts = sorted({trade.contract_id for trade in stream})
    listeners = 2 if speed else 1  # ingestion and execution: nobody shall miss the beginning
    config = SimulatorConfig(contracts, speed=speed or None, audience="always", listeners=listeners, calendar=calendar)
    asyncio.run(_demo(settings, config, stream, keep=keep))


async def _demo(settings: Settings, config: SimulatorConfig, stream: list[Trade], *, keep: bool) -> None:
    left_behind: list[str] = []
    try:
        await _traded(settings, config, stream, left_behind, keep=keep)
    finally:
        leave(left_behind)


async def _traded(
    settings: Settings, config: SimulatorConfig, stream: list[Trade], left_behind: list[str], *, keep: bool
) -> None:
    async with Simulator(config, stream) as simulator:
        own = _pointed_at(simulator, settings, config)
        # State is not kept: the next demonstration begins with the same session again.
        async with (
            wiring.database(own) as database,
            wiring.ingestion(own, database, state_name=None) as ingestion,
            _dashboard(own) as shown,
            supervised(own, _services(own, ingestion), left_behind) as supervisor,
        ):
            stopping = asyncio.Event()

            def stop() -> None:
                supervisor.stop()
                stopping.set()

            stop_on_signals(stop)
            seen = await _Seen.of(database, own)
            started = time.monotonic()
            beside = [
                asyncio.create_task(_stop_at_end(simulator, ingestion, supervisor)),
                asyncio.create_task(_show(simulator, ingestion, database, own)),
            ]
            try:
                await supervisor.run()
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
            await _summarize(database, ingestion, own, seen, time.monotonic() - started)
            if keep and not stopping.is_set():
                typer.echo("The dashboard goes on until Ctrl-C.")
                stopped = asyncio.create_task(stopping.wait())
                await asyncio.wait((stopped, shown), return_when=asyncio.FIRST_COMPLETED)
                stopped.cancel()


def _services(settings: Settings, ingestion: Ingestion) -> list[Service]:
    """Return what `run` would start, but ingestion that shows and ends here, and orders that are given their time."""

    async def ingest(stopping: asyncio.Event, ready: Ready) -> None:
        ready(lambda: asdict(ingestion.statistics()))
        await run_until(stopping, ingestion.stop, ingestion.run())

    async def execute(stopping: asyncio.Event, ready: Ready) -> None:
        ending = asyncio.Event()
        trading = asyncio.ensure_future(RUNNABLE["execute"].serve(settings, ending, ready))
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait((stopped, trading), return_when=asyncio.FIRST_COMPLETED)
        if not trading.done():
            await asyncio.wait((trading,), timeout=settings.execution.paper_delay_seconds)
        ending.set()
        stopped.cancel()
        await trading

    beside = [service(settings, name) for name in ("analyze", "coordinate")]
    orders = [Service("execute", execute)] if "execute" in settings.run.services else []
    return [Service("ingest", ingest), *beside, *orders]


@asynccontextmanager
async def _dashboard(settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    """Serve the dashboard meanwhile, for this machine; the demonstration does not hang on it."""
    stopping = asyncio.Event()

    async def serve() -> None:
        try:
            await serve_in_child(settings, stopping, _say_where)
        except EscapementError as error:
            typer.echo(f"no dashboard: {error}", err=True)

    serving = asyncio.create_task(serve(), name="dashboard")
    try:
        yield serving
    finally:
        stopping.set()
        await serving


def _say_where(address: str) -> None:
    # Rich puts what is printed above what it shows live; what typer echoes it does not see.
    print(f"dashboard: {address}", flush=True)  # noqa: T201


def _dashboard_here(chosen: DashboardSettings) -> DashboardSettings:
    """Return settings of a dashboard for this machine alone, on another port where the chosen one is taken."""
    here = {"host": "127.0.0.1", "names": (), "proxies": ()}
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", chosen.port))
        except OSError:
            return chosen.model_copy(update={**here, "port": 0})
    return chosen.model_copy(update=here)


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
            "dashboard": _dashboard_here(settings.dashboard),
            "contracts": tuple(ContractSettings(id=each, calendar=config.calendar) for each in config.contract_ids),
            "products": (),
            "ingest": settings.ingest.model_copy(update={"clock": "stream"}),
            "execution": settings.execution.model_copy(
                update={
                    "mode": "paper",
                    "account": None,
                    "paper_delay_seconds": _DELAY_S,
                    "paper_account": f"demo-{iso_from_ns(simulator.progress.now_ns)[:10]}",
                }
            ),
            # It ends flat: the next demonstration begins with the past, which would trade what is left.
            "risk": settings.risk.model_copy(update={"no_entries_minutes": 30, "flatten_minutes": 10}),
            "run": settings.run.model_copy(update={"services": _CHAIN if config.speed else _CHAIN[:3]}),
            "analyzers": settings.analyzers.model_copy(
                update={"run": tuple(each.model_copy(update={"contracts": ()}) for each in settings.analyzers.run)}
            ),
        }
    )


async def _stop_at_end(simulator: Simulator, ingestion: Ingestion, supervisor: Supervisor) -> None:
    await simulator.finished.wait()
    while ingestion.statistics().venue_time_ns < simulator.end_ns:  # noqa: ASYNC110 - an event would cost each trade
        await asyncio.sleep(0.02)
    supervisor.stop()


async def _show(simulator: Simulator, ingestion: Ingestion, database: DBHandler, settings: Settings) -> None:
    console = Console(stderr=True)
    if not console.is_terminal:
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            newest = await _newest(database, settings)
            live.update(Group(_table(simulator, ingestion, settings), *newest), refresh=True)
            await asyncio.sleep(_REFRESH_S)


async def _newest(database: DBHandler, settings: Settings) -> list[Table]:
    mine = [contract.id for contract in settings.contracts]
    signals = Table("known at", "contract", "timeframe", "signal", "price", title="newest signals", **_PLAIN)
    for each in await AnalysisStore(database).signals(contracts=mine, most=_NEWEST):
        signals.add_row(
            iso_from_ns(each.known_at_ns)[5:16].replace("T", " "), each.key.contract_id, str(each.key.timeframe),
            each.signal_type, f"{each.price:,.15g}",
        )  # fmt: skip
    decisions = Table("known at", "contract", "decision", "price", "by", title="newest decisions", **_PLAIN)
    for decided in await CoordinationStore(database).decisions(contracts=mine, actions=_CHANGES, most=_NEWEST):
        decisions.add_row(
            iso_from_ns(decided.known_at_ns)[5:16].replace("T", " "), decided.contract_id,
            decided.action.replace("_", " "), f"{decided.price:,.15g}", decided.rule,
        )  # fmt: skip
    return [signals, decisions]


def _table(simulator: Simulator, ingestion: Ingestion, settings: Settings) -> Table:
    counts = ingestion.statistics()
    title = f"{iso_from_ns(simulator.progress.now_ns)[:19]}Z   {counts.trades:,} trades   {counts.bars:,} bars"
    table = Table("contract", "bar", "start", "open", "high", "low", "close", "volume", title=title, **_PLAIN)
    for contract in settings.contracts:
        for timeframe in settings.timeframes:
            bar = ingestion.forming(contract.id, timeframe) or ingestion.latest(contract.id, timeframe)
            if bar is not None:
                prices = (f"{price:,.15g}" for price in (bar.open, bar.high, bar.low, bar.close))
                start = iso_from_ns(bar.start_ns)[slice(11, 16) if timeframe.is_intraday else slice(5, 10)]
                table.add_row(contract.id, str(timeframe), start, *prices, f"{bar.volume:,}")
    return table


@dataclass(frozen=True, slots=True)
class _Seen:
    """How many signals and decisions are stored."""

    signals: Counter[str]
    decisions: Counter[str]

    @classmethod
    async def of(cls, database: DBHandler, settings: Settings) -> Self:
        """Count those of the settings' contracts."""
        mine = [contract.id for contract in settings.contracts]
        return cls(
            Counter(each.signal_type for each in await AnalysisStore(database).signals(contracts=mine)),
            Counter(each.action for each in await CoordinationStore(database).decisions(contracts=mine)),
        )


async def _summarize(
    database: DBHandler, ingestion: Ingestion, settings: Settings, before: _Seen, seconds: float
) -> None:
    counts = ingestion.statistics()
    typer.echo(
        f"{counts.trades:,} trades became {counts.bars:,} bars in {seconds:.1f} s; {counts.bars_new:,} were new in the "
        f"database, {counts.late} trades were late, {counts.refused} refused."
    )
    mine = [contract.id for contract in settings.contracts]
    for series in await database.series():
        if series.contract_id in mine:
            typer.echo(
                f"  {series.contract_id:24} {series.timeframe!s:>4} {series.bars:7,} bars  "
                f"{series.first:%Y-%m-%d %H:%M}Z to {series.last:%Y-%m-%d %H:%M}Z"
            )
    after = await _Seen.of(database, settings)
    typer.echo(f"{_counted('signals', after.signals, before.signals)}")
    typer.echo(f"{_counted('decisions', after.decisions, before.decisions)} The newest that changed a position:")
    newest = await CoordinationStore(database).decisions(contracts=mine, actions=_CHANGES, most=_NEWEST)
    for each in newest:
        typer.echo(f"  {iso_from_ns(each.known_at_ns)} {each.contract_id:24} {each.words}")
    typer.echo(f"Stored in tables of the embedded PostgreSQL in {settings.data_dir / 'postgres'}.")
    typer.echo(f'Look at bars: {_program()} db query "{_EXAMPLE}"')
    await _summarize_account(database, settings)
    if newest:
        typer.echo(f"Ask for reasons: {_program()} decisions why {newest[-1].decision_id[:12]}")


async def _summarize_account(database: DBHandler, settings: Settings) -> None:
    account, store = settings.execution.paper_account, ExecutionStore(database)
    kept, days = await store.account(account), await store.days(account)
    if kept is None or not days:
        typer.echo("Nothing was traded: orders need a speed that they can follow, such as --speed 3600.")
        return
    typer.echo(
        f"{len(await store.fills(account)):,} fills on paper; the account began with {kept.start_balance:,.2f} and has "
        f"{days[-1].equity:,.2f}: {_program()} pnl --account {account}"
    )


def _program() -> str:
    """Return how this program was called, for commands to type next."""
    return sys.argv[0] if Path(sys.argv[0]).name == "escapement" else "escapement"


def _counted(what: str, after: Counter[str], before: Counter[str]) -> str:
    kinds = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in sorted(after.items()))
    new = after.total() - before.total()
    return f"{after.total():,} {what} ({kinds or 'none'}), {new:,} of them new."
