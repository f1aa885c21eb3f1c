"""Backtests of the same bars: ours, backtesting.py and vectorbt, each in a process of its own.

One crossover of averages of 10 and 50 one-minute bars, always in the market, at the first price of the next bar,
without costs; then trend starts on five timeframes through rules, risk checks, stops and targets. Reading the bars is
not counted. vectorbt is measured at its second call, for the first compiles. Usage: benchmarks/backtest.py [BARS]
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from escapement import rulebook, wiring, wiring_backtest  # noqa: E402 - the path comes first
from escapement.backtest.analysis import Reader  # noqa: E402 - below what it is measured with
from escapement.backtest.run import History, backtest  # noqa: E402
from escapement.core.aggregation.columns import BarColumns, aggregate_bars  # noqa: E402
from escapement.core.risk import OwnLimits  # noqa: E402
from escapement.model import Bar, Period, Session, SessionCalendar, Timeframe  # noqa: E402
from escapement.settings import Settings, load_settings  # noqa: E402
from escapement.simulator.contracts import contract_facts  # noqa: E402
from pasts import MES, MINUTE, MONDAY, account  # noqa: E402

BARS = 1_000_000
FRAME = Timeframe.parse("1m")
SYSTEMS = "escapement", "backtesting.py", "vectorbt", "escapement, whole system"


def market(count: int) -> list[Bar]:
    """Minutes without a pause, prices on the grid of a quarter point."""
    chance, ticks, found = random.Random(7).random, 22_800, []
    for number in range(count):
        opened = ticks + int(chance() * 5) - 2
        close = opened + int(chance() * 17) - 8 + (22_800 - opened) // 200
        high, low = max(opened, close) + int(chance() * 5), min(opened, close) - int(chance() * 5)
        begin = MONDAY + number * MINUTE
        found.append(Bar(MES, FRAME, begin, begin + MINUTE, opened / 4, high / 4, low / 4, close / 4, 100))
        ticks = close
    return found


def ours(bars: Sequence[Bar], settings: Settings, own: Callable[[], Any]) -> Callable[[], int]:
    always = Session(date(2025, 3, 17), (Period(MONDAY, bars[-1].end_ns),))
    calendar = SessionCalendar("always", [always])
    larger = settings.timeframes[1:]
    built = aggregate_bars(BarColumns.of(FRAME, bars), calendar, larger) if larger else {}
    by_timeframe = {FRAME: bars} | {each: columns.bars(MES) for each, columns in built.items()}
    runs = wiring.analyzer_runs(settings)
    past = [History(contract_facts(MES), calendar, by_timeframe)]
    readers = [
        Reader(each.key, lambda run=run, each=each: run.plugin.create(run.params[each.key.timeframe]))  # type: ignore[misc]
        for run in runs for each in run.on([(MES, timeframe) for timeframe in by_timeframe])
    ]  # fmt: skip
    rules, directions = wiring.coordination_rules(settings, runs), rulebook.directions(settings.coordinator)

    def run() -> int:
        found = backtest(past, readers, rules, directions, own(), bars[0].start_ns, bars[-1].end_ns)
        return len(found.trips)

    return run


def crossover(bars: Sequence[Bar]) -> Callable[[], int]:
    settings = load_settings(
        environ={}, contracts=[MES], timeframes=["1m"], coordinator={"entries": [{"rule": "pass_through"}]},
        analyzers={"run": [{"name": "moving_average_crossover", "params": {"fast": 10, "slow": 50}}]},
    )  # fmt: skip
    return ours(bars, settings, lambda: account(stop=15_000, own=OwnLimits(orders_per_minute=None)))


def whole(bars: Sequence[Bar]) -> Callable[[], int]:
    settings = load_settings(
        environ={}, contracts=[MES], timeframes=["1m", "5m", "15m", "1h", "4h"],
        coordinator={"entries": [{"rule": "strategic_tactical", "strategic": ["4h", "1h"], "tactical": ["15m", "5m"]}],
                     "exits": [{"rule": "opposite_signal", "timeframes": ["15m"]}]},
        execution={"stop_ticks": 40, "target_ticks": 120}, risk={"most_contracts": 1, "oldest_price_seconds": 600},
    )  # fmt: skip
    return ours(bars, settings, lambda: wiring_backtest.account(settings))


def frame(bars: Sequence[Bar]) -> Any:
    import pandas as pd

    columns = {name.title(): [getattr(bar, name) for bar in bars] for name in ("open", "high", "low", "close")}
    return pd.DataFrame(columns, index=pd.to_datetime([bar.start_ns for bar in bars]))


def theirs(bars: Sequence[Bar]) -> Callable[[], int]:
    from backtesting import Backtest, Strategy
    from backtesting.lib import crossover as crosses

    def average(values: Any, length: int) -> Any:
        import pandas as pd

        return pd.Series(values).rolling(length).mean()

    class Follow(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            self.fast = self.I(average, self.data.Close, 10)
            self.slow = self.I(average, self.data.Close, 50)

        def next(self) -> None:
            if crosses(self.fast, self.slow):
                self.buy(size=1)
            elif crosses(self.slow, self.fast):
                self.sell(size=1)

    test = Backtest(frame(bars), Follow, cash=1_000_000, exclusive_orders=True)
    return lambda: len(test.run()["_trades"])


def columns_of(bars: Sequence[Bar]) -> Callable[[], int]:
    import numpy as np
    import vectorbt

    table = frame(bars)

    def run() -> int:
        fast, slow = (table["Close"].rolling(length).mean() for length in (10, 50))
        apart = (fast - slow).round(6)
        above = ((apart > 0) & (apart.shift(1) <= 0)).shift(1, fill_value=False)
        below = ((apart < 0) & (apart.shift(1) >= 0)).shift(1, fill_value=False)
        portfolio = vectorbt.Portfolio.from_signals(
            table["Close"], entries=above, short_entries=below, price=table["Open"], size=1.0, init_cash=1e6,
            upon_opposite_entry="reverse", freq="1min",
        )  # fmt: skip
        assert np.isfinite(portfolio.value().iloc[-1])
        return int(portfolio.trades.count())

    run()
    return run


def measure(system: str, count: int) -> None:
    warnings.simplefilter("ignore")
    make = dict(zip(SYSTEMS, (crossover, theirs, columns_of, whole), strict=True))[system]
    run = make(market(count))
    started = time.perf_counter()
    trades = run()
    taken = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    print(json.dumps({"seconds": taken, "trades": trades, "peak": peak}))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else BARS
    found = {}
    for system in SYSTEMS:
        done = subprocess.run(
            [sys.executable, __file__, "--one", system, str(count)], check=True, stdout=subprocess.PIPE, text=True
        )
        found[system] = json.loads(done.stdout.splitlines()[-1])
    print(f"{count:,} bars of a minute")
    for system, each in found.items():
        share = found["backtesting.py"]["seconds"] / each["seconds"]
        print(
            f"{system:26} {count / each['seconds']:12,.0f} bars/s  {share:6.2f} x backtesting.py  "
            f"{each['trades']:7,} trades  {each['peak']:6,.0f} MB"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        measure(sys.argv[2], int(sys.argv[3]))
    else:
        main()
