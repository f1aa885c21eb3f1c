"""Bars per second through trend starts, one bar a call, plain or compiled, and how memory grows.

Baseline of the same run: a naive analyzer that follows the rules with scans of the history it keeps, on fewer bars
because it gets slower with every bar. After ``make compiled`` both builds are measured.
"""

from __future__ import annotations

import itertools
import random
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from escapement.core.analysis import TrendStarts, trend_starts  # noqa: E402 - the path comes first
from escapement.model import Bar, Timeframe  # noqa: E402
from reference_trends import Prices, ReferenceTrends  # noqa: E402

BARS = 200_000
NAIVE_BARS = 3_000
MANY_BARS = 10_000_000
ROUNDS = 5
MINUTE = Timeframe.parse("1m")
COMPILED = ROOT / "build" / "compiled"


def bars(seed: int = 1) -> Iterator[Bar]:
    """Bars without end, prices wandering in ticks of a quarter point."""
    chance = random.Random(seed).random
    close = 20_000
    for number in itertools.count():
        opened = close + int(chance() * 3) - 1
        high, low = opened + int(chance() * 9), opened - int(chance() * 9)
        close = low + int(chance() * (high - low + 1))
        yield Bar("X", MINUTE, number * 60, number * 60 + 60, opened / 4, high / 4, low / 4, close / 4, 1)


def seconds(stream: list[Bar]) -> tuple[float, int]:
    push = TrendStarts().push
    signals = 0
    started = time.perf_counter()
    for bar in stream:
        signals += len(push(bar))
    return time.perf_counter() - started, signals


def read_only(stream: list[Bar]) -> float:
    started = time.perf_counter()
    total = 0.0
    for bar in stream:
        total += bar.open + bar.high + bar.low + bar.close
    return time.perf_counter() - started


def report(name: str, count: int, taken: float, note: str = "") -> None:
    print(f"{name:44} {count / taken / 1e6:9.4f} M bars/s  {taken / count * 1e9:10.0f} ns a bar  {note}")


def is_compiled() -> bool:
    return not trend_starts.__file__.endswith(".py")


def measure() -> float:
    stream = list(itertools.islice(bars(), BARS))
    report("reading four prices of each bar", BARS, statistics.median(read_only(stream) for _ in range(ROUNDS)))
    runs = [seconds(stream) for _ in range(ROUNDS)]
    taken, signals = statistics.median(run[0] for run in runs), runs[0][1]
    build = "compiled by mypyc" if is_compiled() else "plain Python"
    report(f"trend starts, {build}", BARS, taken, f"{signals / BARS:.2f} signals a bar; fastest {min(runs)[0]:.2f} s")
    return taken / BARS


def measure_naive(per_bar: float) -> None:
    stream = list(itertools.islice(bars(), NAIVE_BARS))
    prices = [Prices(bar.open, bar.high, bar.low, bar.close) for bar in stream]
    started = time.perf_counter()
    found = ReferenceTrends(prices).run()
    taken = time.perf_counter() - started
    assert len(found) == seconds(stream)[1]
    ratio = taken / NAIVE_BARS / per_bar
    report(f"baseline: scans of {NAIVE_BARS:,} bars of history", NAIVE_BARS, taken, f"{ratio:.0f} x the time a bar")


def measure_memory(count: int) -> None:
    analyzer = TrendStarts()
    stream = bars(2)
    for bar in itertools.islice(stream, 10_000):
        analyzer.push(bar)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    state = len(str(analyzer.snapshot()))
    for bar in itertools.islice(stream, 100_000):
        analyzer.push(bar)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    largest = 0
    for number, bar in enumerate(itertools.islice(stream, count)):
        analyzer.push(bar)
        if number % 1_000 == 0:
            largest = max(largest, len(str(analyzer.snapshot())))
    print(
        f"memory: {grown:+,} bytes over 100,000 bars; state as text {state:,} bytes after 10,000 bars, at most "
        f"{largest:,} over {count:,} more"
    )


def main() -> None:
    per_bar = measure()
    if "--quick" in sys.argv:
        return
    measure_naive(per_bar)
    measure_memory(MANY_BARS if "--long" in sys.argv else 300_000)
    if not is_compiled():
        if COMPILED.is_dir():
            environment = {"PYTHONPATH": str(COMPILED)}
            subprocess.run([sys.executable, __file__, "--quick"], check=True, env=environment)
        else:
            print("make compiled builds and measures the compiled one")


if __name__ == "__main__":
    main()
