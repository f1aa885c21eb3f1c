"""Trend starts on arbitrary bars: as the rules say, whatever was saved and restored, never from the future."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st

from escapement.core.analysis import TrendStarts
from escapement.model import Bar, Signal, Timeframe
from reference_trends import Prices, ReferenceTrends, Start

HOUR = Timeframe.parse("1h")


@st.composite
def price_bars(draw: st.DrawFn, most: int = 60) -> list[Prices]:
    """Bars on a small grid, so that equal highs, lows and closes, containment and outside bars are common."""
    top = draw(st.sampled_from([3, 6, 12]))
    level = st.integers(1, top)
    return [
        Prices(o=max(low, min(high, opened)), h=high, l=low, c=max(low, min(high, closed)))
        for low, high, opened, closed in (
            (min(a, b), max(a, b), c, d)
            for a, b, c, d in draw(st.lists(st.tuples(level, level, level, level), max_size=most))
        )
    ]


@st.composite
def wandering_bars(draw: st.DrawFn, most: int = 120) -> list[Prices]:
    """Bars that hang together as a market's do, in whole ticks."""
    bars, close = [], 1_000
    for gap, up, down, share in draw(
        st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 5), st.integers(0, 5), st.integers(0, 10)), max_size=most)
    ):
        opened = close + gap
        high, low = opened + up, opened - down
        close = low + (high - low) * share // 10
        bars.append(Prices(opened, high, low, close))
    return bars


any_bars = st.one_of(price_bars(), wandering_bars())


def as_bars(prices: Sequence[Prices]) -> list[Bar]:
    return [
        Bar("X", HOUR, n, n + 1, float(each.o), float(each.h), float(each.l), float(each.c), 1)
        for n, each in enumerate(prices, 1)
    ]


def started(signals: Sequence[Signal]) -> list[Start]:
    return [Start(each.trigger_start_ns, each.bar_start_ns, each.signal_type, each.rule) for each in signals]


def run(bars: Sequence[Bar]) -> list[Signal]:
    analyzer = TrendStarts()
    return [signal for bar in bars for signal in analyzer.push(bar)]


@settings(max_examples=500)
@given(any_bars)
@example([])
def test_the_starts_are_those_of_the_rules_read_word_by_word(prices: list[Prices]) -> None:
    signals = run(as_bars(prices))
    assert started(signals) == ReferenceTrends(prices).run()
    for signal in signals:
        marked = prices[signal.bar_start_ns - 1]
        assert signal.price == (marked.l if signal.signal_type == "uptrendStart" else marked.h)
        assert signal.known_at_ns == signal.trigger_start_ns + 1


@given(any_bars)
def test_saving_and_restoring_at_every_bar_changes_nothing(prices: list[Prices]) -> None:
    analyzer = TrendStarts()
    signals: list[Signal] = []
    for bar in as_bars(prices):
        saved = json.dumps(analyzer.snapshot(), allow_nan=False)
        analyzer = TrendStarts()
        analyzer.restore(json.loads(saved))
        assert json.dumps(analyzer.snapshot()) == saved
        signals += analyzer.push(bar)
    assert signals == run(as_bars(prices))


@given(any_bars, st.data())
def test_signals_of_a_prefix_are_a_prefix_of_the_signals(prices: list[Prices], data: st.DataObject) -> None:
    bars = as_bars(prices)
    count = data.draw(st.integers(0, len(bars)))
    until = [signal for signal in run(bars) if signal.trigger_start_ns <= count]
    assert run(bars[:count]) == until


@given(any_bars)
def test_the_state_refers_to_a_handful_of_bars_however_long_the_stream(prices: list[Prices]) -> None:
    analyzer = TrendStarts()
    for bar in as_bars(prices):
        analyzer.push(bar)
        assert len(analyzer.snapshot()["bars"]) <= 15
