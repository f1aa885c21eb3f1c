"""What it costs to be watched: the live path with and without health, metrics and notifications beside it.

1. Trades a second through ingestion with nothing slow around it, with the counting of lags and without.
2. How long a bar takes from its last trade into an embedded database at a steady pace, alone, and with services that
   tell of themselves, a scrape of /readyz and /metrics a second, and a notifier that looks for events, all in the same
   event loop. Each way is measured in turn, several times; the medians are printed.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from fastapi import FastAPI

from escapement import wiring_operations
from escapement.calendars import calendar
from escapement.model import Coverage, Gap, Session, Timeframe, Trade
from escapement.moments import ns_from_iso
from escapement.ports import FeedEvent, FeedLive, TradesReceived, VenueTime
from escapement.ports import ServiceHealth as Told
from escapement.services.ingest import Ingestion, IngestParams
from escapement.services.lags import LagCounts
from escapement.settings import Settings, load_settings
from escapement.storage import DBHandler, migrate
from escapement.storage.embedded import embedded_server
from escapement.storage.health import HealthStore
from escapement.web.operations import router
from escapement.web.server import serve

CONTRACTS = [f"CON.F.US.{code}.M25" for code in ("MES", "MNQ", "M2K", "MYM")]
TIMEFRAMES = [Timeframe.parse(text) for text in ("1s", "1m", "5m", "1h")]
START_NS = ns_from_iso("2025-03-17T14:00:00Z")
TRADES, ROUNDS = 200_000, 5
PACED_S, BATCHES_A_S, PACED_ROUNDS = 12, 50, 3


class Feed:
    """Trades as quick as they are taken, or ``BATCHES_A_S`` batches a second, each ending a bar of each contract."""

    def __init__(self, batches: int, *, paced: bool) -> None:
        self._batches = batches
        self._paced = paced

    async def events(self) -> AsyncIterator[FeedEvent]:
        yield FeedLive(1, START_NS)
        for contract in CONTRACTS:
            yield VenueTime(contract, START_NS, START_NS)
        begun_s = time.monotonic()
        for number in range(self._batches):
            # A second of the venue's time each: every batch completes the bars of the one before.
            at_ns = START_NS + number * (1_000_000_000 if self._paced else 20_000_000)
            yield TradesReceived(tuple(Trade(name, at_ns, 5_700.25, 1) for name in CONTRACTS), at_ns)
            if self._paced:
                await asyncio.sleep(max(0.0, begun_s + number / BATCHES_A_S - time.monotonic()))
            elif number % 100 == 0:
                await asyncio.sleep(0)

    async def renew(self, cause: str) -> None:
        """Nothing to renew."""

    async def aclose(self) -> None:
        """Nothing to close."""


class Nowhere:
    """A store that keeps nothing."""

    async def store_observed(
        self, bars: Sequence[object], coverage: Sequence[Coverage], gaps: Sequence[Gap], state: object
    ) -> int:
        del coverage, gaps, state
        return len(bars)

    async def load_state(self, name: str) -> None:
        del name

    async def open_gaps(self, contract_id: str) -> list[Gap]:
        del contract_id
        return []

    async def coverage(self, contract_id: str) -> list[tuple[int, int]]:
        del contract_id
        return []

    async def set_periods(self, contract_id: str, sessions: Sequence[Session]) -> None:
        """Keep none."""


def ingestion(store: Any, batches: int, *, paced: bool) -> Ingestion:
    calendars = {name: calendar("cme_equity") for name in CONTRACTS}
    params = IngestParams(clock="stream", state_name=None)
    return Ingestion(Feed(batches, paced=paced), store, calendars, TIMEFRAMES, None, params)


async def flat_out() -> float:
    run = ingestion(Nowhere(), TRADES // len(CONTRACTS), paced=False)
    started = time.perf_counter()
    await run.run()
    seconds = time.perf_counter() - started
    assert run.statistics().trades == TRADES
    return TRADES / seconds


def nothing(self: LagCounts, lags_s: Iterable[float]) -> None:
    del self, lags_s


def without_counting() -> float:
    observe = LagCounts.observe
    LagCounts.observe = nothing  # type: ignore[method-assign]
    try:
        return asyncio.run(flat_out())
    finally:
        LagCounts.observe = observe  # type: ignore[method-assign]


async def paced(url: str, folder: Path, *, watched: bool) -> tuple[float, float]:
    """Return median and 99th percentile of trade to bar stored, milliseconds."""
    async with await DBHandler.open(url) as database:
        await database.pool.execute("TRUNCATE ohlc_bars, coverage, data_gaps")
        run = ingestion(database, PACED_S * BATCHES_A_S, paced=True)
        async with AsyncExitStack() as stack:
            if watched:
                watching = asyncio.create_task(watch(url, folder, run))
                stack.push_async_callback(ended, watching)
            await run.run()
    lags = sorted(run.lags_s())
    return 1_000 * statistics.median(lags), 1_000 * lags[int(0.99 * len(lags))]


async def ended(task: asyncio.Task[None]) -> None:
    if task.done():
        task.result()
    task.cancel()
    await asyncio.wait([task])


def settings_for(url: str, folder: Path) -> Settings:
    channels = {"none": "json://127.0.0.1:1/"}
    return load_settings(environ={}, data_dir=folder, database={"url": url}, notify={"channels": channels})


async def watch(url: str, folder: Path, run: Ingestion) -> None:
    settings = settings_for(url, folder)
    stopping, address = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with (
        wiring_operations.lookout(settings, ["ingest"]) as lookout,
        await DBHandler.open(url) as database,
        aiohttp.ClientSession() as session,
        asyncio.TaskGroup() as group,
    ):
        app = FastAPI()
        app.include_router(router(lookout))
        group.create_task(serve(app, "127.0.0.1", 0, stopping, address.set_result))
        group.create_task(wiring_operations.notifier(settings, database).run())
        base = await address
        while True:
            await HealthStore(database).put("here:1", [Told("ingest", "running", START_NS, 0, "", report=run.report())])
            for path in ("/readyz", "/metrics"):
                async with session.get(base + path) as response:
                    await response.read()
            await asyncio.sleep(1)


def cost_of_one() -> None:
    """Print what a report and a scrape take by themselves."""
    run = ingestion(Nowhere(), 1_000, paced=False)
    asyncio.run(run.run())
    started = time.perf_counter()
    for _ in range(1_000):
        run.report()
    print(f"a report of ingestion, every 3 s            {(time.perf_counter() - started) * 1_000:8.1f} us")
    lags = LagCounts()
    started = time.perf_counter()
    for _ in range(1_000):
        lags.observe([0.003] * 100)
    print(f"counting a bar's lag                        {(time.perf_counter() - started) * 10_000:8.1f} ns")


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    rates: dict[str, list[float]] = {"with": [], "without": []}
    asyncio.run(flat_out())  # warm up
    for number in range(ROUNDS):
        for name in ("with", "without") if number % 2 else ("without", "with"):
            rates[name].append(without_counting() if name == "without" else asyncio.run(flat_out()))
    for name, found in rates.items():
        print(f"ingestion, flat out, {name + ' counting':17}  {statistics.median(found) / 1_000:8.0f} k trades/s")
    cost_of_one()
    with tempfile.TemporaryDirectory() as folder, embedded_server(Path(folder)) as url:
        asyncio.run(migrate(url))
        wiring_operations.postmen(settings_for(url, Path(folder)))  # as escapement run does before anything begins
        lags: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        for _ in range(PACED_ROUNDS):
            for watched, measured in lags.items():
                measured.append(asyncio.run(paced(url, Path(folder), watched=watched)))
    for watched, measured in lags.items():
        median, high = (statistics.median(each) for each in zip(*measured, strict=True))
        name = "watched" if watched else "alone"
        print(f"trade to bar stored, 200 bars/s, {name:10} {median:6.2f} ms median  {high:6.2f} ms p99")


if __name__ == "__main__":
    main()
