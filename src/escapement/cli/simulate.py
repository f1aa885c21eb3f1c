"""``escapement simulate``: a ProjectX gateway on this machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.console import Console

from escapement.cli import app, settings_of
from escapement.cli.ingest import stop_on_signals
from escapement.errors import InvalidInput
from escapement.model import Contract, Trade
from escapement.moments import iso_from_ns, ns_from_datetime, ns_from_iso
from escapement.simulator import (
    RecordedTape,
    Simulator,
    SimulatorConfig,
    contract_facts,
    merged,
    synthetic_trades,
    trades_from_bar_file,
    trades_from_file,
)
from escapement.simulator.scenario import Scenario, fault_from_text, read_scenario

TRADES_HELP = "CSV of trades to replay; may be given several times."
BARS_HELP = "CSV of bars to replay as trades that rebuild them; may be given several times."
RECORDING_HELP = "Recording of a market hub to replay, or a folder of them; may be given several times."
_REFRESH_S = 0.5


@dataclass(frozen=True, slots=True)
class Tape:
    """What is replayed: trades in order of time, and of which contracts."""

    contract_ids: Sequence[str]
    trades: Iterable[Trade]


@app.command()
def simulate(
    context: typer.Context,
    trades: Annotated[list[Path] | None, typer.Option(help=TRADES_HELP)] = None,
    bars: Annotated[list[Path] | None, typer.Option(help=BARS_HELP)] = None,
    recording: Annotated[list[Path] | None, typer.Option(help=RECORDING_HELP)] = None,
    contract: Annotated[
        list[str] | None,
        typer.Option(
            help="Contract of a trades file without that column, to take from a recording, or to invent a market of."
        ),
    ] = None,
    day: Annotated[str, typer.Option(help="Trade date of an invented session.")] = "2025-03-17",
    per_minute: Annotated[float, typer.Option(help="Trades a minute of an invented contract.")] = 60.0,
    seed: Annotated[int | None, typer.Option(help="Seed of an invented session and of faults.")] = None,
    speed: Annotated[float, typer.Option(help="Virtual seconds a second; 0 is as quick as the clients take it.")] = 1.0,
    begin: Annotated[
        str | None, typer.Option(help="Where to begin, such as 2025-03-17T13:30:00Z; what is before is history.")
    ] = None,
    calendar: Annotated[str | None, typer.Option(help="Trading sessions; else by product.")] = None,
    tick_size: Annotated[str | None, typer.Option(help="Tick of contracts that are not well known, in points.")] = None,
    tick_value: Annotated[str, typer.Option(help="What a tick of those is worth, in account money.")] = "1",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8765,
    user: Annotated[str, typer.Option(help="User name that may log in, unless the scenario names users.")] = "demo",
    api_key: Annotated[
        str, typer.Option(help="That user's API key; it opens nothing but this simulator.")
    ] = "demo-key-0001",
    wait: Annotated[bool, typer.Option(help="Begin when somebody has subscribed to trades.")] = True,
    scenario: Annotated[Path | None, typer.Option(help="YAML of users, accounts, fills, rules and faults.")] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="What goes wrong, such as freeze:after_s=60,seconds=20; several times.")
    ] = None,
    state: Annotated[Path | None, typer.Option(help="File that keeps accounts, orders and clock between runs.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print URLs and contracts as one line of JSON.")] = False,
) -> None:
    """Replay real or invented trades through a gateway on localhost, until Ctrl-C."""
    settings_of(context)
    told = read_scenario(scenario) if scenario is not None else Scenario()
    chosen_seed = told.seed if seed is None else seed
    if recording:
        if trades or bars:
            raise InvalidInput("--recording is replayed alone; leave --trades and --bars out")
        tape = _recorded(recording, contract or [])
    else:
        tape = _tape(trades or [], bars or [], contract or [], day, per_minute, chosen_seed, calendar)
    config = SimulatorConfig(
        contract_ids=tape.contract_ids,
        users=told.users or {user: SecretStr(api_key)},
        accounts=told.accounts,
        contracts=[*told.contracts, *_contracts(tape.contract_ids, tick_size, tick_value)],
        host=host,
        port=port,
        speed=speed or None,
        audience="start" if wait else "ignore",
        settle_s=2.0,
        begin_ns=None if begin is None else ns_from_iso(begin),
        calendar=calendar,
        front_since_ns={each: ns_from_datetime(since) for each, since in told.front_since.items()},
        fills=told.fills,
        rules=told.rules,
        faults=[*told.faults, *map(fault_from_text, fault or [])],
        seed=chosen_seed,
        state_file=state,
    )
    asyncio.run(_simulate(config, tape, as_json=json_output))


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
    return list(_tape(trade_files, bar_files, contracts, day, per_minute, seed, calendar).trades)


def _tape(
    trade_files: list[Path],
    bar_files: list[Path],
    contracts: list[str],
    day: str,
    per_minute: float,
    seed: int,
    calendar: str | None,
) -> Tape:
    named = contracts[0] if contracts else None
    streams = [trades_from_file(path, named) for path in trade_files]
    streams += [trades_from_bar_file(path, calendar) for path in bar_files]
    if streams:
        contract_ids = sorted({trade.contract_id for stream in streams for trade in stream})
        if not contract_ids:
            raise InvalidInput(f"{', '.join(map(str, trade_files + bar_files))}: no rows after the first line")
        return Tape(contract_ids, merged(streams))
    try:
        trade_date = date.fromisoformat(day)
    except ValueError:
        raise InvalidInput(f"--day {day!r} is no date; write for example 2025-03-17") from None
    if per_minute <= 0:
        raise InvalidInput(f"--per-minute {per_minute} is not positive")
    chosen = contracts or ["CON.F.US.MES.DEMO", "CON.F.US.MNQ.DEMO"]
    return Tape(chosen, synthetic_trades(chosen, trade_date, seed=seed, per_minute=per_minute, calendar=calendar))


def _recorded(paths: list[Path], contracts: list[str]) -> Tape:
    """Return the tape of recordings, and say on standard error what in them cannot be replayed."""
    recorded = RecordedTape(paths, contracts)
    with Console(stderr=True).status("reading recordings"):
        survey = recorded.survey()
    for note in survey.notes:
        typer.echo(f"note: {note}", err=True)
    if survey.unnoted:
        typer.echo(f"note: and {survey.unnoted:,} more", err=True)
    missing = [contract_id for contract_id in contracts if contract_id not in survey.trades]
    if missing or not survey.trades:
        names = ", ".join(map(str, paths))
        raise InvalidInput(f"{names}: no trades{' of ' + ', '.join(missing) if missing else ''} in the recordings")
    return Tape(sorted(survey.trades), recorded.trades())


def _contracts(contract_ids: Sequence[str], tick_size: str | None, tick_value: str) -> list[Contract]:
    """Return facts of the contracts that are not well known, where a tick is given for them."""
    if tick_size is None:
        return []
    size, value = _decimal("--tick-size", tick_size), _decimal("--tick-value", tick_value)
    return [contract_facts(each, tick_size=size, tick_value=value) for each in contract_ids]


def _decimal(option: str, text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal(0)
    if not number.is_finite() or number <= 0:
        raise InvalidInput(f"{option} {text!r} is not a positive number; write for example 0.25")
    return number


async def _simulate(config: SimulatorConfig, tape: Tape, *, as_json: bool) -> None:
    stopped = asyncio.Event()
    stop_on_signals(stopped.set)
    async with Simulator(config, tape.trades) as simulator:
        _introduce(simulator, config, as_json=as_json)
        stopping = asyncio.create_task(stopped.wait())
        ending = asyncio.create_task(simulator.finished.wait())
        showing = asyncio.create_task(_show(simulator))
        await asyncio.wait((stopping, ending), return_when=asyncio.FIRST_COMPLETED)
        showing.cancel()
        if simulator.finished.is_set() and not simulator.has_failed:
            typer.echo(f"replayed {simulator.progress.trades:,} trades; stays up until Ctrl-C", err=as_json)
            await stopping
        for task in (stopping, ending):
            task.cancel()


def _introduce(simulator: Simulator, config: SimulatorConfig, *, as_json: bool) -> None:
    lines = {
        "api_url": simulator.base_url, "market_hub_url": simulator.market_hub_url,
        "user_hub_url": simulator.user_hub_url, "users": list(config.users),
        "accounts": [account.account_id for account in config.account_specs()],
        "contracts": list(config.contract_ids), "begin": iso_from_ns(simulator.now_ns),
    }  # fmt: skip
    if as_json:
        typer.echo(json.dumps(lines))
        return
    for name, value in lines.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        typer.echo(f"{name.replace('_', ' '):15} {text}")


async def _show(simulator: Simulator) -> None:
    """Keep a line of progress on a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return
    with console.status("") as status:
        while True:
            status.update(f"{iso_from_ns(simulator.now_ns)[:19]}Z   {simulator.progress.trades:,} trades")
            await asyncio.sleep(_REFRESH_S)
