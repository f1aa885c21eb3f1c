"""Ingestion over a real socket into a real database, with everything failing that can fail."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from itertools import groupby
from pathlib import Path

from escapement import wiring
from escapement.calendars import calendar_for_contract
from escapement.core.aggregation import OHLCBarAggregator
from escapement.model import NS_PER_SECOND, Bar, Timeframe, Trade
from escapement.projectx import HubParams
from escapement.services.ingest import Ingestion
from escapement.settings import Settings, load_settings
from escapement.simulator import Simulator, SimulatorConfig, synthetic_trades
from escapement.storage import DBHandler

CONTRACTS = ["CON.F.US.MES.M25", "CON.F.US.MNQ.M25"]
TIMEFRAMES = [Timeframe.parse(text) for text in ("15s", "1m", "5m", "1h", "4h", "1d")]
QUICK = HubParams(first_delay_s=0.05, longest_delay_s=0.2, silence_s=1.0, ping_s=0.3)
FOREVER = 1 << 62


def last_hour() -> list[Trade]:
    """The session's last hour and a half, a contract a trade, so that volumes count trades."""
    whole = synthetic_trades(CONTRACTS, date(2025, 3, 17), seed=7, per_minute=60)
    session = next(
        session for session in calendar_for_contract(CONTRACTS[0]).sessions if session.trade_date == date(2025, 3, 17)
    )
    begin = session.close_ns - 5_400 * NS_PER_SECOND
    return [replace(trade, volume=1) for trade in whole if trade.at_ns >= begin]


def offline(trades: list[Trade]) -> dict[tuple[str, Timeframe, int], Bar]:
    calendars = {contract_id: calendar_for_contract(contract_id) for contract_id in CONTRACTS}
    stage = OHLCBarAggregator(calendars, TIMEFRAMES, tolerance_ns=0)
    outcomes = [*stage.push_many(trades), *stage.finish()]
    return {(bar.contract_id, bar.timeframe, bar.start_ns): bar for bar in outcomes if isinstance(bar, Bar)}


def settings_for(
    simulator: Simulator, data_dir: Path, *, database: dict[str, object] | None = None, **ingest: object
) -> Settings:
    return load_settings(
        environ={},
        data_dir=data_dir,
        contracts=CONTRACTS,
        timeframes=[str(timeframe) for timeframe in TIMEFRAMES],
        gateway={
            "api_url": simulator.base_url, "market_hub_url": simulator.market_hub_url,
            "user_hub_url": simulator.user_hub_url, "user_name": "demo", "api_key": "demo-key-0001",
        },
        ingest={"clock": "stream", **ingest},
        database=database or {},
    )  # fmt: skip


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[tuple[Ingestion, DBHandler]]:
    async with (
        wiring.database(settings) as database,
        wiring.ingestion(settings, database, hub=QUICK) as ingestion,
        asyncio.TaskGroup() as group,  # so that ingestion that fails ends the test at once
    ):
        group.create_task(ingestion.run())
        yield ingestion, database
        ingestion.stop()


async def until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def stored(database: DBHandler) -> dict[tuple[str, Timeframe, int], Bar]:
    return {
        (contract_id, timeframe, bar.start_ns): bar
        for contract_id in CONTRACTS
        for timeframe in TIMEFRAMES
        for bar in await database.bars_between(contract_id, timeframe, 0, FOREVER)
    }


def kill_database(data_dir: Path) -> None:
    pid = int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGKILL)


async def test_bars_of_a_quiet_run_equal_the_offline_ones_and_all_are_whole(url: str, tmp_path: Path) -> None:
    trades = last_hour()
    async with Simulator(SimulatorConfig(CONTRACTS), trades) as simulator:
        settings = settings_for(simulator, tmp_path, database={"url": url})
        async with running(settings) as (ingestion, database):
            await until(lambda: ingestion.statistics().venue_time_ns >= simulator.end_ns)
            await until(lambda: ingestion.statistics().bars_waiting == 0)
            assert await stored(database) == offline(trades)
        assert ingestion.statistics().late == ingestion.statistics().refused == ingestion.statistics().holes == 0


async def test_no_received_trade_is_missing_after_cut_sockets_a_killed_database_and_expired_tokens(
    tmp_path: Path,
) -> None:
    trades = last_hour()
    config = SimulatorConfig(CONTRACTS, speed=900, audience="always", ping_s=0.2)
    async with Simulator(config, trades) as simulator:
        async with running(settings_for(simulator, tmp_path)) as (ingestion, database):

            def received(share: float) -> Callable[[], bool]:
                return lambda: ingestion.statistics().trades >= share * len(trades)

            await until(received(0.2))
            assert await simulator.end_connections("reset") == 1
            await until(received(0.4))
            kill_database(tmp_path)
            await until(received(0.6))
            simulator.expire_tokens()
            await simulator.end_connections("close")
            await until(received(0.8))
            # A refused token may or may not have cost a connection of its own by now.
            holes = ingestion.statistics().holes
            simulator.freeze()
            await until(lambda: ingestion.statistics().holes > holes)
            simulator.thaw()
            await until(lambda: ingestion.statistics().venue_time_ns >= simulator.end_ns)
            await until(lambda: ingestion.statistics().bars_waiting == 0)
            bars = await stored(database)
        counts = ingestion.statistics()
    for timeframe, series in groupby(sorted(bars.values(), key=lambda bar: bar.timeframe), lambda bar: bar.timeframe):
        assert sum(bar.volume for bar in series) == counts.trades, f"{timeframe} bars lack received trades"
    expected = offline(trades)
    assert counts.late == counts.refused == 0
    assert {key: bar for key, bar in bars.items() if bar.whole} == {
        key: expected[key] for key, bar in bars.items() if bar.whole
    }
    broken = [bar for bar in bars.values() if not bar.whole and bar.timeframe == TIMEFRAMES[1]]
    assert 1 <= len(broken) <= 3 * 2 * len(CONTRACTS)


async def test_a_stopped_run_stores_no_partial_bar_and_the_next_one_continues_from_its_state(tmp_path: Path) -> None:
    trades = last_hour()
    expected = offline(trades)
    config = SimulatorConfig(CONTRACTS, speed=1_800, audience="always")
    async with Simulator(config, trades) as simulator:
        settings = settings_for(simulator, tmp_path)
        async with running(settings) as (first, _):
            await until(lambda: first.statistics().trades >= len(trades) // 2)
        async with wiring.database(settings) as database:
            assert await database.load_state("ingest") is not None
            halfway = await stored(database)
        assert halfway == {key: expected[key] for key in halfway}
        assert all(bar.end_ns <= first.statistics().venue_time_ns for bar in halfway.values())
        async with running(settings) as (second, database):
            await until(lambda: second.statistics().venue_time_ns >= simulator.end_ns)
            await until(lambda: second.statistics().bars_waiting == 0)
            bars = await stored(database)
    received = first.statistics().trades + second.statistics().trades
    for timeframe in TIMEFRAMES:
        assert sum(bar.volume for bar in bars.values() if bar.timeframe == timeframe) == received
    assert all(bar == expected[key] for key, bar in bars.items() if bar.whole)
    assert [bar.whole for key, bar in bars.items() if key[1] == Timeframe.parse("1d")] == [False, False]


async def test_a_full_buffer_pauses_reading_and_loses_nothing(tmp_path: Path) -> None:
    trades = last_hour()
    async with Simulator(SimulatorConfig(CONTRACTS), trades) as simulator:
        settings = settings_for(simulator, tmp_path, buffer_bars=1)
        async with running(settings) as (ingestion, database):
            await until(lambda: ingestion.statistics().venue_time_ns >= simulator.end_ns)
            await until(lambda: ingestion.statistics().bars_waiting == 0)
            assert await stored(database) == offline(trades)
