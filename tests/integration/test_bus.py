"""Redis as the doorbell: heard at once while it lives; without it all is found by looking, and nothing is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from escapement import wiring
from escapement.model import Bar, FormingBar, Timeframe
from escapement.services.lane import AnalyzeParams
from escapement.settings import Settings, load_settings
from escapement.storage import DBHandler
from escapement.storage.database import FORMING
from escapement.storage.doorbell import Doorbell
from escapement.storage.execution import ExecutionStore
from redises import RedisServer
from relays import Relay

pytestmark = [
    pytest.mark.redis,
    pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True),
]
MES = "CON.F.US.MES.M25"
MINUTE = Timeframe.parse("1m")
MINUTE_NS = 60 * 10**9
READ = "SELECT coalesce(max(bars), 0) FROM analyzer_watermarks"
START = 1_742_218_200 * 10**9  # within a session


def bars(first: int, count: int) -> list[Bar]:
    return [
        Bar(MES, MINUTE, START + n * MINUTE_NS, START + (n + 1) * MINUTE_NS, 5.0, 6.0, 4.0, 5.5, 7)
        for n in range(first, first + count)
    ]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


def settings_for(url: str, redis: RedisServer) -> Settings:
    return load_settings(
        environ={}, contracts=[MES], timeframes=["1m"], database={"url": url}, bus={"redis_url": redis.url}
    )


@asynccontextmanager
async def listening(database: DBHandler, *channels: str) -> AsyncIterator[list[tuple[str, str]]]:
    heard: list[tuple[str, str]] = []
    task = asyncio.create_task(Doorbell(database, channels).listen(lambda *said: heard.append(said)))
    yield heard
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], object], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def test_growing_bars_are_told_to_who_listens_through_redis(url: str, redis: RedisServer) -> None:
    settings = settings_for(url, redis)
    async with (
        wiring.database(settings) as writer,
        wiring.database(settings) as reader,
        listening(reader, FORMING) as heard,
    ):
        await until(lambda: ("", "") in heard)
        growing = FormingBar(
            MES, MINUTE, START, START + MINUTE_NS, 5.0, 6.0, 4.0, 5.5, 7, whole=True, as_of_ns=START + 1
        )
        await writer.tell_forming(MES, [growing])
        await until(lambda: any(channel == FORMING and MES in said for channel, said in heard), 2)


async def test_what_is_stored_and_revised_and_the_kill_switch_ring_in_another_process(
    url: str, redis: RedisServer
) -> None:
    settings = settings_for(url, redis)
    async with (
        wiring.database(settings) as writer,
        wiring.database(settings) as reader,
        listening(reader, "ohlc_bars", "bar_revisions", "kill_switch") as heard,
    ):
        await until(lambda: ("", "") in heard)
        await writer.store_bars(bars(0, 3))
        await until(lambda: ("ohlc_bars", f"{MES} 1m") in heard, 2)
        heard.clear()
        await writer.store_bars(bars(0, 3))  # nothing new
        await writer.revise_bars(bars(0, 1)[:0])
        await ExecutionStore(writer).turn_kill_switch(killed=True, reason="test", by="me")
        await until(lambda: ("kill_switch", "") in heard, 2)
        assert heard == [("kill_switch", "")]
        changed = [Bar(MES, MINUTE, START, START + MINUTE_NS, 5.0, 7.0, 4.0, 5.5, 9)]
        assert await writer.revise_bars(changed) == 1
        await until(lambda: any(channel == "bar_revisions" for channel, _ in heard), 2)


async def test_a_dead_redis_holds_up_no_writer_and_whoever_listened_hears_that_he_was_deaf(
    url: str, redis: RedisServer
) -> None:
    settings = settings_for(url, redis)
    async with (
        wiring.database(settings) as writer,
        wiring.database(settings) as reader,
        listening(reader, "ohlc_bars") as heard,
    ):
        await until(lambda: ("", "") in heard)
        redis.kill()
        heard.clear()
        for number in range(20):
            began_s = time.monotonic()
            await writer.store_bars(bars(number, 1))
            assert time.monotonic() - began_s < 1.0
        redis.start()
        await until(lambda: ("", "") in heard)
        await writer.store_bars(bars(20, 1))
        await until(lambda: ("ohlc_bars", f"{MES} 1m") in heard)


async def test_connections_that_fall_silent_are_made_anew(
    url: str, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("escapement.storage.bus._CHECK_S", 0.3)
    async with Relay(lambda: asyncio.open_connection("127.0.0.1", redis.port)) as relay:
        settings = settings_for(url, redis)
        bus = settings.bus.model_copy(update={"redis_url": SecretStr(f"redis://127.0.0.1:{relay.port}/0")})
        async with (
            wiring.database(settings.model_copy(update={"bus": bus})) as database,
            listening(database, "ohlc_bars") as heard,
        ):
            await until(lambda: ("", "") in heard)
            await database.store_bars(bars(0, 1))
            await until(lambda: ("ohlc_bars", f"{MES} 1m") in heard)
            await asyncio.sleep(1.0)
            assert heard.count(("", "")) == 1  # nothing to hear is no silence
            relay.fall_silent()
            heard.clear()
            await until(lambda: ("", "") in heard, 5)
            number = 0
            async with asyncio.timeout(10):  # what is told first is lost, and that is noticed
                while ("ohlc_bars", f"{MES} 1m") not in heard:
                    number += 1
                    await database.store_bars(bars(number, 1))
                    await asyncio.sleep(0.2)


async def until_read(database: DBHandler, count: int) -> None:
    """Wait until an analyzer has read so many bars."""
    async with asyncio.timeout(20):
        while count > await database.pool.fetchval(READ):  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)


async def test_bars_are_analyzed_while_redis_is_dead_and_at_once_when_it_is_back(url: str, redis: RedisServer) -> None:
    settings = settings_for(url, redis)
    redis.kill()

    async with wiring.database(settings) as database:
        async with wiring.analysis(settings, database, AnalyzeParams(poll_s=0.5)) as analysis:
            running = asyncio.create_task(analysis.run())
            await database.store_bars(bars(0, 30))
            await until_read(database, 30)
            analysis.stop()
            await running
        redis.start()
        async with wiring.analysis(settings, database, AnalyzeParams(poll_s=600)) as analysis:
            running = asyncio.create_task(analysis.run())
            async with listening(database, "ohlc_bars") as heard:
                await until(lambda: ("", "") in heard)
                await asyncio.sleep(0.5)  # the analysis listens too
                await database.store_bars(bars(30, 30))
                await until_read(database, 60)
            analysis.stop()
            await running
