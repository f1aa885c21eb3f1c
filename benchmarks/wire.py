"""From WebSocket frame to bars of five timeframes, decoding included.

Baseline of the same run: the standard library's json and datetime, then the same aggregator.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from datetime import date, datetime

from escapement.calendars import calendar_for_contract
from escapement.core.aggregation import OHLCBarAggregator
from escapement.model import Timeframe, Trade
from escapement.moments import ns_from_datetime
from escapement.projectx.codec import MarketCodec, Record, records
from escapement.simulator import synthetic_trades
from escapement.simulator.wire import trade_json, trades_record

CONTRACT = "CON.F.US.MES.M25"
TRADES = 200_000
ROUNDS = 5
TIMEFRAMES = [Timeframe.parse(text) for text in ("1m", "5m", "15m", "1h", "4h")]


def frames(trades: list[Trade], size: int) -> list[bytes]:
    items = [trade_json("F.US.MES", trade) for trade in trades]
    return [trades_record(CONTRACT, items[at : at + size]) for at in range(0, len(items), size)]


def aggregator() -> OHLCBarAggregator:
    return OHLCBarAggregator({CONTRACT: calendar_for_contract(CONTRACT)}, TIMEFRAMES)


def ours(stream: list[bytes]) -> int:
    codec = MarketCodec()
    push = aggregator().push_many
    bars = 0
    for frame in stream:
        for record in records(frame):
            assert isinstance(record, Record)
            bars += len(push(codec.trades(record.arguments)))
    return bars


def plain(stream: list[bytes]) -> int:
    push = aggregator().push
    bars = 0
    for frame in stream:
        for part in frame.split(b"\x1e"):
            if part:
                contract_id, items = json.loads(part)["arguments"]
                for item in items:
                    at_ns = ns_from_datetime(datetime.fromisoformat(item["timestamp"]))
                    bars += len(push(Trade(contract_id, at_ns, item["price"], item["volume"])))
    return bars


def decode(stream: list[bytes]) -> int:
    codec = MarketCodec()
    trades = 0
    for frame in stream:
        for record in records(frame):
            assert isinstance(record, Record)
            trades += len(codec.trades(record.arguments))
    return trades


def measure(name: str, run: Callable[[list[bytes]], int], stream: list[bytes], baseline: float | None) -> float:
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        assert run(stream) > 0
        seconds.append(time.perf_counter() - started)
    median = statistics.median(seconds)
    ratio = "" if baseline is None else f"  {baseline / median:4.1f} x the baseline"
    print(f"{name:44} {TRADES / median / 1e3:7.0f} k trades/s{ratio}")
    return median


def main() -> None:
    trades = list(synthetic_trades([CONTRACT], date(2025, 3, 17), seed=1, per_minute=160))[:TRADES]
    assert len(trades) == TRADES
    for size in (1, 8):
        stream = frames(trades, size)
        baseline = measure(f"baseline json + datetime, {size} a frame", plain, stream, None)
        measure(f"frame to bars, {size} a frame", ours, stream, baseline)
        measure(f"frame to trades, {size} a frame", decode, stream, baseline)


if __name__ == "__main__":
    main()
