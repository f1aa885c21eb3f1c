"""A week of sessions and streams of trades on it, for property tests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from hypothesis import strategies as st

from escapement.core.aggregation import BarOutcome, TradeOutcome
from escapement.model import NS_PER_SECOND, Bar, Period, Session, SessionCalendar, Timeframe, Trade
from escapement.moments import ns_from_iso
from reference_bars import bar_order

MONDAY_OPEN = ns_from_iso("2025-03-16T22:00:00Z")
DAY = 86_400 * NS_PER_SECOND
HOUR = 3_600 * NS_PER_SECOND
CONTRACT = "CON.F.US.MES.M25"


def week() -> SessionCalendar:
    """Five days of 23 hours, of which the third closes early and the fourth merges into the fifth."""
    periods = [Period(MONDAY_OPEN + n * DAY, MONDAY_OPEN + n * DAY + 23 * HOUR) for n in range(5)]
    periods[2] = Period(periods[2].open_ns, periods[2].open_ns + 19 * HOUR)
    first = date(2025, 3, 17)
    sessions = [Session(first + timedelta(days=n), (periods[n],)) for n in range(3)]
    return SessionCalendar("week", [*sessions, Session(first + timedelta(days=4), tuple(periods[3:]))])


WEEK = week()
ALL = [Timeframe.parse(text) for text in ("7s", "15s", "1m", "60s", "3m", "5m", "45m", "1h", "4h", "1d", "1w", "1mo")]
timeframe_sets = st.lists(st.sampled_from(ALL), min_size=1, max_size=6, unique=True)


@st.composite
def streams(draw: st.DrawFn, *, most: int = 60) -> list[Trade]:
    """Trades in order of time, with bursts, equal times, quiet hours and interval edges."""
    at = 0
    trades = []
    for step in draw(st.lists(st.sampled_from([0, 0, 1, 999, 15 * 10**9, 60 * 10**9, 7 * HOUR]), max_size=most)):
        at += step
        at_ns = MONDAY_OPEN + at
        if WEEK.interval(ALL[0], at_ns) is None:
            continue
        price = draw(st.integers(1, 40)) * 0.25 + 5_000
        trades.append(Trade(CONTRACT, at_ns, price, draw(st.integers(0, 9))))
    return trades


def only_bars(outcomes: Iterable[BarOutcome | TradeOutcome]) -> list[Bar]:
    bars = []
    for outcome in outcomes:
        assert isinstance(outcome, Bar)
        bars.append(outcome)
    return sorted(bars, key=bar_order)
