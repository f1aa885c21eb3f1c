"""Bars per second through DBHandler.store_bars, beside raw COPY of the same bars into the same table.

Runs on an embedded server of its own and, when ESCAPEMENT_TEST_TIMESCALE_URL names one, on TimescaleDB. Raw COPY has
its records ready made and knows of no conflicts: it is what the server and the driver can do at most. Every round
measures each way once, in turn, on an emptied table; the medians of all rounds are printed.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from escapement.model import Bar, Timeframe
from escapement.moments import datetime_from_ns, ns_from_iso
from escapement.storage import DBHandler, migrate
from escapement.storage.embedded import embedded_server

TIMESCALE = "ESCAPEMENT_TEST_TIMESCALE_URL"
ROUNDS = 7
BARS_OF_BATCH = {1: 500, 100: 10_000, 10_000: 50_000}
CONTRACTS = ["CON.F.US.MES.M25", "CON.F.US.MNQ.M25"]
TIMEFRAMES = [Timeframe.parse(text) for text in ("1m", "5m", "15m", "1h", "4h")]
COLUMNS = ["contract_id", "timestamp", "timeframe_unit", "timeframe_value", "open", "high", "low", "close", "volume",
           "ends_at", "whole"]  # fmt: skip

Record = tuple[object, ...]
Way = Callable[[], Awaitable[None]]


def bars(count: int) -> list[Bar]:
    """Bars of ten series in turn, each series by time, as history is loaded."""
    start = ns_from_iso("2025-03-16T22:00:00Z")
    series = [(contract, timeframe) for timeframe in TIMEFRAMES for contract in CONTRACTS]
    made = []
    for number in range(count):
        contract, timeframe = series[number % len(series)]
        step = timeframe.length_ns
        at_ns = start + number // len(series) * step
        price = 5_700 + number % 97 * 0.25
        made.append(Bar(contract, timeframe, at_ns, at_ns + step, price, price + 1, price - 1, price + 0.25, number))
    return made


def record(bar: Bar) -> Record:
    return (
        bar.contract_id, datetime_from_ns(bar.start_ns), int(bar.timeframe.unit), bar.timeframe.value,
        bar.open, bar.high, bar.low, bar.close, bar.volume, datetime_from_ns(bar.end_ns), bar.whole,
    )  # fmt: skip


async def copy(connection: asyncpg.Connection[asyncpg.Record], batches: Sequence[list[Record]]) -> None:
    for batch in batches:
        await connection.copy_records_to_table("ohlc_bars", records=batch, columns=COLUMNS)


async def store(database: DBHandler, batches: Sequence[list[Bar]], new: int) -> None:
    stored = 0
    for batch in batches:
        stored += await database.store_bars(batch)
    assert stored == new, f"{stored} bars stored, {new} expected"


async def seconds(way: Way) -> float:
    started = time.perf_counter()
    await way()
    return time.perf_counter() - started


async def compare(url: str, size: int) -> None:
    """Measure one batch size and print a line."""
    count = BARS_OF_BATCH[size]
    made = bars(count)
    batches = [made[n : n + size] for n in range(0, count, size)]
    records = [[record(bar) for bar in batch] for batch in batches]
    connection = await asyncpg.connect(url)
    taken: dict[str, list[float]] = {"copy": [], "new": [], "known": []}
    async with await DBHandler.open(url, connections=1) as database:
        for _ in range(ROUNDS):
            await connection.execute("TRUNCATE ohlc_bars")
            taken["copy"].append(await seconds(lambda: copy(connection, records)))
            await connection.execute("TRUNCATE ohlc_bars")
            taken["new"].append(await seconds(lambda: store(database, batches, count)))
            taken["known"].append(await seconds(lambda: store(database, batches, 0)))
    await connection.close()
    rate = {name: count / statistics.median(times) for name, times in taken.items()}
    print(
        f"{size:6,} a batch   raw COPY {rate['copy']:9,.0f} bars/s   new bars {rate['new']:9,.0f}  "
        f"{rate['new'] / rate['copy']:4.2f} of COPY   known bars {rate['known']:9,.0f}  "
        f"{rate['known'] / rate['copy']:4.2f} of COPY"
    )


async def measure(name: str, server: str) -> None:
    """Measure every batch size in a database of its own."""
    print(name)
    connection = await asyncpg.connect(server)
    await connection.execute("CREATE DATABASE benchmark_bars")
    try:
        url = urlunsplit(urlsplit(server)._replace(path="/benchmark_bars"))
        await migrate(url)
        for size in BARS_OF_BATCH:
            await compare(url, size)
    finally:
        await connection.execute("DROP DATABASE benchmark_bars WITH (FORCE)")
        await connection.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, embedded_server(Path(folder)) as url:
        asyncio.run(measure("embedded PostgreSQL, default durability: every batch is flushed to disk", url))
    timescale = os.environ.get(TIMESCALE)
    if timescale:
        asyncio.run(measure("TimescaleDB, hypertable (the test server does not flush to disk)", timescale))
    else:
        print(f"TimescaleDB is left out: {TIMESCALE} names none; tests/timescale/server.sh start makes one")


if __name__ == "__main__":
    main()
