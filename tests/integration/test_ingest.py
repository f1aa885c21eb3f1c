"""Ingestion over a real socket into a real database, with everything failing that can fail."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import asyncpg
from msgspec import structs

from escapement import wiring
from escapement.calendars import calendar_for_contract
from escapement.core.aggregation import OHLCBarAggregator
from escapement.model import NS_PER_SECOND, Bar, BarSource, GapCause, Timeframe, Trade
from escapement.projectx import GatewayParams, HubParams
from escapement.projectx.limits import RateLimit
from escapement.services.ingest import Ingestion
from escapement.settings import Settings, load_settings
from escapement.simulator import Simulator, SimulatorConfig, synthetic_trades
from escapement.simulator.faults import Fault
from escapement.storage import DBHandler
from escapement.storage.completeness import KeptGap, gaps_between

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
    simulator: Simulator,
    data_dir: Path,
    speed: float = 0,
    *,
    database: dict[str, object] | None = None,
    **ingest: object,
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
        ingest={"clock": "stream", "replay_speed": speed, **ingest},
        repair={"patience_seconds": 60.0},
        database=database or {},
    )  # fmt: skip


def without_limits(settings: Settings) -> GatewayParams:
    """A replay at many times the speed of time asks as many times as often."""
    plenty = RateLimit(10_000, 1)
    return replace(wiring.gateway_params(settings), limit=plenty, bars_limit=plenty)


def replayed(speed: float | None = None) -> SimulatorConfig:
    return SimulatorConfig(CONTRACTS, speed=speed, audience="start", ping_s=0.2, bars_limit=None, calls_limit=None)


async def complete(ingestion: Ingestion, simulator: Simulator) -> None:
    """Wait until all is received, compared, stored and repaired."""
    await until(simulator.finished.is_set)
    await until(lambda: ingestion.statistics().venue_time_ns >= simulator.end_ns)
    await until(lambda: ingestion.statistics().compared_ns >= simulator.end_ns - NS_PER_SECOND)
    await until(lambda: ingestion.statistics().bars_waiting == ingestion.statistics().gaps_open == 0)


@asynccontextmanager
async def listening(url: str, channel: str, heard: list[dict[str, object]]) -> AsyncIterator[None]:
    connection = await asyncpg.connect(url)
    await connection.add_listener(channel, lambda *said: heard.append(json.loads(said[3])))
    try:
        yield
    finally:
        await connection.close()


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[tuple[Ingestion, DBHandler]]:
    async with (
        wiring.database(settings) as database,
        wiring.ingestion(settings, database, hub=QUICK, gateway=without_limits(settings)) as ingestion,
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
    """The bars as they would be, had all of them been heard."""
    return {
        (contract_id, timeframe, bar.start_ns): structs.replace(bar, source=BarSource.LIVE)
        for contract_id in CONTRACTS
        for timeframe in TIMEFRAMES
        for bar in await database.bars_between(contract_id, timeframe, 0, FOREVER)
    }


def kill_database(data_dir: Path) -> None:
    pid = int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGKILL)


async def test_bars_of_a_quiet_run_equal_the_offline_ones_and_all_are_whole(url: str, tmp_path: Path) -> None:
    trades = last_hour()
    async with Simulator(replayed(), trades) as simulator:
        settings = settings_for(simulator, tmp_path, database={"url": url})
        async with running(settings) as (ingestion, database):
            await complete(ingestion, simulator)
            assert await stored(database) == offline(trades)
        counts = ingestion.statistics()
    assert counts.late == counts.refused == counts.holes == counts.alarms == 0


async def test_all_is_complete_after_cut_sockets_a_killed_database_expired_tokens_and_a_freeze(tmp_path: Path) -> None:
    trades = last_hour()
    async with Simulator(replayed(900), trades) as simulator:
        async with running(settings_for(simulator, tmp_path, 900)) as (ingestion, database):

            def received(share: float) -> Callable[[], bool]:
                return lambda: simulator.progress.trades >= share * len(trades)

            await until(received(0.2))
            assert await simulator.end_connections("reset") == 1
            await until(received(0.4))
            kill_database(tmp_path)
            await until(received(0.6))
            simulator.expire_tokens()
            await simulator.end_connections("close")
            await until(received(0.8))
            simulator.freeze()
            await complete(ingestion, simulator)
            assert await stored(database) == offline(trades)
            gaps = [gap for each in CONTRACTS for gap in await gaps_between(database, each, 0, 2 * trades[-1].at_ns)]
        counts = ingestion.statistics()
    assert counts.late == counts.refused == 0
    assert counts.trades < len(trades), "nothing was missed, so nothing was repaired"
    assert not any(gap.open for gap in gaps)
    assert {GapCause.START, GapCause.DISCONNECT} <= {gap.gap.cause for gap in gaps}


async def test_a_stopped_run_stores_no_partial_bar_and_the_next_one_continues_from_its_state(tmp_path: Path) -> None:
    trades = last_hour()
    expected = offline(trades)
    async with Simulator(replayed(900), trades) as simulator:
        settings = settings_for(simulator, tmp_path, 900)
        async with running(settings) as (first, _):
            await until(lambda: simulator.progress.trades >= len(trades) // 2)
        async with wiring.database(settings) as database:
            assert await database.load_state(f"ingest {CONTRACTS[0]}") is not None
            halfway = await stored(database)
        assert {key: bar for key, bar in halfway.items() if bar.whole} == {
            key: expected[key] for key, bar in halfway.items() if bar.whole
        }
        assert all(bar.end_ns <= first.statistics().venue_time_ns for bar in halfway.values())
        async with running(settings) as (second, database):
            await complete(second, simulator)
            assert await stored(database) == expected
            gaps = [gap for each in CONTRACTS for gap in await gaps_between(database, each, 0, 2 * trades[-1].at_ns)]
    assert {gap.gap.cause for gap in gaps} == {GapCause.START, GapCause.RESTART}
    assert not any(gap.open for gap in gaps)


async def test_a_revised_bar_keeps_its_old_values_and_is_announced(url: str, tmp_path: Path) -> None:
    trades = last_hour()
    fault = Fault("missed_trades", after_s=1_200, contract_id=CONTRACTS[0])
    async with Simulator(replace(replayed(900), faults=[fault]), trades) as simulator:
        settings = settings_for(simulator, tmp_path, 900, database={"url": url})
        async with running(settings) as (ingestion, database):
            heard: list[dict[str, object]] = []
            async with listening(url, "bar_revisions", heard):
                await complete(ingestion, simulator)
                bars = await stored(database)
                _, revised = await database.read(
                    "SELECT timestamp, timeframe_unit, revision, volume FROM bar_revisions"
                )
                await until(lambda: len(heard) == len(revised))
    assert bars == offline(trades)
    assert ingestion.statistics().alarms in {1, 2, 3}, "a batch at this speed may lie in several bars"
    # The smallest bar, and those that had been completed with it.
    assert revised
    # Revision 0 is a bar that came in behind later ones: there was nothing before it.
    assert all((revision == 0) == (volume is None) for _, _, revision, volume in revised)


async def test_a_full_buffer_pauses_reading_and_loses_nothing(tmp_path: Path) -> None:
    trades = last_hour()
    async with Simulator(replayed(), trades) as simulator:
        settings = settings_for(simulator, tmp_path, buffer_bars=1)
        async with running(settings) as (ingestion, database):
            await complete(ingestion, simulator)
            assert await stored(database) == offline(trades)


async def test_a_gap_of_which_the_venue_keeps_only_hours_stays_open_and_says_so(tmp_path: Path) -> None:
    trades = list(synthetic_trades(CONTRACTS, date(2025, 3, 17), seed=7, per_minute=20))
    close_ns = last_hour()[-1].at_ns
    config = replace(
        replayed(300),
        begin_ns=close_ns - 600 * NS_PER_SECOND,
        minutes_since_ns=dict.fromkeys(CONTRACTS, close_ns - 7_200 * NS_PER_SECOND),
    )
    async with (
        Simulator(config, trades) as simulator,
        running(settings_for(simulator, tmp_path, 300)) as (ingestion, database),
        asyncio.timeout(60),
    ):
        gaps: list[KeptGap] = []
        while not any(gap.reason for gap in gaps):
            await asyncio.sleep(0.05)
            gaps = await gaps_between(database, CONTRACTS[0], 0, 2 * close_ns)
    assert ingestion.statistics().gaps_open >= len(CONTRACTS)
    assert (gaps[0].gap.cause, gaps[0].open) == (GapCause.START, True)
    assert "only hours" in gaps[0].reason
