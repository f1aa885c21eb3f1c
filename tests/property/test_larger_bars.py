"""Larger bars made portion by portion are those made at once, without any that touches a hole."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from escapement.calendars import calendar
from escapement.core.aggregation.columns import BarColumns, aggregate_bars
from escapement.core.aggregation.larger import LargerBars
from escapement.errors import InvalidInput
from escapement.model import NS_PER_SECOND, Bar, BarSource, Timeframe
from escapement.moments import ns_from_iso

CALENDAR = calendar("cme_equity")
MINUTE = Timeframe.parse("1m")
TIMEFRAMES = [Timeframe.parse(text) for text in ("1m", "5m", "7m", "1h", "4h", "1d", "1w")]
MINUTE_NS = 60 * NS_PER_SECOND
# A whole week of sessions that ends before the market changes to summer time.
BEGIN_NS, END_NS = ns_from_iso("2025-03-02T23:00:00Z"), ns_from_iso("2025-03-07T22:00:00Z")
SPAN = (END_NS - BEGIN_NS) // MINUTE_NS


def minutes(seed: int, share: float) -> Iterator[Bar]:
    chance = random.Random(seed)
    for minute in range(SPAN):
        start_ns = BEGIN_NS + minute * MINUTE_NS
        if CALENDAR.is_open(start_ns) and chance.random() < share:
            first, last = chance.randint(90, 110), chance.randint(90, 110)
            high, low = max(first, last) + chance.randint(0, 2), min(first, last) - chance.randint(0, 2)
            yield Bar("A", MINUTE, start_ns, start_ns + MINUTE_NS, first, high, low, last, chance.randint(0, 9))


moments = st.integers(0, SPAN).map(lambda minute: BEGIN_NS + minute * MINUTE_NS)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 1 << 30), st.sampled_from([0.002, 0.2, 1.0]), st.lists(moments, max_size=6, unique=True),
    st.lists(st.tuples(moments, st.integers(1, 300)), max_size=3),
)  # fmt: skip
def test_portions_and_holes(seed: int, share: float, cuts: list[int], given_holes: list[tuple[int, int]]) -> None:
    bars = list(minutes(seed, share))
    holes = sorted((begin_ns, min(begin_ns + length * MINUTE_NS, END_NS)) for begin_ns, length in given_holes)
    larger = LargerBars("A", CALENDAR, MINUTE, TIMEFRAMES)
    made: list[Bar] = []
    bounds = [BEGIN_NS, *sorted(cuts), END_NS]
    for begin_ns, end_ns in pairwise(bounds):
        own = [bar for bar in bars if begin_ns <= bar.start_ns < end_ns]
        known = [bar for bar in own if not any(first <= bar.start_ns < last for first, last in holes)]
        inside = [(max(first, begin_ns), min(last, end_ns)) for first, last in holes]
        made += larger.take(reversed(known), [hole for hole in inside if hole[0] < hole[1]], end_ns)
    expected = set()
    if bars:
        for timeframe, columns in aggregate_bars(BarColumns.of(MINUTE, bars), CALENDAR, TIMEFRAMES[1:]).items():
            for bar in columns.bars("A"):
                interval = CALENDAR.interval(timeframe, bar.end_ns - 1)
                assert interval is not None
                if not any(first < interval.end_ns and last > interval.open_ns for first, last in holes):
                    expected.add(structs.replace(bar, source=BarSource.REBUILT))
    assert len(made) == len(set(made))
    assert set(made) == expected


def test_a_bar_that_cannot_be_is_named() -> None:
    (first, second, *_) = minutes(1, 1.0)
    with pytest.raises(InvalidInput, match="1m bar of 2025-03-02T23:01:00Z cannot be used: its high and low do not"):
        LargerBars("A", CALENDAR, MINUTE, [MINUTE]).take(
            [first, structs.replace(second, high=second.low - 1)], [], END_NS
        )
