"""Repairs of several gaps at once, and of bars whose timeframes changed between two runs.

A script takes the place of the feed and a list of trades that of the venue; database and all else are real.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from msgspec import structs

from escapement.core.aggregation import OHLCBarAggregator
from escapement.model import NS_PER_SECOND, Bar, BarSource, Period, Session, SessionCalendar, Timeframe, Trade
from escapement.ports import FeedEvent, FeedLive, FeedLost, TradesReceived
from escapement.services.ingest import Ingestion, IngestParams
from escapement.services.repair import RepairParams
from escapement.storage import DBHandler
from escapement.storage.completeness import gaps_between

CONTRACT = "CON.F.US.MES.Z26"
MINUTE_NS = 60 * NS_PER_SECOND
OPEN_NS = int(datetime(2026, 11, 4, 10, tzinfo=UTC).timestamp()) * NS_PER_SECOND
CALENDAR = SessionCalendar(
    "test", [Session(datetime(2026, 11, 4, tzinfo=UTC).date(), (Period(OPEN_NS, OPEN_NS + 360 * MINUTE_NS),))]
)


def at(minute: float) -> int:
    return OPEN_NS + int(minute * MINUTE_NS)


def trades_of(begin: float, end: float) -> list[Trade]:
    """A trade every ten seconds from one minute after the open to another."""
    first, last = round(begin * 6), round(end * 6)
    return [Trade(CONTRACT, at(n / 6 + 0.001), 6_000.0 + n * 7 % 13, 1) for n in range(first, last)]


def timeframes(*texts: str) -> list[Timeframe]:
    return [Timeframe.parse(text) for text in texts]


def offline(trades: Sequence[Trade], kept: Sequence[Timeframe]) -> list[Bar]:
    stage = OHLCBarAggregator({CONTRACT: CALENDAR}, kept, tolerance_ns=0)
    bars = [each for each in stage.push_many(trades) if isinstance(each, Bar)]
    return sorted(bars, key=lambda bar: (bar.timeframe, bar.start_ns))


class ScriptedFeed:
    """Yields the events put into it, in order, until closed."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[FeedEvent | None] = asyncio.Queue()

    async def events(self) -> AsyncIterator[FeedEvent]:
        while (event := await self.queue.get()) is not None:
            yield event

    async def renew(self, cause: str) -> None:
        raise AssertionError(cause)

    async def aclose(self) -> None:
        await self.queue.put(None)

    def hear(self, trades: Sequence[Trade]) -> None:
        self.queue.put_nowait(TradesReceived(tuple(trades), time.time_ns()))

    def live(self) -> None:
        self.queue.put_nowait(FeedLive(1, time.time_ns()))

    def lose(self) -> None:
        self.queue.put_nowait(FeedLost(1, "cut", time.time_ns()))


class Venue:
    """Serves what these trades make, but for the minutes it has lost."""

    def __init__(self, trades: Sequence[Trade], lost: Sequence[int] = ()) -> None:
        self.trades = [trade for trade in trades if (trade.at_ns - OPEN_NS) // MINUTE_NS not in lost]

    async def bars(self, contract_id: str, timeframe: Timeframe, from_ns: int, to_ns: int) -> list[Bar]:
        stage = OHLCBarAggregator({contract_id: CALENDAR}, [timeframe], tolerance_ns=0)
        bars = [each for each in stage.push_many(self.trades) if isinstance(each, Bar)]
        return [bar for bar in bars if from_ns <= bar.start_ns < to_ns]


@asynccontextmanager
async def running(
    store: DBHandler, venue: Venue, kept: Sequence[Timeframe]
) -> AsyncIterator[tuple[Ingestion, ScriptedFeed]]:
    feed = ScriptedFeed()
    params = IngestParams(clock="stream", repair=RepairParams(settle_s=0.05, longest_delay_s=0.2, patience_s=1.0))
    service = Ingestion(feed, store, {CONTRACT: CALENDAR}, kept, venue, params)
    async with asyncio.TaskGroup() as group:
        group.create_task(service.run())
        yield service, feed
        service.stop()


async def heard(service: Ingestion, until_ns: int) -> None:
    async with asyncio.timeout(10):
        while service.statistics().venue_time_ns < until_ns:  # noqa: ASYNC110 - a poll
            await asyncio.sleep(0.02)


async def stored(store: DBHandler, kept: Sequence[Timeframe]) -> list[Bar]:
    return [
        structs.replace(bar, source=BarSource.LIVE)
        for timeframe in sorted(kept)
        for bar in await store.bars_between(CONTRACT, timeframe, 0, 1 << 62)
    ]


async def test_a_gap_that_the_venue_cannot_fill_keeps_no_other_open(url: str) -> None:
    kept = timeframes("1m", "5m")
    trades = trades_of(0, 31)
    lost = 7
    async with await DBHandler.open(url) as store, running(store, Venue(trades, [lost]), kept) as (service, feed):
        feed.live()
        for begin, end in ((0, 7.5), (7.7, 15.5), (16.5, 29.5), (29.6, 31)):
            feed.hear(trades_of(begin, end))
            if end < 31:
                feed.lose()
                feed.live()
        async with asyncio.timeout(20):
            while service.statistics().gaps_open > 1 or not await waits(store):  # noqa: ASYNC110 - a poll
                await asyncio.sleep(0.05)
        await service.settle(1.5)  # until the bar of the lost minute has waited long enough
        gaps = await gaps_between(store, CONTRACT, 0, 1 << 62)
        minutes = await stored(store, kept[:1])
    assert [(at(lost) <= gap.gap.begins_ns < at(lost + 1), gap.open) for gap in gaps] == [
        (False, False), (True, True), (False, False), (False, False),
    ]  # fmt: skip
    expected = offline(trades, kept[:1])
    assert [bar for bar in minutes if bar.start_ns != at(lost)] == [bar for bar in expected if bar.start_ns != at(lost)]


async def waits(store: DBHandler) -> bool:
    return any(gap.reason for gap in await gaps_between(store, CONTRACT, 0, 1 << 62))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("1m 1h", "1m 15m 1h"),
        ("1m 1h", "1m 5m 15m 1h"),
        ("1m 1h", "30s 1m 1h"),
        ("1m 1h", "30s 1m 15m 1h"),
        ("1h", "1m 1h"),
        ("5m", "1m 10m 15m 45m"),
        ("1m 2h", "1m 15m 1h 2h"),
    ],
)
async def test_a_timeframe_that_is_added_spoils_no_larger_bar(url: str, before: str, after: str) -> None:
    trades = trades_of(0, 241)
    venue = Venue(trades)
    old, new = timeframes(*before.split()), timeframes(*after.split())
    async with await DBHandler.open(url) as store:
        async with running(store, venue, old) as (service, feed):
            feed.live()
            feed.hear(trades_of(0, 77))
            feed.lose()
            feed.live()
            feed.hear(trades_of(77.4, 119.7))
            await heard(service, trades_of(0, 119.7)[-1].at_ns)
            if before == "1m 1h":
                await service.settle(5)
        async with running(store, venue, new) as (service, feed):
            feed.live()
            feed.hear(trades_of(120.5, 241))
            await heard(service, trades[-1].at_ns)
            await service.settle(10)
            assert service.statistics().gaps_open == 0
        found = await stored(store, new)
    expected = {(bar.timeframe, bar.start_ns): bar for bar in offline(trades, new)}
    assert [bar for bar in found if expected[bar.timeframe, bar.start_ns] != bar] == []
    # What was kept all the time is there in full.
    kept = {(bar.timeframe, bar.start_ns) for bar in found}
    assert {key for key in expected if key[0] in old and key[0] in new} <= kept
