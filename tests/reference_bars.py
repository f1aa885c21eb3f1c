"""The slow, obvious way to bars: sort everything by time, then group. No cascade, no watermark."""

from __future__ import annotations

from collections.abc import Sequence

from escapement.model import Bar, SessionCalendar, Timeframe, Trade


def reference_bars(trades: Sequence[Trade], calendar: SessionCalendar, timeframes: Sequence[Timeframe]) -> list[Bar]:
    bars = []
    for timeframe in timeframes:
        groups: dict[tuple[int, int], list[Trade]] = {}
        for trade in sorted(trades, key=lambda trade: trade.at_ns):
            interval = calendar.interval(timeframe, trade.at_ns)
            assert interval is not None
            groups.setdefault((interval.label_ns, interval.end_ns), []).append(trade)
        for (label, end), group in groups.items():
            prices = [trade.price for trade in group]
            volume = sum(trade.volume for trade in group)
            contract_id = group[0].contract_id
            bars.append(
                Bar(contract_id, timeframe, label, end, prices[0], max(prices), min(prices), prices[-1], volume)
            )
    return sorted(bars, key=bar_order)


def bar_order(bar: Bar) -> tuple[int, Timeframe, str]:
    return bar.end_ns, bar.timeframe, bar.contract_id
