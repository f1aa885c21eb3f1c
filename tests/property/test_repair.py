"""Bars of which part was missed become those of the complete stream once their gaps are repaired."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from operator import itemgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from escapement.core.aggregation import OHLCBarAggregator, Rebuild, intervals, open_since, with_root
from escapement.core.aggregation.ladder import ladder
from escapement.model import (
    Bar,
    BarSource,
    Gap,
    GapCause,
    Interval,
    Period,
    Session,
    SessionCalendar,
    Timeframe,
    Trade,
)
from reference_bars import bar_order, reference_bars
from streams import ALL, CONTRACT, DAY, HOUR, MONDAY_OPEN, WEEK, streams, timeframe_sets

Key = tuple[Timeframe, int]
MINUTE = Timeframe.parse("1m")
LADDER = [Timeframe.parse(text) for text in ("1m", "5m", "1h", "4h", "1d", "1w")]


def broken_week() -> SessionCalendar:
    """Sessions with breaks of any length within, over the end of a month, and bars that their ends cut."""

    def session(day: int, *minutes: tuple[int, int]) -> Session:
        begin_ns = MONDAY_OPEN + day * DAY
        periods = [Period(begin_ns + opens * 60 * 10**9, begin_ns + closes * 60 * 10**9) for opens, closes in minutes]
        return Session(date(2025, 3, 31) + timedelta(days=day), tuple(periods))

    return SessionCalendar(
        "broken",
        [
            session(0, (0, 195), (210, 1_000), (1_015, 1_380)),
            session(1, (0, 7), (7, 1_380)),
            session(2, (0, 101), (300, 301)),
            session(4, (0, 60), (120, 1_380)),
        ],
    )


BROKEN = broken_week()
calendars = st.sampled_from([WEEK, BROKEN])
EDGES = [
    edge
    for calendar in (WEEK, BROKEN)
    for session in calendar.sessions
    for period in session.periods
    for edge in (period.open_ns, period.close_ns)
]
edgy = st.builds(
    int.__add__, st.sampled_from(EDGES), st.sampled_from([-HOUR, -60 * 10**9, -1_000, 0, 1_000, 60 * 10**9, HOUR])
)


def walk(calendar: SessionCalendar, timeframe: Timeframe, gap: Gap) -> list[Interval]:
    """Return the intervals that the gap touches, the slow way: all of the calendar, one after another."""
    found: dict[Interval, None] = {}
    for period in (period for session in calendar.sessions for period in session.periods):
        at_ns: int = period.open_ns
        while at_ns < period.close_ns:
            interval = calendar.interval(timeframe, at_ns)
            assert interval is not None
            if touches(gap, interval):
                found[interval] = None
            at_ns = interval.end_ns if timeframe.is_intraday else period.close_ns
    return list(found)


moments = st.integers(0, 5 * DAY).map(lambda offset: MONDAY_OPEN + offset)


@st.composite
def gaps(draw: st.DrawFn, most: int = 4) -> list[Gap]:
    """Stretches within the week that do not touch, on the microsecond."""
    edges = sorted(draw(st.sets(st.integers(0, 5 * DAY // 1_000), max_size=2 * most)))
    return [
        Gap(CONTRACT, MONDAY_OPEN + begin * 1_000, MONDAY_OPEN + end * 1_000, GapCause.DISCONNECT)
        for begin, end in zip(edges[::2], edges[1::2], strict=False)
    ]


@st.composite
def gaps_near(draw: st.DrawFn, trades: Sequence[Trade]) -> list[Gap]:
    """Gaps around some of the trades, so that something is missed."""
    found: list[Gap] = []
    for trade in sorted(draw(st.lists(st.sampled_from(trades), max_size=4, unique=True)), key=lambda each: each.at_ns):
        begin = trade.at_ns - draw(st.sampled_from([0, 1_000, 20 * 10**9]))
        end = trade.at_ns + draw(st.sampled_from([1_000, 61 * 10**9, HOUR]))
        begin, end = begin - begin % 1_000, end + -end % 1_000
        if not found or begin > (found[-1].ends_ns or 0):
            found.append(Gap(CONTRACT, begin, end, GapCause.DISCONNECT))
    return found


def touches(gap: Gap, interval: Interval) -> bool:
    return gap.begins_ns < interval.end_ns and (gap.ends_ns or 0) > interval.open_ns


class Ingested:
    """A stream with gaps through an aggregator, and the repair of them as the service does it, without its database."""

    def __init__(self, trades: Sequence[Trade], missed: Sequence[Gap], timeframes: Sequence[Timeframe]) -> None:
        self.stage = OHLCBarAggregator({CONTRACT: WEEK}, timeframes, tolerance_ns=0)
        self.rebuild = Rebuild(WEEK, timeframes)
        self.complete = {(bar.timeframe, bar.start_ns): bar for bar in reference_bars(trades, WEEK, timeframes)}
        self.stored: dict[Key, Bar] = {}
        self.open = list(missed)
        self.heard = [
            trade for trade in trades if not any(gap.begins_ns <= trade.at_ns < (gap.ends_ns or 0) for gap in missed)
        ]

    def run(self, until_ns: int, from_ns: int = 0) -> None:
        """Take trades, and take note of each gap at its end, as ingestion does."""
        trades = [(trade.at_ns, trade) for trade in self.heard]
        marks = [(gap.ends_ns or 0, gap) for gap in self.open]
        events: list[tuple[int, Gap | Trade]] = [*marks, *trades]
        for at_ns, each in sorted(events, key=itemgetter(0)):  # stable: the gap before a trade at its end
            if not from_ns <= at_ns < until_ns:
                continue
            if isinstance(each, Gap):
                self.stage.mark_unobserved(each.begins_ns, at_ns, contract_id=CONTRACT)
                self.keep(self.stage.advance_to(at_ns))
            else:
                self.keep(bar for bar in self.stage.push(each) if isinstance(bar, Bar))
        self.keep(self.stage.advance_to(until_ns))

    def keep(self, bars: Iterable[Bar]) -> None:
        for bar in bars:
            self.stored[bar.timeframe, bar.start_ns] = bar

    def repair(self, repaired: Sequence[Gap]) -> None:
        self.open = [gap for gap in self.open if gap not in repaired]
        watermark_ns = self.stage.watermark_ns(CONTRACT)
        roots = {root for gap in repaired for root in self.rebuild.roots(gap.begins_ns, gap.ends_ns or 0)}
        for root in roots:
            bar = self.complete.get((self.rebuild.root, root.label_ns))
            if bar is not None:
                self.stored[bar.timeframe, bar.start_ns] = structs.replace(bar, source=BarSource.HISTORY)
        mended = []
        for smaller, larger in self.rebuild.steps:
            parts = [bar for (timeframe, _), bar in self.stored.items() if timeframe == smaller]
            groups = self.rebuild.grouped(larger, parts)
            for interval in self.rebuild.overlapping(larger, repaired, roots):
                bar = self.rebuild.merged(larger, interval, groups.get(interval, []))
                if bar is None:
                    continue
                observed = not any(touches(gap, interval) for gap in self.open)
                if interval.end_ns > watermark_ns:
                    mended.append(structs.replace(bar, whole=bar.whole and observed))
                elif bar.whole and observed:
                    self.stored[larger, bar.start_ns] = bar
        left = [(gap.begins_ns, gap.ends_ns or 0) for gap in self.open]
        self.stage.mend(CONTRACT, mended, left)

    def due(self) -> list[Gap]:
        watermark_ns = self.stage.watermark_ns(CONTRACT)
        lasts = [(gap, self.rebuild.last_root(gap.begins_ns, gap.ends_ns or 0)) for gap in self.open]
        return [
            gap for gap, last in lasts
            if (gap.ends_ns or 0) <= watermark_ns and (last is None or last.end_ns <= watermark_ns)
        ]  # fmt: skip


@given(st.data(), streams().filter(bool), st.lists(moments, min_size=1, max_size=4).map(sorted))
def test_repaired_at_any_moment_every_bar_is_whole_and_as_if_nothing_had_been_missed(
    data: st.DataObject, trades: list[Trade], stops: list[int]
) -> None:
    ingested = Ingested(trades, data.draw(st.one_of(gaps_near(trades), gaps())), LADDER)
    from_ns = 0
    for stop_ns in [*stops, MONDAY_OPEN + 9 * DAY]:
        ingested.run(stop_ns, from_ns)
        from_ns = stop_ns
        due = ingested.due()
        ingested.repair(data.draw(st.lists(st.sampled_from(due), unique=True)) if due else [])
        saved = json.loads(json.dumps(ingested.stage.snapshot()))
        ingested.stage = OHLCBarAggregator({CONTRACT: WEEK}, LADDER, tolerance_ns=0)
        ingested.stage.restore(saved)
    ingested.keep(ingested.stage.finish())
    ingested.repair(ingested.open)
    found = sorted((structs.replace(bar, source=BarSource.LIVE) for bar in ingested.stored.values()), key=bar_order)
    assert found == sorted(ingested.complete.values(), key=bar_order)


@given(st.data(), streams().filter(bool))
def test_a_bar_is_whole_exactly_when_no_gap_touches_its_interval(data: st.DataObject, trades: list[Trade]) -> None:
    missed = data.draw(gaps_near(trades))
    ingested = Ingested(trades, missed, LADDER)
    ingested.run(MONDAY_OPEN + 9 * DAY)
    ingested.keep(ingested.stage.finish())
    for bar in ingested.stored.values():
        interval = WEEK.interval_labelled(bar.timeframe, bar.start_ns)
        assert interval is not None
        assert bar.whole == (not any(touches(gap, interval) for gap in missed)), bar


@given(gaps(), st.sampled_from(["7s", "1m", "45m"]))
def test_intervals_and_last_roots_are_those_of_a_walk_through_the_calendar(missed: list[Gap], text: str) -> None:
    root = Timeframe.parse(text)
    rebuild = Rebuild(WEEK, [root])
    for gap in missed:
        ends_ns = min(gap.ends_ns or 0, gap.begins_ns + 30 * HOUR)
        walked = []
        for period in (period for session in WEEK.sessions for period in session.periods):
            open_ns = period.open_ns
            while open_ns < period.close_ns:
                end_ns = min(open_ns + root.length_ns, period.close_ns)
                if open_ns < ends_ns and end_ns > gap.begins_ns:
                    walked.append(Interval(open_ns, open_ns, end_ns))
                open_ns = end_ns
        assert list(intervals(WEEK, root, gap.begins_ns, ends_ns)) == walked
        assert rebuild.last_root(gap.begins_ns, ends_ns) == (walked[-1] if walked else None)


@given(moments, timeframe_sets)
def test_the_oldest_bar_in_progress_began_then(at_ns: int, timeframes: list[Timeframe]) -> None:
    began = [at_ns]
    for timeframe in timeframes:
        for session in WEEK.sessions:
            for period in session.periods:
                for near_ns in (period.open_ns, min(at_ns, period.close_ns - 1)):
                    interval = WEEK.interval(timeframe, near_ns)
                    if interval is not None and interval.open_ns <= at_ns < interval.end_ns:
                        began.append(interval.open_ns)
    assert open_since(WEEK, timeframes, at_ns) == min(began)


@given(st.lists(st.sampled_from(ALL), min_size=1, max_size=5, unique=True))
def test_with_a_root_all_timeframes_are_made_of_one_that_is_kept_and_that_the_venue_serves(
    timeframes: list[Timeframe],
) -> None:
    chosen = with_root(timeframes)
    root = ladder(chosen)[0]
    assert root.visible
    assert root.timeframe.is_intraday
    assert root.timeframe.length_ns <= HOUR
    assert set(timeframes) <= set(chosen)
    assert with_root(chosen) == chosen
    assert {larger for _, larger in Rebuild(WEEK, chosen).steps} == set(chosen) - {root.timeframe}


def test_more_stretches_than_are_kept_apart_never_make_a_bar_whole_that_is_not() -> None:
    stage = OHLCBarAggregator({CONTRACT: WEEK}, [MINUTE, Timeframe.parse("1h")], tolerance_ns=0)
    minute = 60 * 10**9
    missed = [
        Gap(CONTRACT, MONDAY_OPEN + n * 2 * minute, MONDAY_OPEN + n * 2 * minute + 10, GapCause.LATE)
        for n in range(300)
    ]
    for gap in missed:
        stage.mark_unobserved(gap.begins_ns, gap.ends_ns or 0)
    for n in range(600):
        for outcome in stage.push(Trade(CONTRACT, MONDAY_OPEN + n * minute, 5_000.0, 1)):
            assert isinstance(outcome, Bar)
            interval = WEEK.interval_labelled(outcome.timeframe, outcome.start_ns)
            assert interval is not None
            assert not (outcome.whole and any(touches(gap, interval) for gap in missed))


@given(calendars, st.one_of(moments, edgy))
def test_the_period_before_a_moment_is_the_last_that_opened(calendar: SessionCalendar, at_ns: int) -> None:
    opened = [period for session in calendar.sessions for period in session.periods if period.open_ns < at_ns]
    assert calendar.period_before(at_ns) == (opened[-1] if opened else None)


@given(calendars, st.lists(st.tuples(edgy, st.sampled_from([1_000, HOUR, 2 * DAY])), min_size=1, max_size=3))
def test_a_repair_touches_the_bars_that_its_gaps_do_in_breaks_too(
    calendar: SessionCalendar, stretches: list[tuple[int, int]]
) -> None:
    timeframes = [Timeframe.parse(text) for text in ("15m", "45m", "4h", "1d", "1w", "1mo")]
    rebuild = Rebuild(calendar, timeframes)
    missed = [Gap(CONTRACT, begin, begin + length, GapCause.LATE) for begin, length in stretches]
    for gap in missed:
        walked = walk(calendar, rebuild.root, gap)
        assert list(rebuild.roots(gap.begins_ns, gap.ends_ns or 0)) == walked
        assert rebuild.last_root(gap.begins_ns, gap.ends_ns or 0) == (walked[-1] if walked else None)
    roots = {root for gap in missed for root in rebuild.roots(gap.begins_ns, gap.ends_ns or 0)}
    for timeframe in timeframes[1:]:
        touched = {interval for gap in missed for interval in walk(calendar, timeframe, gap)}
        expected = sorted(touched, key=lambda interval: interval.open_ns)
        assert rebuild.overlapping(timeframe, missed, roots) == expected


@given(calendars, edgy)
def test_the_oldest_bar_in_progress_is_found_from_within_a_break_too(calendar: SessionCalendar, at_ns: int) -> None:
    timeframes = [Timeframe.parse(text) for text in ("15m", "4h", "1d", "1w")]
    now = Gap(CONTRACT, at_ns, at_ns + 1, GapCause.START)
    began = [interval.open_ns for timeframe in timeframes for interval in walk(calendar, timeframe, now)]
    assert open_since(calendar, timeframes, at_ns) == min([at_ns, *began])


@pytest.mark.parametrize("count", [100, 101, 300])
def test_a_state_can_be_restored_however_many_stretches_a_repair_leaves(count: int) -> None:
    timeframes = [MINUTE, Timeframe.parse("1h")]
    stage = OHLCBarAggregator({CONTRACT: WEEK}, timeframes, tolerance_ns=0)
    stage.push(Trade(CONTRACT, MONDAY_OPEN, 5_000.0, 1))
    left = [(MONDAY_OPEN + n * 120 * 10**9, MONDAY_OPEN + n * 120 * 10**9 + 10) for n in range(count)]
    stage.mend(CONTRACT, [], left)
    restored = OHLCBarAggregator({CONTRACT: WEEK}, timeframes, tolerance_ns=0)
    restored.restore(json.loads(json.dumps(stage.snapshot())))
    for n in range(1, 2 * count):
        for bar in restored.push(Trade(CONTRACT, MONDAY_OPEN + n * 60 * 10**9, 5_000.0, 1)):
            assert isinstance(bar, Bar)
            lacks = any(begin < bar.end_ns and end > bar.start_ns for begin, end in left)
            # The minute in progress when the gaps were told was not said to be mended.
            assert bar.start_ns == MONDAY_OPEN or not (bar.whole and lacks)
