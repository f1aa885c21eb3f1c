"""``escapement history download`` as users run it: killed and run again, with contracts the venue does not have."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import orjson
import pytest

from escapement.calendars import calendar
from escapement.core.aggregation.columns import TradeColumns, aggregate_trades
from escapement.model import NS_PER_SECOND, Timeframe, Trade
from escapement.moments import datetime_from_ns, iso_from_ns, ns_from_datetime
from escapement.simulator import Fault, Simulator, SimulatorConfig
from simulated import MES

GONE = "CON.F.US.MES.H20"
CALENDAR = calendar("cme_equity")
SESSIONS = [each for each in CALENDAR.sessions if date(2025, 3, 3) <= each.trade_date <= date(2025, 3, 21)]
TIMEFRAMES = [Timeframe.parse(text) for text in ("1m", "5m", "4h", "1d", "1w")]
SPAN = ["--from", "2025-03-03", "--to", "2025-03-21"]
MINUTE_NS = 60 * NS_PER_SECOND


def closes() -> list[Trade]:
    """One trade a minute."""
    chance = random.Random(7)
    trades, price = [], 23_000
    for session in SESSIONS:
        for at_ns in range(session.open_ns, session.close_ns, MINUTE_NS):
            price += chance.choice((-1, 0, 1))
            trades.append(Trade(MES, at_ns + 59 * NS_PER_SECOND, price / 4, chance.randint(1, 9)))
    return trades


TRADES = closes()
CONFIG: dict[str, Any] = {"audience": "ignore", "begin_ns": TRADES[-1].at_ns + 1, "bars_limit": None}


def offline() -> list[tuple[object, ...]]:
    columns = TradeColumns(
        np.array([trade.at_ns for trade in TRADES], np.int64), np.array([trade.price for trade in TRADES]),
        np.array([trade.volume for trade in TRADES], np.int64),
    )  # fmt: skip
    return sorted(
        (str(timeframe), iso_from_ns(bar.start_ns), bar.open, bar.high, bar.low, bar.close, bar.volume)
        for timeframe, bars in aggregate_trades(columns, CALENDAR, TIMEFRAMES).items()
        for bar in bars.bars(MES)
    )


async def program(folder: Path, venue: Simulator, *arguments: str, **variables: str) -> Process:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ESCAPEMENT_", "DATABASE_"))}
    own = {
        "ESCAPEMENT_GATEWAY__API_URL": venue.base_url,
        "ESCAPEMENT_GATEWAY__MARKET_HUB_URL": venue.market_hub_url,
        "ESCAPEMENT_GATEWAY__USER_HUB_URL": venue.user_hub_url,
        "ESCAPEMENT_GATEWAY__TIMEOUT_SECONDS": "1",
        "ESCAPEMENT_CONTRACTS": MES,
        "ESCAPEMENT_TIMEFRAMES": ",".join(map(str, TIMEFRAMES)),
        "ESCAPEMENT_DATA_DIR": str(folder / "data"),
        "PROJECTX_USERNAME": "demo",
        "PROJECTX_API_KEY": "demo-key-0001",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "escapement", "history", "download", *arguments,
        stdout=PIPE, stderr=PIPE, cwd=folder, env=plain | own | variables,
    )  # fmt: skip


async def run(folder: Path, venue: Simulator, *arguments: str, **variables: str) -> tuple[int | None, str, str]:
    process = await program(folder, venue, *arguments, **variables)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def rows(connection: asyncpg.Connection[asyncpg.Record]) -> list[asyncpg.Record]:
    order = "timeframe_unit, timeframe_value, timestamp"
    return list(await connection.fetch(f"SELECT *, xmin::text, xmax::text FROM ohlc_bars ORDER BY {order}"))


async def portions_stored(connection: asyncpg.Connection[asyncpg.Record]) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM coverage"))


# The tables are the same on every server, and this takes a while.
@pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)
async def test_twenty_thousand_bars_survive_kills_and_a_failing_gateway_and_a_second_run_writes_nothing(
    tmp_path: Path, url: str
) -> None:
    faults = [
        Fault("slow_rest", count=1_000, seconds=0.1, endpoint="History/retrieveBars"),
        Fault("rate_limited", count=4, probability=0.3),
        Fault("unavailable_rest", count=3, probability=0.2),
        Fault("lost_answer", count=3, probability=0.2),
        Fault("hanging_rest", count=1, probability=0.3),
    ]
    connection = await asyncpg.connect(url)
    async with Simulator(SimulatorConfig([MES], faults=faults, **CONFIG), TRADES) as venue:
        for portions in (2, 7):
            process = await program(tmp_path, venue, *SPAN, "--page", "1500", DATABASE_URL=url)
            async with asyncio.timeout(60):
                while await portions_stored(connection) < portions:  # noqa: ASYNC110 - another program's work
                    await asyncio.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            await process.communicate()
            assert process.returncode == -signal.SIGKILL
            minutes = await connection.fetchval("SELECT count(*) FROM ohlc_bars WHERE timeframe_unit = 2")
            assert 0 < minutes < len(TRADES)
        code, out, err = await run(tmp_path, venue, *SPAN, "--page", "1500", "--json", DATABASE_URL=url)
        assert code == 0, err
        (told,) = orjson.loads(out)
        assert 0 < told["written"]["1m"] < len(TRADES)
        stored = await rows(connection)
        names = {1: "s", 2: "m", 3: "h", 4: "d", 5: "w"}
        assert len(TRADES) > 20_000
        assert sorted(
            (
                f"{row['timeframe_value']}{names[row['timeframe_unit']]}",
                iso_from_ns(ns_from_datetime(row["timestamp"])),
                row["open"], row["high"], row["low"], row["close"], row["volume"],
            )
            for row in stored
        ) == offline()  # fmt: skip
        states = await connection.fetch(
            "SELECT DISTINCT state FROM completeness WHERE ends_at <= $1", datetime_from_ns(SESSIONS[-1].close_ns)
        )
        assert [row["state"] for row in states] == ["history"]
        code, out, err = await run(tmp_path, venue, *SPAN, DATABASE_URL=url)
        assert (code, out.splitlines()[-1]) == (0, "Nothing was missing."), err
        assert await rows(connection) == stored
        assert await connection.fetchval("SELECT count(*) FROM bar_revisions") == 0
    await connection.close()


async def test_a_contract_the_venue_does_not_have_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    async with Simulator(SimulatorConfig([MES], **CONFIG), TRADES) as venue:
        day = ["--from", "2025-03-05", "--to", "2025-03-05", "--timeframe", "1h"]
        contracts = ["--contract", GONE, "--contract", MES]
        code, out, err = await run(tmp_path, venue, *day, *contracts, "--json")
        gone, there = orjson.loads(out)
        assert (code, gone["contract_id"], there["written"]) == (1, GONE, {"1m": 1380, "1h": 23})
        (line,) = (line for line in err.splitlines() if line.startswith("error: "))
        assert line == f"error: {gone['problem']}"
        assert line.startswith(f"error: {GONE}: the venue does not have this contract, or has it no more")
        code, out, err = await run(tmp_path, venue, *day, *contracts[2:])
        assert (code, out.splitlines()[-1]) == (0, "Nothing was missing."), err


async def test_ctrl_c_ends_it_with_a_word_and_no_traceback(tmp_path: Path, url: str) -> None:
    faults = [Fault("slow_rest", count=1_000, seconds=0.3, endpoint="History/retrieveBars")]
    connection = await asyncpg.connect(url)
    async with Simulator(SimulatorConfig([MES], faults=faults, **CONFIG), TRADES) as venue:
        process = await program(tmp_path, venue, *SPAN, "--page", "1500", DATABASE_URL=url)
        async with asyncio.timeout(60):
            while not await portions_stored(connection):  # noqa: ASYNC110 - another program's work
                await asyncio.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
        assert (process.returncode, out) == (1, b"")
        assert err.decode().splitlines() == ["Stopped; what is stored stays. Run the command again to go on."]
    await connection.close()


async def test_what_is_wrong_is_said_before_anything_is_asked(tmp_path: Path, empty_database_url: str) -> None:
    async with Simulator(SimulatorConfig([MES], **CONFIG), TRADES) as venue:
        wrong = {
            (): (2, "--from is missing"),
            ("--from", "2035-01-02"): (2, "lies in the future"),
            ("--from", "2025-03-05", "--page", "20001"): (2, "--page 20001 is not served"),
            ("--from", "2025-03-05"): (1, "escapement db init"),
        }
        for arguments, (expected, message) in wrong.items():
            code, out, err = await run(tmp_path, venue, *arguments, DATABASE_URL=empty_database_url)
            assert (code, out) == (expected, ""), (arguments, err)
            assert message in err
            assert err.startswith("error: ")
