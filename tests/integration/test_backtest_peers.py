"""The same strategies, under the same assumptions, in backtesting.py and in vectorbt: the same money to the cent."""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from escapement import rulebook, wiring
from escapement.backtest.analysis import Reader
from escapement.backtest.figures import curve
from escapement.backtest.run import History, Outcome, backtest, trade
from escapement.core.risk import OwnLimits
from escapement.model import Bar, Period, Session, SessionCalendar, Timeframe
from escapement.settings import load_settings
from escapement.simulator.contracts import contract_facts
from pasts import MES, MINUTE, MONDAY, account, decision

POINT = 5.0  # money per point of a contract
FRAME = Timeframe.parse("1m")
ALWAYS = SessionCalendar("always", [Session(date(2025, 3, 17), (Period(MONDAY, MONDAY + 100_000 * MINUTE),))])
SETTINGS = load_settings(
    environ={}, contracts=[{"id": MES, "calendar": "cme_equity"}], timeframes=["1m"],
    analyzers={"run": [{"name": "moving_average_crossover", "params": {"fast": 10, "slow": 50}}]},
    coordinator={"entries": [{"rule": "pass_through"}]},
)  # fmt: skip


@pytest.fixture(scope="module")
def market() -> list[Bar]:
    """Return a random walk of minutes on the tick grid, never far from where it began."""
    chance, ticks, found = random.Random(7), 22_800, []
    for number in range(6_000):
        opened = ticks + chance.randint(-2, 2)
        close = opened + chance.randint(-8, 8) + (22_800 - opened) // 200
        high, low = max(opened, close) + chance.randint(0, 4), min(opened, close) - chance.randint(0, 4)
        begin = MONDAY + number * MINUTE
        found.append(Bar(MES, FRAME, begin, begin + MINUTE, opened / 4, high / 4, low / 4, close / 4, 100))
        ticks = close
    return found


def frame(bars: Sequence[Bar]) -> pd.DataFrame:
    columns = {name.title(): [getattr(bar, name) for bar in bars] for name in ("open", "high", "low", "close")}
    return pd.DataFrame(columns, index=pd.to_datetime([bar.start_ns for bar in bars]))


def crossings(bars: Sequence[Bar]) -> np.ndarray[Any, Any]:
    """Return 1 where the average of ten closes comes above that of fifty, -1 where it comes below."""
    close = pd.Series([bar.close for bar in bars])
    # Averages of quarter points are equal or at least 1/200 apart.
    apart = (close.rolling(10).mean() - close.rolling(50).mean()).round(6)
    before = apart.shift(1)
    above, below = (apart > 0) & (before <= 0), (apart < 0) & (before >= 0)
    return np.asarray(above.astype(int) - below.astype(int))


def ours(bars: Sequence[Bar], fee: str) -> Outcome:
    runs = wiring.analyzer_runs(SETTINGS)
    readers = [
        Reader(each.key, lambda: runs[0].plugin.create(runs[0].params[FRAME])) for each in runs[0].on([(MES, FRAME)])
    ]
    past = History(contract_facts(MES), ALWAYS, {FRAME: bars})
    terms = account(stop=15_000, fee=fee, own=OwnLimits(orders_per_minute=None))
    return backtest(
        [past], readers, wiring.coordination_rules(SETTINGS, runs), rulebook.directions(SETTINGS.coordinator), terms,
        bars[0].start_ns, bars[-1].end_ns,
    )  # fmt: skip


def theirs(bars: Sequence[Bar], signals: np.ndarray[Any, Any], fee: float) -> float:
    """Return what one contract makes in backtesting.py, in money; it trades at the open of the next bar."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from backtesting import Backtest, Strategy  # noqa: PLC0415 - warns when it is imported

        class Follow(Strategy):  # type: ignore[misc]
            def init(self) -> None:
                pass

            def next(self) -> None:
                said = signals[len(self.data) - 1]
                if said > 0:
                    self.buy(size=1)
                elif said < 0:
                    self.sell(size=1)

        test = Backtest(
            frame(bars), Follow, cash=1_000_000, exclusive_orders=True, finalize_trades=False,
            commission=lambda size, price: abs(size) * fee / POINT,  # noqa: ARG005 - its signature
        )  # fmt: skip
        result = test.run()
    equity = result["_equity_curve"]["Equity"].iloc[-1]
    return float((equity - 1_000_000) * POINT)


@pytest.mark.parametrize("fee", ["0", "0.61"])
def test_a_crossover_makes_what_backtesting_py_says(market: list[Bar], fee: str) -> None:
    outcome = ours(market, fee)
    assert len(outcome.trips) > 50
    made = curve(outcome).equity[-1] - float(outcome.start_balance)
    assert made == pytest.approx(theirs(market, crossings(market), float(fee)), abs=0.005)


def test_a_crossover_makes_what_vectorbt_says(market: list[Bar]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import vectorbt  # noqa: PLC0415 - warns when it is imported

        said = np.roll(crossings(market), 1)  # known at the end of a bar, traded at the open of the next
        said[0] = 0
        table = frame(market)
        portfolio = vectorbt.Portfolio.from_signals(
            table["Close"], entries=said > 0, short_entries=said < 0, price=table["Open"], size=1.0, init_cash=1e6,
            accumulate=False, upon_opposite_entry="reverse", freq="1min",
        )  # fmt: skip
        value = float(portfolio.value().iloc[-1])
    made = curve(ours(market, "0")).equity[-1] - 50_000
    assert made == pytest.approx((value - 1e6) * POINT, abs=0.005)


def test_buying_and_holding_makes_what_the_price_made(market: list[Bar]) -> None:
    past = History(contract_facts(MES), ALWAYS, {FRAME: market})
    bought = [decision(market[4].end_ns, 1)]
    outcome = trade([past], bought, account(stop=15_000), market[0].start_ns, market[-1].end_ns)
    made = curve(outcome).equity[-1] - 50_000
    signals = np.zeros(len(market), int)
    signals[4] = 1
    assert made == pytest.approx(theirs(market, signals, 0.0), abs=0.005)
    assert Decimal(str(made)) == Decimal(str((market[-1].close - market[5].open) * POINT))
