"""Trades per second through the streaming aggregator, five timeframes, one trade a call.

Baseline of the same run: a loop that reads the three fields of every trade and compares the price, the least any
aggregator must do.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable

from escapement.calendars import calendar
from escapement.core.aggregation import DEFAULT_TOLERANCE_NS, OHLCBarAggregator
from escapement.model import Timeframe, Trade
from escapement.moments import ns_from_iso

TRADES = 1_000_000
ROUNDS = 5
CONTRACT = "CON.F.US.MES.M25"
TIMEFRAMES = [Timeframe.parse(text) for text in ("1m", "5m", "15m", "1h", "4h")]


def trades() -> list[Trade]:
    chance = random.Random(1)
    at_ns = ns_from_iso("2025-03-16T22:00:00Z")
    step = 22 * 3_600 * 1_000_000_000 // TRADES
    price = 20_000
    made = []
    for number in range(TRADES):
        price += chance.choice((-1, 0, 0, 1))
        made.append(Trade(CONTRACT, at_ns + number * step, price * 0.25, 1 + number % 5))
    return made


def read_only(stream: list[Trade]) -> None:
    highest = 0.0
    total = 0
    newest = 0
    for trade in stream:
        newest = trade.at_ns
        total += trade.volume
        highest = max(highest, trade.price)
    assert newest + total > 0


def one_a_call(stream: list[Trade], tolerance_ns: int) -> None:
    push = OHLCBarAggregator({CONTRACT: calendar("cme_equity")}, TIMEFRAMES, tolerance_ns=tolerance_ns).push
    for trade in stream:
        push(trade)


def many_a_call(stream: list[Trade]) -> None:
    OHLCBarAggregator({CONTRACT: calendar("cme_equity")}, TIMEFRAMES).push_many(stream)


def measure(name: str, run: Callable[[list[Trade]], None], stream: list[Trade], baseline: float | None) -> float:
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run(stream)
        seconds.append(time.perf_counter() - started)
    median = statistics.median(seconds)
    ratio = "" if baseline is None else f"  {median / baseline:5.1f} x baseline time"
    print(f"{name:42} {TRADES / median / 1e6:6.2f} M trades/s  {median / TRADES * 1e9:6.0f} ns a trade{ratio}")
    return median


def main() -> None:
    stream = trades()
    baseline = measure("baseline: read each trade", read_only, stream, None)
    measure("push, one a call", lambda s: one_a_call(s, DEFAULT_TOLERANCE_NS), stream, baseline)
    measure("push, one a call, no tolerance", lambda s: one_a_call(s, 0), stream, baseline)
    measure("push_many", many_a_call, stream, baseline)


if __name__ == "__main__":
    main()
