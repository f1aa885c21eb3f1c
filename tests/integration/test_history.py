"""A download of history over a failing gateway: complete, repeatable, and true about what is lacking."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from pydantic import SecretStr

from escapement.calendars import calendar
from escapement.core.aggregation.columns import TradeColumns, aggregate_trades
from escapement.errors import GatewayProtocolError, GatewayRefused, GatewayUnavailable
from escapement.model import NS_PER_SECOND, Bar, BarSource, Timeframe, Trade
from escapement.moments import ns_from_iso
from escapement.projectx import GatewayClient, GatewayParams, RateLimit
from escapement.services.history import Download, Downloaded, HistoryParams
from escapement.simulator import Fault, Simulator, SimulatorConfig, contract_facts
from escapement.storage import DBHandler
from escapement.storage.completeness import completeness
from escapement.storage.history import DownloadStore
from escapement.wiring import GatewayHistory
from simulated import MES

CALENDAR = calendar("cme_equity")
MINUTE_NS, HOUR_NS = 60 * NS_PER_SECOND, 3_600 * NS_PER_SECOND
ALL = [Timeframe.parse(text) for text in ("1m", "5m", "7m", "15m", "1h", "4h", "1d", "1w", "1mo")]
LATER_NS = ns_from_iso("2026-01-01T00:00:00Z")
QUICK = HistoryParams(wait_s=0.01, attempts=12)


def sessions(first: date, last: date) -> tuple[int, int]:
    """From the first open to the last close of these trade dates."""
    found = [session for session in CALENDAR.sessions if first <= session.trade_date <= last]
    return found[0].open_ns, found[-1].close_ns


# Three weeks, the change to summer time among them, and the whole month's sessions besides.
MARCH = sessions(date(2025, 3, 3), date(2025, 3, 21))
MONTH = sessions(date(2025, 3, 3), date(2025, 3, 31))


def minutes(from_ns: int, to_ns: int, contract_id: str = MES, *, quiet: float = 0.02, seed: int = 1) -> list[Trade]:
    """Trades of one or two moments in most minutes of the sessions."""
    chance = random.Random(seed)
    trades, price = [], 23_000
    for session in CALENDAR.sessions_between(from_ns, to_ns):
        for period in session.periods:
            for at_ns in range(max(period.open_ns, from_ns), min(period.close_ns, to_ns), MINUTE_NS):
                if chance.random() < quiet:
                    continue
                for second in (3, 48)[: chance.randint(1, 2)]:
                    price += chance.choice((-2, -1, 1, 2))
                    moment_ns = at_ns + second * NS_PER_SECOND
                    trades.append(Trade(contract_id, moment_ns, price / 4, chance.randint(1, 9)))
    return trades


def offline(trades: Sequence[Trade], timeframes: Sequence[Timeframe], from_ns: int, to_ns: int) -> set[Bar]:
    """The complete bars that lie within, with the source a download gives them."""
    columns = TradeColumns(
        np.array([trade.at_ns for trade in trades], np.int64), np.array([trade.price for trade in trades]),
        np.array([trade.volume for trade in trades], np.int64),
    )  # fmt: skip
    found = set()
    for timeframe, bars in aggregate_trades(columns, CALENDAR, timeframes).items():
        for bar in bars.bars(trades[0].contract_id):
            interval = CALENDAR.interval(timeframe, bar.end_ns - 1)
            assert interval is not None
            if interval.open_ns >= from_ns and bar.end_ns <= to_ns:
                found.add(bar)
    return found


def sourced(bars: set[Bar], asked: str = "1m") -> set[Bar]:
    root = Timeframe.parse(asked)
    return {
        structs.replace(bar, source=BarSource.HISTORY if bar.timeframe == root else BarSource.REBUILT) for bar in bars
    }


@dataclass
class World:
    """A venue and a database."""

    simulator: Simulator
    client: GatewayClient
    database: DBHandler
    now_ns: int = LATER_NS

    async def download(
        self, timeframes: Sequence[Timeframe], from_ns: int, to_ns: int, *, contract: str = MES, **changes: Any
    ) -> Downloaded:
        params = replace(QUICK, **changes)
        venue = GatewayHistory(self.client, {contract: CALENDAR}, params.page)
        store = DownloadStore(self.database)
        return await Download(contract, CALENDAR, timeframes, venue, store, params, lambda: self.now_ns).run(
            from_ns, to_ns
        )

    async def bars(self, contract: str = MES) -> set[Bar]:
        found: set[Bar] = set()
        for series in await self.database.series():
            if series.contract_id == contract:
                found |= set(await self.database.bars_between(contract, series.timeframe, 0, LATER_NS))
        return found

    async def everything(self) -> object:
        """How many rows there are and which transaction wrote the last; of bars, also which one touched any."""
        tables = ("ohlc_bars", "bar_revisions", "coverage", "stage_states", "tracked_series", "trading_periods")
        counts = [f"SELECT '{table}', count(*), max(xmin::text::bigint) FROM {table}" for table in tables]
        touched = "SELECT 'touched', count(*), max(xmax::text::bigint) FROM ohlc_bars"
        return (await self.database.read(" UNION ALL ".join([*counts, touched]) + " ORDER BY 1"))[1]


@asynccontextmanager
async def world(url: str, trades: Sequence[Trade], *faults: Fault, **changes: Any) -> AsyncIterator[World]:
    config = SimulatorConfig(
        sorted({trade.contract_id for trade in trades}), audience="ignore", begin_ns=trades[-1].at_ns + 1,
        calls_limit=None, bars_limit=None, calendar="cme_equity", **{"faults": faults, **changes},
    )  # fmt: skip
    async with Simulator(config, trades) as simulator:
        params = GatewayParams(
            simulator.base_url, "demo", SecretStr("demo-key-0001"), timeout_s=0.5, attempts=1,
            limit=RateLimit(10_000, 1), bars_limit=RateLimit(10_000, 1),
        )  # fmt: skip
        async with GatewayClient(params) as client, await DBHandler.open(url) as database:
            yield World(simulator, client, database)


@pytest.fixture(scope="module")
def march() -> list[Trade]:
    return minutes(*MARCH)


async def test_twenty_thousand_minutes_over_a_failing_gateway_are_complete_and_a_second_run_writes_nothing(
    url: str, march: list[Trade]
) -> None:
    faults = [
        Fault("rate_limited", count=8, probability=0.3),
        Fault("unavailable_rest", count=5, probability=0.2),
        Fault("lost_answer", count=5, probability=0.2),
        Fault("slow_rest", count=3, probability=0.1, seconds=0.05),
        Fault("hanging_rest", count=2, probability=0.2),
        Fault("expired_tokens", count=2, probability=1.0),
        Fault("wrong_partial_bar", count=10),
    ]
    async with world(url, march, *faults) as there:
        done = await there.download(ALL, *MARCH, page=2_000)
        expected = offline(march, ALL, *MONTH)
        assert sum(bar.timeframe == ALL[0] for bar in expected) > 20_000
        assert sum(done.written.values()) == len(expected)
        assert await there.bars() == sourced(expected)
        assert there.simulator.faults.struck["rate_limited"] > 2
        assert there.simulator.faults.struck["lost_answer"] > 2
        before = await there.everything()
        again = await there.download(ALL, *MARCH, page=2_000)
        assert (again.answers, sum(again.written.values())) == (0, 0)
        assert await there.everything() == before


async def test_minutes_that_are_gone_leave_hours_and_say_so(url: str, march: list[Trade]) -> None:
    facts = replace(contract_facts(MES), active=False)
    async with world(url, march, minutes_since_ns={MES: MARCH[1]}, contracts=[facts]) as there:
        done = await there.download(ALL[:-1], *MARCH)
        hours = [timeframe for timeframe in ALL[:-1] if timeframe >= Timeframe.parse("1h")]
        assert await there.bars() == sourced(offline(march, hours, *MARCH), "1h")
        assert done.expired
        assert set(done.lacking) == set(ALL[:-1]) - set(hours)
        assert {stretch for stretches in done.lacking.values() for stretch in stretches} == {MARCH}
        # Nobody may conclude that nothing traded in those minutes.
        assert await there.database.coverage(MES) == []
        (day, *_) = await completeness(there.database, MES, ALL[0], *MARCH)
        assert (day.empty, day.unknown) == (0, day.expected)
        before = await there.everything()
        again = await there.download(ALL[:-1], *MARCH)
        assert not again.written
        assert await there.everything() == before
        # Whoever keeps hours only has it complete.
    async with world(url, minutes(*MARCH, "HOURS"), minutes_since_ns={"HOURS": MARCH[1]}) as there:
        done = await there.download(hours, *MARCH, contract="HOURS")
        assert not done.lacking
        assert not [
            each for hour in hours for each in await completeness(there.database, "HOURS", hour, *MARCH) if each.unknown
        ]


@pytest.mark.parametrize("page", [500, 3_000])
async def test_minutes_that_begin_within_the_stretch_are_had_from_there(
    url: str, march: list[Trade], page: int
) -> None:
    since_ns = ns_from_iso("2025-03-12T14:23:00Z")
    timeframes = [timeframe for timeframe in ALL if str(timeframe) != "7m"]
    async with world(url, march, minutes_since_ns={MES: since_ns}) as there:
        done = await there.download(timeframes, *MARCH, page=page)
        # The hour in which they begin is cut, so bars of it are made of hours, or not at all.
        cut_ns = ns_from_iso("2025-03-12T15:00:00Z")
        smaller = [timeframe for timeframe in timeframes if timeframe < Timeframe.parse("1h")]
        found = await there.bars()
        assert {each.timeframe for each in found} == set(timeframes)
        of_minutes = offline([each for each in march if each.at_ns >= since_ns], timeframes, since_ns, MONTH[1])
        expected = {bar for bar in of_minutes if bar.timeframe == ALL[0]}
        expected |= {bar for bar in offline(march, smaller, cut_ns, MONTH[1]) if bar.timeframe != ALL[0]}
        expected |= offline(march, [each for each in timeframes if each not in smaller], *MONTH)
        assert plain(found) == plain(expected)
        assert set(done.lacking) == set(smaller)
        assert {stretch for stretches in done.lacking.values() for stretch in stretches} == {(MARCH[0], cut_ns)}


def plain(bars: set[Bar]) -> set[Bar]:
    return {structs.replace(bar, source=BarSource.LIVE) for bar in bars}


async def test_what_is_there_live_stays_and_what_is_not_whole_is_replaced(url: str, march: list[Trade]) -> None:
    day = sessions(date(2025, 3, 5), date(2025, 3, 5))
    minute, *_, daily = timeframes = [Timeframe.parse(text) for text in ("1m", "5m", "1h", "1d")]
    truth = offline(march, timeframes, *day)
    cut_ns, end_ns = ns_from_iso("2025-03-05T17:00:00Z"), ns_from_iso("2025-03-05T18:00:00Z")
    live = {structs.replace(bar, close=bar.high) for bar in truth if bar.end_ns <= cut_ns and bar.timeframe == minute}
    cut = {structs.replace(bar, whole=False, volume=0) for bar in truth if cut_ns < bar.end_ns <= end_ns}
    after = offline(march, [minute], day[1], day[1] + 4 * HOUR_NS)
    async with world(url, march) as there:
        await there.database.store_bars([*live, *cut, *after])
        await there.download(timeframes, *day)
        bars = await there.bars() - after
        assert {bar for bar in bars if bar.source is BarSource.LIVE} == live
        minutes_now = {bar for bar in bars if bar.timeframe == minute}
        assert minutes_now - live == {
            structs.replace(bar, source=BarSource.HISTORY)
            for bar in truth
            if bar.timeframe == minute and bar.end_ns > cut_ns
        }
        # A larger bar agrees with the smaller ones that are stored.
        (of_the_day,) = (bar for bar in bars if bar.timeframe == daily)
        assert of_the_day.volume == sum(bar.volume for bar in minutes_now)
        closes = {bar.start_ns: bar.close for bar in minutes_now}
        assert all(bar.close == closes[bar.end_ns - MINUTE_NS] for bar in bars if bar.end_ns - MINUTE_NS in closes)
        # What was not whole is kept as it was, and what came in behind later bars is noted.
        rows = (await there.database.read("SELECT whole, count(*) FROM bar_revisions GROUP BY 1"))[1]
        newest = {bar.timeframe: bar.start_ns for bar in [*cut, *after]}
        known = {(bar.timeframe, bar.start_ns) for bar in live | cut}
        behind = [bar for bar in bars if (bar.timeframe, bar.start_ns) not in known]
        assert set(rows) == {
            (False, len(cut)), (None, sum(bar.start_ns < newest.get(bar.timeframe, 0) for bar in behind))
        }  # fmt: skip


async def test_the_newest_bar_is_not_believed_until_a_later_one_comes_or_time_passes(url: str) -> None:
    begin_ns = sessions(date(2025, 3, 5), date(2025, 3, 5))[0]
    end_ns = begin_ns + 2 * HOUR_NS
    trades = minutes(begin_ns, end_ns, quiet=0.0)
    timeframes = [Timeframe.parse(text) for text in ("1m", "5m", "1h")]
    async with world(url, trades) as there:
        there.now_ns = end_ns + 3 * MINUTE_NS
        await there.download(timeframes, begin_ns, LATER_NS)
        assert await there.bars() == sourced(offline(trades, timeframes, begin_ns, end_ns - MINUTE_NS))
        assert await there.database.coverage(MES) == [(begin_ns, end_ns - MINUTE_NS)]
        there.now_ns += HOUR_NS
        done = await there.download(timeframes, begin_ns, LATER_NS)
        assert await there.bars() == sourced(offline(trades, timeframes, begin_ns, end_ns))
        assert done.written == dict.fromkeys(timeframes, 1)
        assert await there.database.coverage(MES) == [(begin_ns, end_ns + 53 * MINUTE_NS)]


async def test_bars_of_seconds_and_all_that_is_made_of_them(url: str) -> None:
    day = sessions(date(2025, 3, 5), date(2025, 3, 5))
    trades = minutes(*day)
    timeframes = [Timeframe.parse(text) for text in ("15s", "1m", "7m", "1h", "1d")]
    async with world(url, trades) as there:
        done = await there.download(timeframes, *day)
        assert not done.lacking
        assert await there.bars() == sourced(offline(trades, timeframes, *day), "15s")
        more = [Timeframe.parse("30s"), Timeframe.parse("4h")]
        again = await there.download(more, *day)
        assert await there.bars() >= sourced(offline(trades, more, *day), "30s")
        assert again.answers > 0


async def test_another_timeframe_is_made_of_what_is_stored_without_asking(url: str, march: list[Trade]) -> None:
    day = sessions(date(2025, 3, 5), date(2025, 3, 6))
    async with world(url, march) as there:
        await there.download([Timeframe.parse("4h")], *day)
        more = [Timeframe.parse("7m"), Timeframe.parse("1d")]
        done = await there.download(more, *day)
        assert done.answers == 0
        both = [Timeframe.parse("1m"), Timeframe.parse("4h"), *more]
        assert await there.bars() == sourced(offline(march, both, *day))


async def test_bars_that_cannot_be_are_refused_by_name_and_nothing_of_them_is_stored(
    url: str, march: list[Trade], monkeypatch: pytest.MonkeyPatch
) -> None:
    day = sessions(date(2025, 3, 5), date(2025, 3, 5))
    async with world(url, march) as there:
        served = there.client.bars

        async def spoilt(*arguments: Any, **options: Any) -> list[Bar]:
            bars = await served(*arguments, **options)
            return [structs.replace(bar, high=bar.low - 1) if bar is bars[7] else bar for bar in bars]

        monkeypatch.setattr(there.client, "bars", spoilt)
        with pytest.raises(GatewayProtocolError, match=r"1m bar of 2025-03-04T23:0\dZ? ?.*high and low do not enclose"):
            await there.download(ALL[:1], *day)
        assert await there.bars() == set()
        assert await there.database.coverage(MES) == []


async def test_a_gateway_that_stays_away_ends_it_and_keeps_what_was_stored(url: str, march: list[Trade]) -> None:
    async with world(url, march, Fault("unavailable_rest", count=1_000)) as there:
        with pytest.raises(GatewayUnavailable):
            await there.download(ALL[:1], *MARCH, attempts=2)


async def test_a_contract_the_venue_does_not_have_is_refused(url: str, march: list[Trade]) -> None:
    async with world(url, march) as there:
        with pytest.raises(GatewayRefused) as refused:
            await there.download(ALL[:1], *MARCH, contract="CON.F.US.MES.M20")
        assert refused.value.code == 1
        assert await there.bars("CON.F.US.MES.M20") == set()
