"""``escapement simulate`` as a program: files, faults, load, and its end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from typer.testing import CliRunner

from escapement.calendars import calendar_for_contract
from escapement.cli import app
from escapement.csvfiles import read_bars, read_trades
from escapement.errors import ConfigurationError
from escapement.simulator import contract_facts
from simulated import MES, SEPARATOR, Json, as_sent, as_trades

ES = "CON.F.US.EP.H24"
LOGIN = {"userName": "demo", "apiKey": "demo-key-0001"}


@asynccontextmanager
async def simulate(folder: Path, *arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Json]]:
    """The program and what it says of itself."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ESCAPEMENT_", "DATABASE_"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "escapement", "simulate", "--port", "0", "--json", *arguments,
        cwd=folder, env=plain, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        yield process, json.loads(line) if line else {}
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def trades_of(venue: Json, count: int, *, quotes: bool = False) -> list[Json]:
    """The first ``count`` trades of all its contracts."""
    received: list[Json] = []
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{venue['api_url']}/api/Auth/loginKey", json=LOGIN) as response:
            token = (await response.json())["token"]
        async with session.ws_connect(
            venue["market_hub_url"], params={"access_token": token}, max_msg_size=0
        ) as socket:
            await socket.send_str('{"protocol":"json","version":1}' + SEPARATOR)
            for contract_id in venue["contracts"]:
                for kind in ("Trades", "Quotes") if quotes else ("Trades",):
                    call = {"type": 1, "target": f"SubscribeContract{kind}", "arguments": [contract_id]}
                    await socket.send_str(json.dumps(call) + SEPARATOR)
            while len(received) < count:
                for part in (await socket.receive_str()).split(SEPARATOR):
                    record = json.loads(part) if part else {}
                    received += record["arguments"][1] if record.get("target") == "GatewayTrade" else []
    return received


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_where_it_is_and_ends_in_good_order(tmp_path: Path, number: signal.Signals) -> None:
    state = tmp_path / "venue.json"
    async with simulate(tmp_path, "--contract", MES, "--speed", "0", "--no-wait", "--state", str(state)) as (
        process,
        venue,
    ):
        assert venue["contracts"] == [MES]
        assert (venue["users"], venue["accounts"]) == (["demo"], [1001])
        assert venue["begin"] == "2025-03-16T22:00:00Z"
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", venue["api_url"])
        process.send_signal(number)
        _, errors = await process.communicate()
        assert process.returncode == 0, errors
        assert b"Traceback" not in errors
        assert json.loads(state.read_bytes())["version"] == 1


@pytest.mark.shared
async def test_real_trades_come_through_exactly(tmp_path: Path, shared: Path) -> None:
    file = shared / "data" / "es_h24_trades_20231225.csv"
    trades = sorted(read_trades(file, ES), key=lambda trade: trade.at_ns)
    async with simulate(tmp_path, "--trades", str(file), "--contract", ES, "--speed", "0") as (_, venue):
        assert as_trades(await trades_of(venue, len(trades))) == as_sent(trades)


@pytest.mark.shared
async def test_real_bars_come_back_from_history_as_they_were(tmp_path: Path, shared: Path) -> None:
    file = shared / "data" / "mes_m25_5m.csv"
    bars = list(read_bars(file, calendar_for_contract))
    wanted = {
        "contractId": MES, "live": False, "startTime": "2025-03-01T00:00:00Z", "endTime": "2025-06-01T00:00:00Z",
        "unit": 2, "unitNumber": 5, "limit": 20_000, "includePartialBar": False,
    }  # fmt: skip
    replay = simulate(tmp_path, "--bars", str(file), "--speed", "0", "--no-wait")
    async with replay as (_, venue), aiohttp.ClientSession(venue["api_url"]) as session:
        async with session.post("/api/Auth/loginKey", json=LOGIN) as response:
            headers = {"Authorization": f"Bearer {(await response.json())['token']}"}

        async def finished() -> bool:
            async with session.post("/simulator/status", json={}) as response:
                return bool((await response.json())["finished"])

        async with asyncio.timeout(60):
            while not await finished():  # noqa: ASYNC110 - another program's state has no event here
                await asyncio.sleep(0.05)
        async with session.post("/api/History/retrieveBars", json=wanted, headers=headers) as response:
            served = (await response.json())["bars"]
    assert [(bar["o"], bar["h"], bar["l"], bar["c"], bar["v"]) for bar in reversed(served)] == [
        (bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars
    ]


async def test_a_hundred_busy_contracts_are_served_without_loss_or_growth(tmp_path: Path) -> None:
    # 200 trades a second each, for six seconds here; make soak takes a minute of it.
    ids = [
        f"CON.F.US.{code}.{month}{year}"
        for code in ("MES", "MNQ", "M2K", "MYM", "MGC")
        for month in "HMUZ"
        for year in range(25, 30)
    ]
    many = [part for contract_id in ids for part in ("--contract", contract_id)]
    async with simulate(tmp_path, *many, "--per-minute", "12000", "--speed", "1") as (process, venue):
        memory = psutil.Process(process.pid).memory_info
        warm = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(3.0, lambda: warm.set_result(memory().rss))
        trades = await trades_of(venue, 120_000, quotes=True)
        grown = memory().rss - await warm
    assert grown < 20_000_000, f"{grown / 1e6:.0f} MB more"
    by_contract: dict[str, list[str]] = {}
    for trade in trades:
        by_contract.setdefault(trade["contractId"], []).append(trade["timestamp"])
    assert len(by_contract) == 100
    assert all(stamps == sorted(stamps) for stamps in by_contract.values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fault", "earthquake"], "fault 'earthquake' is unknown"),
        (["--fault", "freeze:when=3"], "when"),
        (["--day", "2025-12-25"], "is no trade date"),
        (["--day", "soon"], "is no date"),
        (["--per-minute", "0"], "--per-minute"),
        (["--trades", "none.csv"], "none.csv"),
        (["--bars", "none.csv"], "none.csv"),
        (["--contract", "CON.F.US.XX.M25"], "is of no known product"),
        (["--speed", "-1"], "speed"),
        (["--begin", "noon"], "noon"),
        (["--scenario", "none.yaml"], "none.yaml"),
        (["--contract", MES, "--tick-size", "wide"], "--tick-size 'wide'"),
        (["--state", "/dev/null/x"], "state file"),
    ],
)
def test_what_cannot_be_used_is_named(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["simulate", "--port", "0", *arguments])
    assert isinstance(result.exception, ConfigurationError), result.output
    assert said in str(result.exception)


async def test_what_cannot_be_used_ends_it_with_code_2(tmp_path: Path) -> None:
    async with simulate(tmp_path, "--fault", "earthquake") as (process, _):
        _, errors = await process.communicate()
    assert errors.decode().startswith("error: fault: fault 'earthquake' is unknown; use one of missed_trades")
    assert process.returncode == 2


async def test_unknown_products_trade_with_a_calendar_and_a_tick(tmp_path: Path) -> None:
    file = tmp_path / "trades.csv"
    file.write_text("timestamp,price,volume\n2025-03-17T13:30:00Z,17.125,3\n")
    own = ["--trades", str(file), "--contract", "CON.F.US.XX.M25", "--calendar", "cme_equity"]
    async with simulate(tmp_path, *own, "--tick-size", "0.125", "--tick-value", "12.5", "--no-wait") as (_, venue):
        assert venue["contracts"] == ["CON.F.US.XX.M25"]


def test_well_known_contracts_are_described() -> None:
    facts: Any = contract_facts("CON.F.US.EP.U26")
    assert (facts.name, facts.description, str(facts.tick_size), str(facts.tick_value), facts.symbol_id) == (
        "ESU6", "E-Mini S&P 500: September 2026", "0.25", "12.50", "F.US.EP",
    )  # fmt: skip
