"""Backtests of the same bars: ours, backtesting.py, vectorbt and backtrader, each in a process of its own.

One crossover of averages of 10 and 50 one-minute bars, always in the market, at the first price of the next bar,
without costs; then trend starts on five timeframes through rules, risk checks, stops and targets. Reading the bars is
not counted. vectorbt is measured at its second call, for the first compiles. Then points of a sweep over the length of
the faster average, ours and vectorbt's, and what memory they take more than one point. After `make compiled` ours are
measured compiled too. Usage: benchmarks/backtest.py [BARS]
"""

from __future__ import annotations

import json
import os
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

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from escapement import wiring_backtest, wiring_sweep  # noqa: E402 - the path comes first
from escapement.backtest.run import History  # noqa: E402
from escapement.core.aggregation.columns import BarColumns, BarRows, aggregate_bars  # noqa: E402
from escapement.model import Period, Session, SessionCalendar, Timeframe  # noqa: E402
from escapement.settings import Settings, load_settings  # noqa: E402
from escapement.simulator.contracts import contract_facts  # noqa: E402
from pasts import MES, MINUTE, MONDAY  # noqa: E402

BARS = 1_000_000
FRAME = Timeframe.parse("1m")
SYSTEMS = (
    "escapement", "backtesting.py", "vectorbt", "backtrader", "escapement, every order",
    "escapement, trend starts", "escapement, trend starts, every order",
)  # fmt: skip
SWEEPS = "escapement", "vectorbt"
COMPILED = ROOT / "build" / "compiled"
LENGTHS = 8, 10, 12, 14


def market(count: int) -> BarColumns:
    """Minutes without a pause, prices on the grid of a quarter point."""
    chance, ticks = random.Random(7).random, 22_800
    open_, high_, low_, close_ = prices = np.empty((4, count))
    for number in range(count):
        opened = ticks + int(chance() * 5) - 2
        close = opened + int(chance() * 17) - 8 + (22_800 - opened) // 200
        high, low = max(opened, close) + int(chance() * 5), min(opened, close) - int(chance() * 5)
        prices[:, number] = opened / 4, high / 4, low / 4, close / 4
        ticks = close
    begins = MONDAY + np.arange(count) * MINUTE
    return BarColumns(FRAME, begins, begins + MINUTE, open_, high_, low_, close_, np.full(count, 100))


def past(bars: BarColumns, timeframes: Sequence[Timeframe]) -> History:
    always = Session(date(2025, 3, 17), (Period(MONDAY, int(bars.end_ns[-1])),))
    calendar = SessionCalendar("always", [always])
    larger = timeframes[1:]
    built = {FRAME: bars} | (aggregate_bars(bars, calendar, larger) if larger else {})
    return History(contract_facts(MES), calendar, {frame: BarRows(MES, each) for frame, each in built.items()})


def crossing() -> Settings:
    return load_settings(
        environ={}, contracts=[MES], timeframes=["1m"], coordinator={"entries": [{"rule": "pass_through"}]},
        analyzers={"run": [{"name": "moving_average_crossover", "params": {"fast": 10, "slow": 50}}]},
        execution={"stop_ticks": 15_000, "fee_per_side": 0},
        backtest={"balance": 1_000_000, "spread_ticks": 0, "slippage_ticks": 0},
        risk={"orders_per_minute": None, "oldest_price_seconds": 600},
    )  # fmt: skip


def chain() -> Settings:
    return load_settings(
        environ={}, contracts=[MES], timeframes=["1m", "5m", "15m", "1h", "4h"],
        coordinator={"entries": [{"rule": "strategic_tactical", "strategic": ["4h", "1h"], "tactical": ["15m", "5m"]}],
                     "exits": [{"rule": "opposite_signal", "timeframes": ["15m"]}]},
        execution={"stop_ticks": 40, "target_ticks": 120}, risk={"most_contracts": 1, "oldest_price_seconds": 600},
    )  # fmt: skip


def figures(settings: Settings) -> Callable[[BarColumns], Callable[[], int]]:
    """Everything up to the figures, as ``escapement backtest --quick`` and each first point of a sweep reckon them."""

    def make(bars: BarColumns) -> Callable[[], int]:
        work = wiring_sweep.PointWork(wiring_sweep.plain(settings), [past(bars, settings.timeframes)])
        return lambda: int(work({}, MONDAY, int(bars.end_ns[-1]))["trades"])

    return make


def orders(settings: Settings) -> Callable[[BarColumns], Callable[[], int]]:
    """Everything up to each order and fill, as ``escapement backtest`` reports them."""

    def make(bars: BarColumns) -> Callable[[], int]:
        known = [past(bars, settings.timeframes)]
        return lambda: len(wiring_backtest.run(settings, known, MONDAY, int(bars.end_ns[-1])).trips)

    return make


def points(bars: BarColumns) -> Callable[[int], int]:
    work = wiring_sweep.PointWork(wiring_sweep.plain(crossing()), [past(bars, [FRAME])])
    return lambda fast: int(work({"analyzers.run.0.params.fast": fast}, MONDAY, int(bars.end_ns[-1]))["trades"])


def frame(bars: BarColumns) -> Any:
    import pandas as pd

    columns = {name.title(): getattr(bars, name) for name in ("open", "high", "low", "close")}
    return pd.DataFrame(columns, index=pd.to_datetime(bars.start_ns))


def theirs(bars: BarColumns) -> Callable[[], int]:
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


def trader(bars: BarColumns) -> Callable[[], int]:
    import backtrader

    class Follow(backtrader.Strategy):  # type: ignore[misc]
        def __init__(self) -> None:
            fast, slow = (backtrader.indicators.SMA(self.data.close, period=length) for length in (10, 50))
            self.crosses = backtrader.indicators.CrossOver(fast, slow)
            self.closed = 0

        def notify_trade(self, trade: Any) -> None:
            self.closed += trade.isclosed

        def next(self) -> None:
            if self.crosses[0]:
                self.order_target_size(target=1 if self.crosses[0] > 0 else -1)

    engine = backtrader.Cerebro(stdstats=False)
    engine.broker.setcash(1_000_000)
    engine.addstrategy(Follow)
    engine.adddata(backtrader.feeds.PandasData(dataname=frame(bars)))
    return lambda: int(engine.run()[0].closed)


def columns_of(bars: BarColumns) -> Callable[[], int]:
    run = columns_at(bars)
    return lambda: run(10)


def columns_at(bars: BarColumns) -> Callable[[int], int]:
    import vectorbt

    table = frame(bars)

    def run(length: int) -> int:
        fast, slow = (table["Close"].rolling(each).mean() for each in (length, 50))
        apart = (fast - slow).round(6)
        above = ((apart > 0) & (apart.shift(1) <= 0)).shift(1, fill_value=False)
        below = ((apart < 0) & (apart.shift(1) >= 0)).shift(1, fill_value=False)
        portfolio = vectorbt.Portfolio.from_signals(
            table["Close"], entries=above, short_entries=below, price=table["Open"], size=1.0, init_cash=1e6,
            upon_opposite_entry="reverse", freq="1min",
        )  # fmt: skip
        assert np.isfinite(portfolio.value().iloc[-1])
        return int(portfolio.trades.count())

    run(10)
    return run


def measure(system: str, count: int) -> None:
    warnings.simplefilter("ignore")
    make = dict(zip(SYSTEMS, (figures(crossing()), theirs, columns_of, trader, orders(crossing()), figures(chain()),
                              orders(chain())), strict=True))[system]  # fmt: skip
    run = make(market(count))
    started = time.perf_counter()
    trades = run()
    print(json.dumps({"seconds": time.perf_counter() - started, "trades": trades, "peak": peak()}))


def measure_points(system: str, count: int) -> None:
    warnings.simplefilter("ignore")
    run = dict(zip(SWEEPS, (points, columns_at), strict=True))[system](market(count))
    run(LENGTHS[0])
    one, started = peak(), time.perf_counter()
    trades = sum(run(length) for length in LENGTHS[1:])
    taken = (time.perf_counter() - started) / len(LENGTHS[1:])
    print(json.dumps({"seconds": taken, "trades": trades, "peak": peak(), "one": one}))


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def alone(what: str, system: str, count: int, *, compiled: bool = False) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, what, system, str(count)], check=True, stdout=subprocess.PIPE, text=True,
        env={**os.environ, **({"PYTHONPATH": str(COMPILED)} if compiled else {})},
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else BARS
    found = {system: alone("--one", system, count) for system in SYSTEMS}
    own = [system for system in SYSTEMS if system.startswith("escapement")] if COMPILED.is_dir() else []
    found |= {f"{system}, compiled": alone("--one", system, count, compiled=True) for system in own}
    print(f"{count:,} bars of a minute")
    for system, each in found.items():
        share = found["backtesting.py"]["seconds"] / each["seconds"]
        print(
            f"{system:34} {count / each['seconds']:12,.0f} bars/s  {share:6.2f} x backtesting.py  "
            f"{each['trades']:7,} trades  {each['peak']:6,.0f} MB"
        )
    print("a point of a sweep")
    for system in SWEEPS:
        each = alone("--points", system, count)
        memory = f"{each['one']:6,.0f} MB at one point, {each['peak']:6,.0f} MB after {len(LENGTHS)}"
        print(f"{system:34} {each['seconds']:9.3f} s  {memory}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        measure(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1:2] == ["--points"]:
        measure_points(sys.argv[2], int(sys.argv[3]))
    else:
        main()
