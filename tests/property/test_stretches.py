"""Stretches of time against sets of moments, and a stretch widened and cut against the calendar's own intervals."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from escapement.calendars import calendar
from escapement.core.stretches import Stretch, asked_of_the_venue, fits, joined, portions, widened, without
from escapement.model import NS_PER_SECOND, Timeframe
from escapement.moments import ns_from_iso

CALENDAR = calendar("cme_equity")
MARCH_NS = ns_from_iso("2025-03-01T00:00:00Z")
stretches = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8)
timeframes = st.lists(
    st.sampled_from(["5s", "7s", "30s", "90s", "1m", "7m", "1h", "4h", "12h", "1d", "1w", "1mo"]),
    min_size=1,
    unique=True,
).map(lambda names: [Timeframe.parse(name) for name in names])
moments = st.integers(0, 60 * 86_400).map(lambda second: MARCH_NS + second * NS_PER_SECOND)


def points(found: list[Stretch]) -> list[int]:
    return [point for begin, end in found for point in range(begin, end)]


@given(stretches)
def test_joined_covers_the_same_once_and_nothing_touches(given_stretches: list[Stretch]) -> None:
    found = joined(given_stretches)
    assert points(found) == sorted(set(points(given_stretches)))
    assert all(one[1] < other[0] for one, other in pairwise(found))


@given(st.tuples(st.integers(0, 30), st.integers(0, 30)), stretches)
def test_without_leaves_what_lies_in_no_other(stretch: Stretch, others: list[Stretch]) -> None:
    left = without(stretch, others)
    assert points(left) == sorted(set(range(*stretch)) - set(points(others)))
    assert all(begin < end for begin, end in left)


@given(timeframes, moments, st.integers(1, 20 * 86_400), st.integers(1, 5_000))
def test_a_widened_stretch_holds_every_bar_it_touches_and_its_portions_make_it_up(
    wanted: list[Timeframe], begin_ns: int, seconds: int, most: int
) -> None:
    asked = asked_of_the_venue(wanted)
    assert all(fits(asked[0], timeframe) for timeframe in wanted)
    stretch = begin_ns, begin_ns + seconds * NS_PER_SECOND
    wide = widened(CALENDAR, [asked[0], *wanted], stretch)
    if wide is None:
        assert not any(CALENDAR.is_open(at_ns) for at_ns in range(*stretch, 60 * NS_PER_SECOND))
        return
    assert wide[0] <= stretch[0]
    assert wide[1] >= stretch[1]
    for at_ns in [*range(*stretch, 997 * NS_PER_SECOND), stretch[1] - 1]:
        for timeframe in wanted:
            interval = CALENDAR.interval(timeframe, at_ns)
            assert interval is None or (wide[0] <= interval.open_ns and interval.end_ns <= wide[1])
    cut = list(portions(CALENDAR, asked[0], wide, most))
    assert joined(cut) == [wide]
    assert all(one[1] == other[0] for one, other in pairwise(cut))
    opens = {session.open_ns for session in CALENDAR.sessions}
    assert all(begin_ns in opens for begin_ns, _ in cut[1:])


def test_whole_minutes_are_asked_as_minutes_and_seconds_on_the_grid_of_the_clock() -> None:
    def asked(*names: str) -> list[str]:
        return [str(each) for each in asked_of_the_venue([Timeframe.parse(name) for name in names])]

    assert asked("1d", "1mo") == asked("7m", "4h") == asked("60s") == ["1m", "1h"]
    assert asked("15s", "20s", "1m") == ["5s", "1m", "1h"]
    assert asked("7s") == ["1s", "1m", "1h"]
