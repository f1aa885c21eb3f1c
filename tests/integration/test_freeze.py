"""A feed that is connected but frozen is found within one bar, and a quiet week raises nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from escapement import wiring
from escapement.model import NS_PER_SECOND, GapCause, Trade
from escapement.projectx import HubParams
from escapement.projectx.limits import RateLimit
from escapement.services.ingest import Ingestion
from escapement.settings import load_settings
from escapement.simulator import Simulator, SimulatorConfig, synthetic_trades
from escapement.storage import DBHandler
from escapement.storage.completeness import gaps_between

CONTRACT = "CON.F.US.MES.Z24"
# Pings go on while data is frozen, so that the hub itself notices nothing.
HUB = HubParams(first_delay_s=0.05, longest_delay_s=0.2, silence_s=20.0, ping_s=0.3)


@asynccontextmanager
async def ingesting(simulator: Simulator, data_dir: Path, speed: float) -> AsyncIterator[tuple[Ingestion, DBHandler]]:
    settings = load_settings(
        environ={},
        data_dir=data_dir,
        contracts=[CONTRACT],
        timeframes=["1m", "5m"],
        gateway={
            "api_url": simulator.base_url, "market_hub_url": simulator.market_hub_url,
            "user_hub_url": simulator.user_hub_url, "user_name": "demo", "api_key": "demo-key-0001",
        },
        ingest={"clock": "stream", "replay_speed": speed},
    )  # fmt: skip
    plenty = RateLimit(10_000, 1)
    gateway = replace(wiring.gateway_params(settings), limit=plenty, bars_limit=plenty)
    async with (
        wiring.database(settings) as database,
        wiring.ingestion(settings, database, hub=HUB, gateway=gateway) as ingestion,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(ingestion.run())
        yield ingestion, database
        ingestion.stop()


def venue(trades: list[Trade], speed: float) -> Simulator:
    config = SimulatorConfig([CONTRACT], speed=speed, ping_s=0.2, bars_limit=None, calls_limit=None)
    return Simulator(config, trades)


async def until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("pings", [True, False])
async def test_a_freeze_behind_a_live_socket_is_found_within_one_bar_and_repaired(
    tmp_path: Path, *, pings: bool
) -> None:
    trades = list(synthetic_trades([CONTRACT], date(2024, 12, 3), seed=3, per_minute=60))
    begin_ns = trades[0].at_ns
    trades = [trade for trade in trades if trade.at_ns < begin_ns + 600 * NS_PER_SECOND]
    speed = 20.0
    async with venue(trades, speed) as simulator, ingesting(simulator, tmp_path, speed) as (ingestion, database):
        await until(lambda: simulator.now_ns > begin_ns + 150 * NS_PER_SECOND)
        assert ingestion.statistics().alarms == 0
        simulator.freeze(pings=pings)
        frozen_ns = simulator.now_ns
        await until(lambda: ingestion.statistics().alarms == 1)
        noticed_ns = simulator.now_ns
        await until(lambda: ingestion.statistics().gaps_open == 0)
        (freeze,) = [
            each
            for each in await gaps_between(database, CONTRACT, 0, 2 * begin_ns)
            if each.gap.cause is GapCause.FREEZE
        ]
    assert noticed_ns - frozen_ns <= 60 * NS_PER_SECOND
    assert not freeze.open
    assert freeze.gap.begins_ns <= frozen_ns + NS_PER_SECOND
    assert freeze.gap.ends_ns is not None
    assert freeze.gap.ends_ns >= frozen_ns


async def test_a_quiet_week_with_break_holiday_early_close_and_weekend_raises_no_alarm(tmp_path: Path) -> None:
    # Thanksgiving: Thursday and Friday are one session in two periods, which closes early; then the weekend.
    days = [date(2024, 11, day) for day in (25, 26, 27, 29)] + [date(2024, 12, 2)]
    trades = [trade for day in days for trade in synthetic_trades([CONTRACT], day, seed=day.day, per_minute=0.05)]
    speed = 40_000.0
    async with venue(trades, speed) as simulator, ingesting(simulator, tmp_path, speed) as (ingestion, database):
        await until(simulator.finished.is_set, 120)
        await until(lambda: ingestion.statistics().venue_time_ns >= simulator.end_ns)
        await until(lambda: ingestion.statistics().gaps_open == 0)
        counts = ingestion.statistics()
        gaps = await gaps_between(database, CONTRACT, 0, 2 * trades[-1].at_ns)
    assert counts.trades == len(trades)
    assert (counts.alarms, counts.holes) == (0, 0)
    assert {each.gap.cause for each in gaps} == {GapCause.START}
