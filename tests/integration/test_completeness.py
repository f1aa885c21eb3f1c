"""What the database says of each interval, against a plain computation by the session calendar."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from escapement.calendars import calendar
from escapement.model import (
    NS_PER_SECOND,
    Bar,
    BarSource,
    Coverage,
    Gap,
    GapCause,
    Interval,
    SessionCalendar,
    Timeframe,
)
from escapement.moments import datetime_from_ns, ns_from_datetime, ns_from_iso
from escapement.storage import DBHandler
from escapement.storage.completeness import completeness, observed

HOUR_NS = 3_600 * NS_PER_SECOND
DAY_NS = 24 * HOUR_NS
CONTRACT, OTHER = "MES", "NQ"
WINDOWS = {
    "spring change": ("cme_equity", "2025-03-07T12:00:00Z"),
    "autumn change": ("cme_equity", "2025-10-31T12:00:00Z"),
    "a session of two periods": ("cme_equity", "2025-05-25T20:00:00Z"),
    "early close": ("cme_equity", "2024-11-28T20:00:00Z"),
    "continuous trading begins": ("cme_crypto", "2026-05-28T18:00:00Z"),
}
FINE = [Timeframe.parse(text) for text in ("15s", "1m", "60s", "7m", "1h")]
COARSE = [Timeframe.parse(text) for text in ("1h", "4h", "12h", "1d", "1w", "1mo")]
States = dict[tuple[Timeframe, int], tuple[date, int, int, str]]


@dataclass(frozen=True)
class World:
    """A stretch of one market, and what of it was stored."""

    sessions: SessionCalendar
    from_ns: int
    to_ns: int
    timeframes: tuple[Timeframe, ...]
    seed: int
    stored: float
    covered: float
    missed: float

    def intervals(self, timeframe: Timeframe) -> Iterator[Interval]:
        """Every interval that lies within the stretch, by asking the calendar at one moment after the other."""
        at_ns = self.sessions.sessions_between(self.from_ns - 40 * DAY_NS * (not timeframe.is_intraday), self.to_ns)[
            0
        ].open_ns
        while at_ns < self.to_ns:
            interval = self.sessions.interval(timeframe, at_ns)
            if interval is None:  # periods begin and end on whole minutes
                at_ns += 60 * NS_PER_SECOND - at_ns % (60 * NS_PER_SECOND)
                continue
            if interval.open_ns >= self.from_ns and interval.end_ns <= self.to_ns:
                yield interval
            at_ns = interval.end_ns

    def bars(self) -> list[Bar]:
        chance = random.Random(self.seed)
        return [
            Bar(
                CONTRACT, timeframe, each.label_ns, each.end_ns, 2, 3, 1, 2, 4,
                chance.random() < 0.8, chance.choice(list(BarSource)),
            )
            for timeframe in self.timeframes
            for each in self.intervals(timeframe)
            if chance.random() < self.stored
        ]  # fmt: skip

    def coverage(self) -> list[Coverage]:
        """Stretches that overlap, touch, or leave holes."""
        chance = random.Random(~self.seed)
        cuts = sorted(chance.randrange(self.from_ns, self.to_ns, NS_PER_SECOND) for _ in range(chance.randrange(30)))
        stretches = zip([self.from_ns, *cuts], [*cuts, self.to_ns], strict=True)
        return [
            Coverage(CONTRACT, begin_ns - chance.choice([0, 0, HOUR_NS]), end_ns, chance.choice(list(BarSource)))
            for begin_ns, end_ns in stretches
            if begin_ns < end_ns and chance.random() < self.covered
        ]

    def gaps(self) -> tuple[list[Gap], list[Gap]]:
        """Open and closed ones: of some length, of a single late trade, and sometimes one that lasts."""
        chance = random.Random(self.seed + 1)
        gaps = [
            Gap(CONTRACT, begins_ns, begins_ns + chance.choice([1, 999, 10**9, 60 * 10**9, HOUR_NS]), cause)
            for cause in GapCause
            for begins_ns in [chance.randrange(self.from_ns - HOUR_NS, self.to_ns, NS_PER_SECOND)]
            if chance.random() < self.missed
        ]
        half = len(gaps) // 2
        if gaps and chance.random() < 0.3:
            gaps[0] = replace(gaps[0], ends_ns=None)
        return gaps[:half], gaps[half:]

    def states(self) -> States:
        doubtful = [(gap.begins_ns, gap.ends_ns) for gap in self.gaps()[0]]
        bars = {(bar.timeframe, bar.start_ns): bar for bar in self.bars()}
        spans = [(self.opened(bar), bar.end_ns) for bar in bars.values()]
        seen = merged(self.coverage())

        def state(timeframe: Timeframe, interval: Interval) -> str:
            if any(begin < interval.end_ns and (end is None or interval.open_ns < end) for begin, end in doubtful):
                return "unknown"
            bar = bars.get((timeframe, interval.label_ns))
            if bar is not None:
                live = "live" if bar.source is BarSource.LIVE else "history"
                return live if bar.whole else "unknown"
            observed = any(begin <= interval.open_ns and interval.end_ns <= end for begin, end in seen)
            traded = any(interval.open_ns <= begin and end <= interval.end_ns for begin, end in spans)
            return "empty" if observed and not traded and kept(timeframe, interval) else "unknown"

        def kept(timeframe: Timeframe, interval: Interval) -> bool:
            """Whether each larger bar around the interval has a part in this series."""
            around = [
                each
                for each in bars.values()
                if each.timeframe.is_intraday and timeframe.is_intraday
                and each.timeframe.length_ns > timeframe.length_ns
                and each.start_ns <= interval.open_ns and interval.end_ns <= each.end_ns
            ]  # fmt: skip
            starts = [label_ns for series, label_ns in bars if series == timeframe]
            return all(any(each.start_ns <= at_ns < each.end_ns for at_ns in starts) for each in around)

        return {
            (timeframe, each.label_ns): (
                self.trade_date(each.end_ns - 1), each.open_ns, each.end_ns, state(timeframe, each),
            )
            for timeframe in self.timeframes
            for each in self.intervals(timeframe)
        }  # fmt: skip

    def opened(self, bar: Bar) -> int:
        interval = self.sessions.interval_labelled(bar.timeframe, bar.start_ns)
        assert interval is not None
        return interval.open_ns

    def trade_date(self, at_ns: int) -> date:
        found = self.sessions.locate(at_ns)
        assert found is not None
        return found[1].trade_date


def merged(coverage: list[Coverage]) -> list[tuple[int, int]]:
    stretches: list[tuple[int, int]] = []
    for each in sorted(coverage, key=lambda each: each.begins_ns):
        if stretches and each.begins_ns <= stretches[-1][1]:
            stretches[-1] = stretches[-1][0], max(stretches[-1][1], each.ends_ns)
        else:
            stretches.append((each.begins_ns, each.ends_ns))
    return stretches


def worlds(timeframes: list[Timeframe], *, hours: int) -> st.SearchStrategy[World]:
    def world(window: str, offset_s: int, length_s: int, chosen: list[Timeframe], *rest: float) -> World:
        name, around = WINDOWS[window]
        begin_ns = ns_from_iso(around) + offset_s * NS_PER_SECOND
        sessions = calendar(name)
        seed, stored, covered, missed = rest
        return World(
            sessions,
            begin_ns,
            begin_ns + length_s * NS_PER_SECOND,
            tuple(sorted(chosen)),
            int(seed),
            stored,
            covered,
            missed,
        )

    return st.builds(
        world, st.sampled_from(sorted(WINDOWS)), st.integers(0, 3 * 86_400), st.integers(60, hours * 3_600),
        st.lists(st.sampled_from(timeframes), min_size=1, max_size=4, unique=True), st.integers(0, 1 << 30),
        st.sampled_from([0, 0.02, 0.5, 0.98, 1]), st.sampled_from([0, 0.5, 0.9, 1]),
        st.sampled_from([0, 0.3]),
    )  # fmt: skip


async def put(database: DBHandler, world: World) -> None:
    await database.pool.execute("TRUNCATE ohlc_bars, coverage, data_gaps, trading_periods, tracked_series")
    sessions = world.sessions.sessions_of_whole_months(world.from_ns, world.to_ns)
    for contract in (CONTRACT, OTHER):
        await database.set_periods(contract, sessions)
        await database.track([contract], world.timeframes)
    still_open, closed = world.gaps()
    await database.store_observed(world.bars(), world.coverage(), [*still_open, *closed], None)
    await database.store_repair(CONTRACT, (), (), closed)
    # What is known of another contract says nothing of this one.
    elsewhere = replace(world, stored=1, seed=~world.seed)
    await database.store_observed(
        [structs.replace(bar, contract_id=OTHER, whole=True) for bar in elsewhere.bars()],
        [Coverage(OTHER, world.from_ns, world.to_ns, BarSource.LIVE)],
        [Gap(OTHER, world.from_ns, None, GapCause.DISCONNECT)],
        None,
    )


async def viewed(database: DBHandler, world: World) -> States:
    rows = await database.pool.fetch(
        "SELECT * FROM completeness WHERE contract_id = $1 AND begins_at >= $2 AND ends_at <= $3",
        CONTRACT, datetime_from_ns(world.from_ns), datetime_from_ns(world.to_ns),
    )  # fmt: skip
    names = {(int(each.unit), each.value): each for each in world.timeframes}
    states = {
        (names[row["timeframe_unit"], row["timeframe_value"]], ns_from_datetime(row["timestamp"])): (
            row["trade_date"], ns_from_datetime(row["begins_at"]), ns_from_datetime(row["ends_at"]), row["state"],
        )
        for row in rows
    }  # fmt: skip
    assert len(states) == len(rows), "each interval has one row"
    return states


async def agrees(database: DBHandler, world: World) -> None:
    if not world.sessions.sessions_between(world.from_ns, world.to_ns):
        return
    await put(database, world)
    expected = world.states()
    assert await viewed(database, world) == expected
    for timeframe in world.timeframes:
        mine = [value for key, value in expected.items() if key[0] == timeframe]
        counts = Counter((trade_date, state) for trade_date, _, _, state in mine)
        found = await completeness(database, CONTRACT, timeframe, world.from_ns, world.to_ns)
        assert [each.trade_date for each in found] == sorted({trade_date for trade_date, *_ in mine})
        for each in found:
            assert each.expected == each.live + each.history + each.empty + each.unknown
            for state in ("live", "history", "empty", "unknown"):
                assert getattr(each, state) == counts[each.trade_date, state]
            unknown = [
                Coverage(CONTRACT, begin_ns, end_ns, BarSource.LIVE)
                for trade_date, begin_ns, end_ns, state in mine
                if state == "unknown" and trade_date == each.trade_date
            ]
            assert list(each.stretches) == merged(unknown)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(worlds(FINE, hours=8))
def test_bars_within_a_session_are_told_as_the_calendar_has_them(url: str, world: World) -> None:
    async def run() -> None:
        async with await DBHandler.open(url, connections=1) as database:
            await agrees(database, world)

    asyncio.run(run())


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(worlds(COARSE, hours=24 * 70))
def test_days_weeks_and_months_are_told_as_the_calendar_has_them(url: str, world: World) -> None:
    async def run() -> None:
        async with await DBHandler.open(url, connections=1) as database:
            await agrees(database, world)

    asyncio.run(run())


BEGIN_NS = ns_from_iso("2025-03-17T13:00:00Z")
MINUTE_NS = 60 * NS_PER_SECOND


def bar(timeframe: str, minute: int, minutes: int, *, whole: bool = True, source: BarSource = BarSource.LIVE) -> Bar:
    begin_ns = BEGIN_NS + minute * MINUTE_NS
    parsed = Timeframe.parse(timeframe)
    return Bar(CONTRACT, parsed, begin_ns, begin_ns + minutes * MINUTE_NS, 2, 3, 1, 2, 4, whole, source)


def gap(minute: float, length_ns: int | None) -> Gap:
    begin_ns = BEGIN_NS + int(minute * MINUTE_NS)
    return Gap(CONTRACT, begin_ns, None if length_ns is None else begin_ns + length_ns, GapCause.LATE)


@pytest.mark.parametrize(
    ("timeframe", "bars", "gaps", "states"),
    [
        ("20m", [], [], ["empty", "empty", "empty"]),
        ("20m", [bar("20m", 20, 20), bar("20m", 40, 20, source=BarSource.REBUILT)], [], ["empty", "live", "history"]),
        ("20m", [bar("20m", 20, 20, whole=False), bar("1m", 3, 1)], [], ["unknown", "unknown", "empty"]),
        ("1m", [bar("60s", 1, 1)], [], ["empty", "unknown", "empty"]),
        ("1m", [bar("1m", 1, 1), bar("20m", 0, 20)], [], ["empty", "live", "empty"]),
        ("1m", [bar("20m", 0, 2)], [], ["unknown", "unknown", "empty"]),
        ("20m", [bar("7m", 14, 7), bar("7m", 42, 7)], [], ["empty", "empty", "unknown"]),
        ("20m", [bar("20m", 0, 20)], [gap(19.9, 1)], ["unknown", "empty", "empty"]),
        ("20m", [bar("20m", 20, 20)], [gap(20, 1)], ["empty", "unknown", "empty"]),
        ("20m", [], [gap(20, 20 * MINUTE_NS)], ["empty", "unknown", "empty"]),
        ("20m", [bar("20m", 20, 20)], [gap(30, None)], ["empty", "unknown", "unknown"]),
    ],
)
async def test_what_the_states_mean(
    url: str, timeframe: str, bars: list[Bar], gaps: list[Gap], states: list[str]
) -> None:
    asked = Timeframe.parse(timeframe)
    async with await DBHandler.open(url) as database:
        await database.set_periods(CONTRACT, calendar("cme_equity").sessions_of_whole_months(BEGIN_NS, BEGIN_NS + 1))
        await database.track([CONTRACT], [asked, *{bar.timeframe for bar in bars} - {asked}])
        covered = [Coverage(CONTRACT, BEGIN_NS, BEGIN_NS + HOUR_NS, BarSource.LIVE)]
        await database.store_observed(bars, covered, gaps, None)
        rows = await database.pool.fetch(
            "SELECT state FROM completeness WHERE (timeframe_unit, timeframe_value) = ($1, $2) AND begins_at >= $3 "
            "ORDER BY begins_at LIMIT 3",
            int(asked.unit), asked.value, datetime_from_ns(BEGIN_NS),
        )  # fmt: skip
        assert [row["state"] for row in rows] == states


async def test_a_timeframe_that_nobody_keeps_can_be_asked_for(url: str) -> None:
    begin_ns = ns_from_iso("2025-03-17T13:00:00Z")
    hour = Timeframe.parse("1h")
    async with await DBHandler.open(url) as database:
        assert await observed(database, CONTRACT) is None
        await database.set_periods(CONTRACT, calendar("cme_equity").sessions_of_whole_months(begin_ns, begin_ns + 1))
        (session,) = await completeness(database, CONTRACT, hour, begin_ns, begin_ns + 3 * HOUR_NS)
        assert (session.expected, session.unknown) == (3, 3)
        assert session.stretches == ((begin_ns, begin_ns + 3 * HOUR_NS),)
        await database.cover(CONTRACT, begin_ns, begin_ns + HOUR_NS, BarSource.LIVE)
        await database.cover(CONTRACT, begin_ns + HOUR_NS, begin_ns + 2 * HOUR_NS - 1_000, BarSource.HISTORY)
        (session,) = await completeness(database, CONTRACT, hour, begin_ns, begin_ns + 3 * HOUR_NS)
        assert (session.empty, session.unknown) == (1, 2)
        assert await observed(database, CONTRACT) == (begin_ns, begin_ns + 2 * HOUR_NS - 1_000)
        assert (await database.read("SELECT count(*) FROM completeness"))[1] == [(0,)], "the view shows what is kept"


def test_whole_months_are_those_with_their_weeks() -> None:
    sessions = calendar("cme_equity")

    def dates(begin: str, end: str) -> tuple[date, date]:
        found = sessions.sessions_of_whole_months(ns_from_iso(begin), ns_from_iso(end))
        index = sessions.sessions.index(found[0])
        assert list(found) == list(sessions.sessions[index : index + len(found)]), "without a hole"
        return found[0].trade_date, found[-1].trade_date

    assert dates("2025-03-17T13:00:00Z", "2025-03-17T14:00:00Z") == (date(2025, 3, 3), date(2025, 3, 31))
    assert dates("2025-03-17T13:00:00Z", "2025-03-31T14:00:00Z") == (date(2025, 3, 3), date(2025, 4, 4))
    assert dates("2025-01-02T13:00:00Z", "2025-01-03T14:00:00Z") == (date(2024, 12, 30), date(2025, 1, 31))
    closed = ns_from_datetime(datetime(2025, 3, 22, tzinfo=UTC))
    assert not sessions.sessions_of_whole_months(closed, closed + HOUR_NS)
