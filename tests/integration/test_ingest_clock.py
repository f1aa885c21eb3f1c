"""Ingestion by our own clock, on a market that is open right now.

The simulator replays past days, and no test can wait for a real session, so the feed here is a script: a fake of the
port ``TradeFeed`` that yields what it is told. Aggregator and database are real.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from escapement.core.aggregation import OHLCBarAggregator
from escapement.errors import GatewayRefused
from escapement.model import (
    NS_PER_SECOND,
    Bar,
    BarSource,
    Coverage,
    Gap,
    GapCause,
    Period,
    Session,
    SessionCalendar,
    Timeframe,
    Trade,
)
from escapement.ports import FeedEvent, FeedLive, FeedLost, TradesReceived
from escapement.services.comparison import CompareParams
from escapement.services.ingest import Ingestion, IngestParams
from escapement.services.repair import RepairParams
from escapement.storage import DBHandler, open_database
from escapement.storage.completeness import gaps_between

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

    async def renew(self, cause: str) -> None:
        self.lost(cause)
        self.live()

    async def aclose(self) -> None:
        await self.queue.put(None)

    def trade(self, at_ns: int, price: float = 6_000.0) -> None:
        trade = Trade(CONTRACT, at_ns, price, 1)
        self.queue.put_nowait(TradesReceived((trade,), time.time_ns()))

    def live(self, at_ns: int | None = None) -> None:
        self.queue.put_nowait(FeedLive(1, time.time_ns() if at_ns is None else at_ns))

    def lost(self, cause: str = "cut") -> None:
        self.queue.put_nowait(FeedLost(1, cause, time.time_ns()))


def open_now() -> SessionCalendar:
    """A market that has been open for an hour and will be for another."""
    second = time.time_ns() // NS_PER_SECOND * NS_PER_SECOND
    period = Period(second - 3_600 * NS_PER_SECOND, second + 3_600 * NS_PER_SECOND)
    return SessionCalendar("now", [Session(datetime.now(UTC).date(), (period,))])


def ingestion(feed: ScriptedFeed, store: DBHandler) -> Ingestion:
    params = IngestParams(clock="system", quiet_close_s=0.2)
    return Ingestion(feed, store, {CONTRACT: open_now()}, [SECOND], None, params)


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
        service = Ingestion(feed, store, {CONTRACT: open_now()}, [SECOND], None, IngestParams(clock="stream"))
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
        assert [bar.whole for bar in await stored(store, 5)] == [False, True, False, False, True]


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
        assert await store.load_state(f"ingest {CONTRACT}") is not None


async def test_a_steady_delay_or_a_clock_that_is_fast_makes_no_trade_late(tmp_path: Path) -> None:
    feed = ScriptedFeed()
    async with open_database(None, tmp_path) as store:
        service = ingestion(feed, store)
        task = asyncio.create_task(service.run())
        feed.live(time.time_ns() - 10 * NS_PER_SECOND)
        for number in range(30):  # three seconds of a market that reaches us four seconds late
            feed.trade(time.time_ns() - 4 * NS_PER_SECOND, 6_000.0 + number)
            await asyncio.sleep(0.1)
        bars = await stored(store, 3)
        service.stop()
        await task
    assert (service.statistics().late, service.statistics().trades) == (0, 30)
    assert all(bar.whole for bar in bars[1:])


async def test_a_clock_that_is_behind_ends_no_gap_before_trades_are_seen_again(tmp_path: Path) -> None:
    feed = ScriptedFeed()
    behind_ns = 3 * NS_PER_SECOND

    def now_ns() -> int:
        return time.time_ns() - behind_ns

    def trade() -> int:
        at_ns = time.time_ns()
        feed.queue.put_nowait(TradesReceived((Trade(CONTRACT, at_ns, 6_000.0, 1),), now_ns()))
        return at_ns

    async with open_database(None, tmp_path) as store:
        service = Ingestion(
            feed, store, {CONTRACT: open_now()}, [SECOND], None, IngestParams(quiet_close_s=0.2), now_ns=now_ns
        )
        task = asyncio.create_task(service.run())
        feed.live(now_ns())
        trade()
        await stored(store, 1)
        trade()
        feed.lost()
        await asyncio.sleep(1.2)  # nothing is heard of this second
        seen_ns = time.time_ns()
        feed.live(now_ns())
        trade()
        await stored(store, 3)
        service.stop()
        await task
        gaps = [each.gap for each in await gaps_between(store, CONTRACT, 0, 1 << 62)]
    (lost,) = [gap for gap in gaps if gap.cause is GapCause.DISCONNECT and gap.begins_ns < seen_ns]
    assert lost.ends_ns is not None
    assert lost.ends_ns >= seen_ns - NS_PER_SECOND // 2  # as far as its delay tells


async def test_a_late_trade_leaves_the_growing_bars_not_whole(tmp_path: Path) -> None:
    feed = ScriptedFeed()
    async with open_database(None, tmp_path) as store:
        calendar = open_now()
        timeframes = [SECOND, Timeframe.parse("5s")]
        service = Ingestion(feed, store, {CONTRACT: calendar}, timeframes, None, IngestParams(quiet_close_s=0.2))
        task = asyncio.create_task(service.run())
        second = calendar.sessions[0].open_ns + 3_500 * NS_PER_SECOND
        feed.live(second - NS_PER_SECOND)
        for at_s in (0, 1, 2, 0.5, 6):
            feed.trade(second + int(at_s * NS_PER_SECOND))
        async with asyncio.timeout(20):
            while not (five := await store.bars_between(CONTRACT, Timeframe.parse("5s"), 0, 1 << 62)):  # noqa: ASYNC110 - a poll
                await asyncio.sleep(0.02)
        service.stop()
        await task
    assert service.statistics().late == 1
    assert (five[0].volume, five[0].whole) == (3, False)


class HeldStore:
    """The real database behind a door that a test can shut."""

    def __init__(self, store: DBHandler) -> None:
        self.store = store
        self.open = asyncio.Event()

    async def store_observed(
        self,
        bars: Sequence[Bar],
        coverage: Sequence[Coverage],
        gaps: Sequence[Gap],
        states: Mapping[str, Mapping[str, object]] | None,
    ) -> int:
        await self.open.wait()
        return await self.store.store_observed(bars, coverage, gaps, states)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


async def test_a_full_buffer_stops_the_reading_and_the_backlog_is_not_late(tmp_path: Path) -> None:
    feed = ScriptedFeed()
    async with open_database(None, tmp_path) as store:
        held = HeldStore(store)
        params = IngestParams(quiet_close_s=0.3, buffer_bars=2)
        service = Ingestion(feed, held, {CONTRACT: open_now()}, [SECOND], None, params)
        task = asyncio.create_task(service.run())
        begin = time.time_ns() - 60 * NS_PER_SECOND
        feed.live(begin - NS_PER_SECOND)
        for number in range(50):
            feed.trade(begin + number * NS_PER_SECOND)
        await asyncio.sleep(1.5)  # our clock would have closed everything by now
        waiting = feed.queue.qsize()
        assert waiting > 40
        held.open.set()
        bars = await stored(store, 49)
        service.stop()
        await task
    assert (service.statistics().late, service.statistics().trades) == (0, 50)
    assert [bar.volume for bar in bars[:49]] == [1] * 49


class Venue:
    """All trades of a market that is open now, as its history serves them in seconds; a fake of ``BarHistory``."""

    def __init__(self, calendar: SessionCalendar) -> None:
        self.trades: list[Trade] = []
        self._calendar = calendar

    async def bars(self, contract_id: str, timeframe: Timeframe, from_ns: int, to_ns: int) -> list[Bar]:
        stage = OHLCBarAggregator({contract_id: self._calendar}, [timeframe], tolerance_ns=0)
        outcomes = [*stage.push_many(sorted(self.trades, key=lambda trade: trade.at_ns)), *stage.finish()]
        now_ns = time.time_ns()
        bars = [each for each in outcomes if isinstance(each, Bar) and each.end_ns <= now_ns]
        return [bar for bar in bars if from_ns <= bar.start_ns < to_ns]


async def test_by_our_clock_gaps_are_filled_and_a_frozen_feed_is_renewed(tmp_path: Path) -> None:
    feed, calendar = ScriptedFeed(), open_now()
    venue = Venue(calendar)
    five = Timeframe.parse("5s")
    params = IngestParams(
        quiet_close_s=0.5, repair=RepairParams(settle_s=0.2, confirm_s=1.0), compare=CompareParams(every_s=1.0)
    )

    def trade(price: float, *, heard: bool = True) -> None:
        each = Trade(CONTRACT, time.time_ns(), price, 1)
        venue.trades.append(each)
        if heard:
            feed.queue.put_nowait(TradesReceived((each,), time.time_ns()))

    async with open_database(None, tmp_path) as store:
        service = Ingestion(feed, store, {CONTRACT: calendar}, [SECOND, five], venue, params)
        task = asyncio.create_task(service.run())
        feed.live()
        for number in range(52):  # two seconds are missed by a lost connection, five by a freeze
            if number == 8:
                feed.lost()
            if number == 16:
                feed.live()
            trade(6_000.0 + number % 7, heard=number < 8 or 16 <= number < 24 or number >= 44)
            await asyncio.sleep(0.25)
        last_ns = venue.trades[-1].at_ns
        async with asyncio.timeout(30):
            while (  # noqa: ASYNC110 - a poll
                service.statistics().gaps_open
                or service.statistics().compared_ns <= last_ns
                or not await store.bars_between(CONTRACT, five, last_ns - 5 * NS_PER_SECOND, 1 << 62)
            ):
                await asyncio.sleep(0.05)
        service.stop()
        await task
        found = [
            structs.replace(bar, source=BarSource.LIVE)
            for timeframe in (SECOND, five)
            for bar in await store.bars_between(CONTRACT, timeframe, 0, 1 << 62)
        ]
        causes = [each.gap.cause for each in await gaps_between(store, CONTRACT, 0, 2 * last_ns)]
    expected = OHLCBarAggregator({CONTRACT: calendar}, [SECOND, five])
    outcomes = [*expected.push_many(venue.trades), *expected.finish()]
    assert found == sorted(
        (bar for bar in outcomes if isinstance(bar, Bar)), key=lambda bar: (bar.timeframe, bar.start_ns)
    )
    assert service.statistics().alarms >= 1
    assert {GapCause.START, GapCause.DISCONNECT, GapCause.FREEZE} <= set(causes)
