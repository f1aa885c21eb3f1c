"""What the dashboard reads, on plain PostgreSQL and on TimescaleDB, and the bars that grow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from coordination_program import MES
from escapement import wiring
from escapement.calendars import calendar_for_contract
from escapement.core.aggregation import OHLCBarAggregator
from escapement.core.execution import OrderNote
from escapement.core.execution import Role as OrderRole
from escapement.errors import ConfigurationError, InvalidTimeframe
from escapement.model import Fill, FormingBar, OrderSide, OrderType, Timeframe
from escapement.moments import datetime_from_ns, ns_from_datetime
from escapement.ports import ServiceHealth
from escapement.settings import Settings, load_settings
from escapement.simulator import Simulator, SimulatorConfig
from escapement.storage import DBHandler
from escapement.storage.audit import AuditStore
from escapement.storage.database import FORMING
from escapement.storage.doorbell import Doorbell
from escapement.storage.execution import ExecutionStore
from escapement.storage.health import HealthStore
from escapement.web.pages.frame import unheard
from escapement.web.reading import Reading
from escapement.web.reading.chart import Candle
from escapement.web.steering import Steering
from escapement.web.visitor import Forbidden, Role, Visitor
from shown import BARS, FIRST, fill
from simulated import tape

PAST = "CON.F.US.MES.H25"
MINUTE = Timeframe.parse("1m")
GROWING = FormingBar(MES, MINUTE, FIRST, FIRST + 60 * 10**9, 5_000.0, 5_001.0, 4_999.0, 5_000.5, 7, True, FIRST + 1)  # noqa: FBT003


def settings_of(url: str) -> Settings:
    return load_settings(environ={}, contracts=[MES], ingest={"clock": "stream"}, database={"url": url})


async def until(found: Callable[[], Awaitable[Candle | None]], holds: Callable[[Candle], bool]) -> Candle:
    async with asyncio.timeout(20):
        while True:
            candle = await found()
            if candle is not None and holds(candle):
                return candle
            await asyncio.sleep(0.02)


async def test_everything_there_is_can_be_read(url: str) -> None:
    settings = settings_of(url)
    async with await DBHandler.open(url) as database:
        await fill(database)
        reading = Reading(settings, database)
        known = {each.contract_id: each for each in await reading.contracts()}
        assert known[MES].timeframes == ("1m", "5m", "15m")
        found = await reading.candles(MES, "1m", datetime(2000, 1, 1, tzinfo=UTC), most=10)
        assert sum(each.bars for each in found.candles) == sum(
            bar.contract_id == MES and bar.timeframe == MINUTE for bar in BARS
        )
        assert len(found.candles) <= 10
        begin, end = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
        marks = await reading.marks(MES, begin, end)
        cut = await reading.marks(MES, begin, end, most=10)
        assert (cut.signals, cut.cut) == (marks.signals[-10:], True)
        now = await reading.now()
        assert now.account is not None
        assert now.orders
        assert now.directions
        assert await reading.log(rule="cooldown", most=20)
        assert {each.trade_date.isoformat() for each in await reading.completeness(MES) if each.live} == {"2025-03-18"}
        told = await reading.system()
        assert {each.table for each in told.database.tables} >= {"ohlc_bars", "audit_log"}
        assert next(each.rows for each in told.database.tables if each.table == "ohlc_bars") >= 0
        analyzed = [each for each in told.stages if each.stage.startswith("analyze")]
        assert all(each.behind_s in {None, 0} for each in analyzed)
        assert analyzed == sorted(
            analyzed, key=lambda each: (each.stage, each.contract_id, Timeframe.parse(each.timeframe))
        )
        with pytest.raises(InvalidTimeframe, match="is not kept; use one of 1m, 5m, 15m"):
            await reading.completeness(MES, timeframe="4h")
        for refused in (reading.candles(MES, "7x"), reading.candles("a\0b", "1m"), reading.decisions(most=1)):
            with pytest.raises(ConfigurationError):
                await refused


async def test_orders_of_a_replay_end_when_the_position_was_closed_and_not_when_they_were_written_down(
    url: str,
) -> None:
    begun, hour = FIRST + 30 * 60 * 10**9, 3_600 * 10**9
    async with await DBHandler.open(url) as database:
        await fill(database)
        stop = OrderNote(
            "tag-2", 8, MES, None, OrderRole.STOP, OrderType.STOP, OrderSide.SELL, 1, None, 4_990.25, "cancelled",
            created_ns=begun,
        )  # fmt: skip
        target = OrderNote(
            "tag-3", 9, MES, None, OrderRole.TARGET, OrderType.LIMIT, OrderSide.SELL, 1, 5_010.25, None, "filled",
            created_ns=begun,
        )  # fmt: skip
        sold = Fill(2, 1, MES, 9, begun + hour, OrderSide.SELL, 1, 5_010.25, Decimal("0.61"), None, voided=False)
        await ExecutionStore(database).put("paper", [stop, target], [sold])
        reading = Reading(settings_of(url), database)

        async def shown(from_ns: int) -> dict[str, datetime | None]:
            found = await reading.marks(MES, datetime_from_ns(from_ns), datetime(2100, 1, 1, tzinfo=UTC))
            return {each.role: each.until for each in found.orders}

        closed = datetime_from_ns(begun + hour)
        assert await shown(FIRST) == {"entry": datetime_from_ns(begun), "stop": closed, "target": closed}
        assert await shown(begun + 10**9) == {"stop": closed, "target": closed}
        assert await shown(begun + hour + 10**9) == {}


async def test_the_growing_bar_is_that_which_is_told_else_that_which_was_saved(url: str) -> None:
    async with await DBHandler.open(url) as database:
        reading = Reading(settings_of(url), database)
        assert await reading.forming(MES, "1m") is None
        aggregator = OHLCBarAggregator({MES: calendar_for_contract(MES)}, [MINUTE, Timeframe.parse("5m")])
        aggregator.push_many(tape(5_000, 5_002, 5_001))
        await database.save_state(f"ingest {MES}", {"aggregator": aggregator.snapshot()})
        saved = await reading.forming(MES, "5m")
        assert saved is not None
        assert (saved.open, saved.high, saved.close, saved.volume) == (5_000, 5_002, 5_001, 6)
        listening = asyncio.create_task(reading.listen(Doorbell(database, [FORMING])))
        try:

            async def tell(volume: int) -> Candle | None:
                await database.tell_forming(MES, [replace(GROWING, volume=volume)])
                return await reading.forming(MES, "1m")

            for volume in (7, 8):
                grown = await until(lambda volume=volume: tell(volume), lambda each, v=volume: each.volume == v)  # type: ignore[misc]
                assert (grown.high, grown.low, grown.close) == (5_001, 4_999, 5_000.5)
            newest = (await reading.candles(MES, "1m")).forming
            assert newest == grown
            assert (await reading.candles(MES, "1m", end=datetime(2025, 1, 1, tzinfo=UTC))).forming is None
            for spoilt in (
                "",
                "{}",
                '{"contract_id": 1}',
                "[1]",
                '{"contract_id": "x", "as_of_ns": 1, "bars": {"1m": []}}',
            ):
                await database.pool.execute("SELECT pg_notify($1, $2)", FORMING, spoilt)
            await until(lambda: tell(9), lambda each: each.volume == 9)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def test_ingestion_tells_of_bars_while_they_grow(url: str) -> None:
    trades = tape(*(5_000 + n % 9 for n in range(400)))
    async with (
        Simulator(SimulatorConfig([MES], speed=30), trades) as simulator,
        await DBHandler.open(url) as database,
    ):
        settings = load_settings(
            environ={}, contracts=[MES], timeframes=["1h"], ingest={"clock": "stream"},
            gateway={
                "api_url": simulator.base_url, "market_hub_url": simulator.market_hub_url,
                "user_hub_url": simulator.user_hub_url, "user_name": "demo", "api_key": "demo-key-0001",
            },
        )  # fmt: skip
        reading = Reading(settings, database)
        listening = asyncio.create_task(reading.listen(Doorbell(database, [FORMING])))
        async with wiring.ingestion(settings, database, state_name=None) as ingestion:
            running = asyncio.create_task(ingestion.run())
            first = await until(lambda: reading.forming(MES, "1h"), lambda each: each.volume > 0)
            later = await until(lambda: reading.forming(MES, "1h"), lambda each: each.volume > first.volume)
            assert later.start == first.start
            ingestion.stop()
            await running
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_a_feed_that_nobody_hears_any_more_falls_behind(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(environ={}, contracts=[MES], database={"url": url})
    heard = datetime.now(UTC).replace(microsecond=0)
    wednesday = (heard + timedelta(days=14 - heard.weekday() + 2)).replace(hour=15)  # when MES trades
    monkeypatch.setattr("escapement.web.reading.data.market_now_ns", lambda *_: ns_from_datetime(wednesday))
    contracts = {"contracts": {MES: {"open": True, "silent_s": 0.1}}}
    ingest = ServiceHealth("ingest", "running", FIRST, 0, "", report={"feed": contracts})
    async with await DBHandler.open(url) as database:
        await database.save_state(f"ingest {MES}", {"seen": {MES: ns_from_datetime(heard)}})
        reading = Reading(settings, database)
        await database.save_state(f"ingest {PAST}", {"seen": {PAST: ns_from_datetime(heard)}})
        past = "UPDATE stage_states SET saved_at = now() - interval '1 hour' WHERE name = $1"
        await database.pool.execute(past, f"ingest {PAST}")
        shown, rolled = await reading.feed()
        assert (rolled.contract_id, rolled.is_open, rolled.is_deaf) == (PAST, True, False)
        assert (shown.is_open, shown.behind_s) == (True, (wednesday - heard).total_seconds())
        assert unheard([shown]) == f"{MES} was heard to {heard:%H:%M:%S} UTC last; see System"
        await HealthStore(database).put("here:1", [ingest])  # the market is quiet, and somebody listens
        shown = (await reading.feed())[0]
        assert shown.behind_s is not None
        assert shown.behind_s < 60
        assert unheard([shown]) == ""


async def test_what_nobody_closed_after_a_kill_is_told(url: str) -> None:
    operator = Visitor(Role.OPERATOR, "192.0.2.1")
    async with await DBHandler.open(url) as database:
        await fill(database)
        steering = Steering(database)
        await steering.kill(operator, "")
        assert [(each.account, each.contract_id, each.net) for each in await steering.left_open(0)] == [
            ("paper", MES, 1)
        ]
        await steering.resume(operator, "")
        assert await steering.left_open(60) == []
        await steering.kill(operator, "")
        closing = asyncio.create_task(steering.left_open(60))
        await database.pool.execute("UPDATE positions SET net = 0")
        assert await closing == []


async def test_acts_are_written_down_also_those_that_are_refused(url: str) -> None:
    operator, viewer = Visitor(Role.OPERATOR, "192.0.2.1"), Visitor(Role.VIEWER, "192.0.2.2")
    over = Visitor(Role.OPERATOR, "192.0.2.3", until_s=1.0, session="x")
    ended = Visitor(Role.OPERATOR, "192.0.2.4", session="ended")
    async with await DBHandler.open(url) as database:
        steering, audit = Steering(database, lambda session: session == "ended"), AuditStore(database)
        await steering.kill(operator, "x" * 1_000)
        for visitor in (viewer, over, ended):
            with pytest.raises(Forbidden):
                await steering.resume(visitor, "")
        acts = await audit.newest(10)
        assert [(each.address, each.act, each.outcome) for each in acts] == [
            ("192.0.2.4", "resume", "refused"), ("192.0.2.3", "resume", "refused"),
            ("192.0.2.2", "resume", "refused"), ("192.0.2.1", "kill", "done"),
        ]  # fmt: skip
        assert len(acts[-1].subject) == 500
        assert (await Reading(settings_of(url), database).now()).kill.killed
