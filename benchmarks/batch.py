"""Ten million trades to bars of 1m, 5m, 15m, 1h and 4h: columns against pandas and Polars on the same trades.

pandas and Polars get the easier task, a grid from the session open without breaks, because neither knows sessions. Each
runs twice: every timeframe from the trades, and larger ones from smaller ones (cascade), as the columns do.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import polars as pl

from escapement.calendars import calendar
from escapement.core.aggregation.columns import TradeColumns, aggregate_trades
from escapement.model import Timeframe

TRADES = 10_000_000
ROUNDS = 3
MINUTES = (1, 5, 15, 60, 240)
TIMEFRAMES = [Timeframe.parse(text) for text in ("1m", "5m", "15m", "1h", "4h")]
CALENDAR = calendar("cme_equity")


def trades() -> TradeColumns:
    """Five weeks of sessions, prices a random walk on the tick grid."""
    chance = np.random.default_rng(1)
    sessions = [session for session in CALENDAR.sessions if session.trade_date.year == 2025][:25]
    share = TRADES // len(sessions)
    at_ns = np.concatenate(
        [np.sort(chance.integers(session.open_ns, session.periods[0].close_ns, share)) for session in sessions]
    )
    price = (20_000 + np.cumsum(chance.integers(-1, 2, at_ns.size))) * 0.25
    return TradeColumns(at_ns, np.abs(price) + 0.25, chance.integers(1, 10, at_ns.size))


def pandas_each(frame: pd.DataFrame) -> None:
    for minutes in MINUTES:
        grouped = frame.resample(f"{minutes}min")
        grouped["price"].ohlc().dropna()
        grouped["volume"].sum()


def pandas_cascade(frame: pd.DataFrame) -> None:
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    grouped = frame.resample("1min")
    bars = grouped["price"].ohlc()
    bars["volume"] = grouped["volume"].sum()
    bars = bars.dropna()
    for minutes in MINUTES[1:]:
        bars = bars.resample(f"{minutes}min").agg(rules).dropna()


def polars_each(frame: pl.DataFrame) -> None:
    price = pl.col("price")
    for minutes in MINUTES:
        frame.group_by_dynamic("at", every=f"{minutes}m").agg(
            price.first().alias("open"), price.max().alias("high"), price.min().alias("low"),
            price.last().alias("close"), pl.col("volume").sum(),
        )  # fmt: skip


def polars_cascade(frame: pl.DataFrame) -> None:
    price = pl.col("price")
    bars = frame.group_by_dynamic("at", every="1m").agg(
        price.first().alias("open"), price.max().alias("high"), price.min().alias("low"), price.last().alias("close"),
        pl.col("volume").sum(),
    )  # fmt: skip
    for minutes in MINUTES[1:]:
        bars = bars.group_by_dynamic("at", every=f"{minutes}m").agg(
            pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(),
            pl.col("volume").sum(),
        )  # fmt: skip


def measure(name: str, run: Callable[[], object], ours: float | None) -> float:
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    median = statistics.median(seconds)
    ratio = "" if ours is None else f"  columns are {median / ours:5.1f} x quicker"
    print(f"{name:32} {TRADES / median / 1e6:7.1f} M trades/s{ratio}")
    return median


def main() -> None:
    stream = trades()
    times = pd.DatetimeIndex(stream.at_ns, tz="UTC")
    with_pandas = pd.DataFrame({"price": stream.price, "volume": stream.volume}, index=times)
    with_polars = pl.DataFrame({"at": stream.at_ns, "price": stream.price, "volume": stream.volume}).with_columns(
        pl.col("at").cast(pl.Datetime("ns", "UTC")).set_sorted()
    )
    ours = measure("columns (validated, sessions)", lambda: aggregate_trades(stream, CALENDAR, TIMEFRAMES), None)
    measure("pandas resample, each", lambda: pandas_each(with_pandas), ours)
    measure("pandas resample, cascade", lambda: pandas_cascade(with_pandas), ours)
    measure("Polars group_by_dynamic, each", lambda: polars_each(with_polars), ours)
    measure("Polars group_by_dynamic, cascade", lambda: polars_cascade(with_polars), ours)


if __name__ == "__main__":
    main()
