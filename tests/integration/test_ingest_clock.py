"""Ingestion by our own clock, on a market that is open right now.

The simulator replays past days, and no test can wait for a real session, so the feed here is a script: a fake of the
port ``TradeFeed`` that yields what it is told. Aggregator and database are real.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from escapement.core.aggregation import OHLCBarAggregator
from escapement.errors import GatewayRefused
from escapement.model import NS_PER_SECOND, Bar, Period, Session, SessionCalendar, Timeframe, Trade
from escapement.ports import FeedEvent, FeedLive, FeedLost, TradesReceived
from escapement.services.ingest import Ingestion, IngestParams
from escapement.storage import DBHandler, open_database

CONTRACT = "CON.F.US.MES.Z26"
SECOND = Timeframe.parse("1s")


class ScriptedFeed:
    """Yields the events put into it, in order, until closed; an exception among them is raised."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[FeedEvent | Exception | None] = asyncio.Queue(1_000)

    async def events(self) -> AsyncIterator[FeedEvent]:
        while (event := await self.queue.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event

    async def aclose(self) -> None:
        await self.queue.put(None)

    def trade(self, at_ns: int, price: float = 6_000.0) -> None:
        trade = Trade(CONTRACT, at_ns, price, 1)
        self.queue.put_nowait(TradesReceived((trade,), time.time_ns()))

    def live(self, at_ns: int | None = None) -> None:
        self.queue.put_nowait(FeedLive(1, time.time_ns() if at_ns is None else at_ns))

    def lost(self) -> None:
        self.queue.put_nowait(FeedLost(1, "cut", time.time_ns()))


def open_now() -> SessionCalendar:
    """A market that has been open for an hour and will be for another."""
    second = time.time_ns() // NS_PER_SECOND * NS_PER_SECOND
    period = Period(second - 3_600 * NS_PER_SECOND, second + 3_600 * NS_PER_SECOND)
    return SessionCalendar("now", [Session(datetime.now(UTC).date(), (period,))])


def ingestion(feed: ScriptedFeed, store: DBHandler) -> Ingestion:
    aggregator = OHLCBarAggregator({CONTRACT: open_now()}, [SECOND])
    return Ingestion(feed, store, aggregator, [CONTRACT], IngestParams(clock="system", quiet_close_s=0.2))


async def stored(store: DBHandler, count: int) -> list[Bar]:
    """Wait for so many bars; they are there within a few seconds or never."""
    async with asyncio.timeout(20):
        while len(bars := await store.bars_between(CONTRACT, SECOND, 0, 1 << 62)) < count:  # noqa: ASYNC110 - a poll
            await asyncio.sleep(0.02)
    return bars


async def test_our_clock_closes_the_bar_of_a_market_that_fell_silent(tmp_path: Path) -> None:
    feed = ScriptedFeed()
    async with open_database(None, tmp_path) as store:
        service = ingestion(feed, store)
        task = asyncio.create_task(service.run())
        at_ns = time.time_ns()
        feed.live(at_ns - 2 * NS_PER_SECOND)
        feed.trade(at_ns)
        (bar,) = await stored(store, 1)
        assert time.time_ns() >= bar.end_ns
        assert (bar.volume, bar.whole) == (1, True)
        service.stop()
        await task


async def test_one_wild_time_stamp_is_refused_and_spoils_nothing(tmp_path: Path) -> None:
    feed = ScriptedFeed()
    async with open_database(None, tmp_path) as store:
        service = ingestion(feed, store)
        task = asyncio.create_task(service.run())
        feed.live()
        feed.trade(time.time_ns() + 90 * NS_PER_SECOND)
        feed.trade(time.time_ns())
        assert [bar.volume for bar in await stored(store, 1)] == [1]
        service.stop()
        await task
    assert (service.statistics().refused, service.statistics().late) == (1, 0)


async def test_bars_around_a_lost_connection_are_not_whole(tmp_path: Path) -> None:
    feed = ScriptedFeed()
    async with open_database(None, tmp_path) as store:
        service = ingestion(feed, store)
        task = asyncio.create_task(service.run())
        feed.trade(time.time_ns())  # before the subscriptions are acknowledged
        await stored(store, 1)
        feed.live()
        feed.trade(time.time_ns())
        feed.lost()
        await stored(store, 2)
        service.stop()
        await task
        assert [bar.whole for bar in await stored(store, 2)] == [False, False]
    assert service.statistics().holes == 1


async def test_a_bar_completed_while_subscriptions_are_on_their_way_is_not_whole(tmp_path: Path) -> None:
    feed = ScriptedFeed()
    at_ns = (time.time_ns() // NS_PER_SECOND - 30) * NS_PER_SECOND
    async with open_database(None, tmp_path) as store:
        aggregator = OHLCBarAggregator({CONTRACT: open_now()}, [SECOND])
        service = Ingestion(feed, store, aggregator, [CONTRACT], IngestParams(clock="stream"))
        feed.live()
        feed.trade(at_ns)
        feed.trade(at_ns + 3 * NS_PER_SECOND)
        feed.trade(at_ns + 6 * NS_PER_SECOND)
        feed.lost()
        feed.trade(
            at_ns + 9 * NS_PER_SECOND + 500_000_000
        )  # trades come again; other subscriptions are not acknowledged yet
        feed.live()
        feed.trade(at_ns + 12 * NS_PER_SECOND)
        feed.trade(at_ns + 15 * NS_PER_SECOND)
        await feed.aclose()
        await service.run()
        assert [bar.whole for bar in await stored(store, 5)] == [True, True, False, False, True]


async def test_a_feed_that_gives_up_ends_ingestion_after_its_bars_are_stored(tmp_path: Path) -> None:
    feed = ScriptedFeed()
    async with open_database(None, tmp_path) as store:
        service = ingestion(feed, store)
        at_ns = time.time_ns()
        feed.live(at_ns - 5 * NS_PER_SECOND)
        feed.trade(at_ns - 3 * NS_PER_SECOND)
        feed.trade(at_ns)
        feed.queue.put_nowait(GatewayRefused("log-in refused"))
        with pytest.raises(GatewayRefused, match="log-in refused"):
            await service.run()
        assert [bar.volume for bar in await stored(store, 1)] == [1]
        assert await store.load_state("ingest") is not None
