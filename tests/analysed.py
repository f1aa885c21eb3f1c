"""What tests of the analysis share: bars, what is expected of them, and services that run."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from msgspec import structs

from analysis_program import SERIES, instances
from escapement.analyzers import find_analyzer
from escapement.model import Bar, Timeframe
from escapement.moments import ns_from_iso
from escapement.services.analyze import Analysis
from escapement.services.coordinate import Coordination
from escapement.services.lane import Planned, Series
from escapement.storage import DBHandler
from escapement.storage.analysis import AnalysisStore, KeptSignal

MINUTE = Timeframe.parse("1m")
START = ns_from_iso("2025-03-17T13:30:00Z")
Row = tuple[str, str, str, str, int, int, int, float, str]


def walk(series: Series, count: int, seed: int = 1) -> list[Bar]:
    """A random walk in quarter points that turns often, so that signals are many."""
    chance = random.Random(f"{seed} {series}")
    contract_id, timeframe = series
    found, price = [], 22_000
    for n in range(count):
        prices = [price := price + chance.randint(-6, 6) for _ in range(4)]
        high, low = max(prices) / 4, min(prices) / 4
        start = START + n * timeframe.length_ns
        found.append(
            Bar(contract_id, timeframe, start, start + timeframe.length_ns, prices[0] / 4, high, low, prices[3] / 4, n)
        )
    return found


def expected(bars: Sequence[Bar], planned: Sequence[Planned] | None = None) -> list[Row]:
    """What each analyzer says when it reads the bars once, in one go, without any database."""
    rows = []
    for each in instances() if planned is None else planned:
        key = each.key
        plugin = find_analyzer(key.analyzer)
        machine = plugin.create(plugin.params(json.loads(key.params)))
        for bar in sorted(bars, key=lambda bar: bar.start_ns):
            if (bar.contract_id, bar.timeframe) == (key.contract_id, key.timeframe):
                rows += [
                    (key.analyzer, key.contract_id, str(key.timeframe), found.signal_type, found.bar_start_ns,
                     found.trigger_start_ns, found.known_at_ns, found.price, found.rule)
                    for found in (*machine.push(bar), *machine.advance(bar.end_ns))
                ]  # fmt: skip
    return sorted(rows)


async def stored(database: DBHandler) -> list[KeptSignal]:
    return await AnalysisStore(database).signals(superseded=True)


async def holding(database: DBHandler) -> list[Row]:
    return sorted(
        (each.key.analyzer, each.key.contract_id, str(each.key.timeframe), each.signal_type, each.bar_start_ns,
         each.trigger_start_ns, each.known_at_ns, each.price, each.rule)
        for each in await AnalysisStore(database).signals()
    )  # fmt: skip


async def until_holding(database: DBHandler, rows: list[Row]) -> None:
    found: list[Row] = []
    try:
        async with asyncio.timeout(30):
            while (found := await holding(database)) != rows:  # noqa: ASYNC110 - the table is in another process
                await asyncio.sleep(0.02)
    except TimeoutError:
        assert found == rows


@asynccontextmanager
async def running(*services: Analysis | Coordination) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(service.run()) for service in services]
    try:
        yield
    finally:
        for service in services:
            service.stop()
        await asyncio.gather(*tasks)


ALL_BARS = [bar for series in SERIES for bar in walk(series, 300)]


def revised(bars: Sequence[Bar], *places: int) -> list[Bar]:
    found = list(bars)
    for place in places:
        bar = found[place]
        found[place] = structs.replace(bar, high=bar.high + 30, close=bar.high + 25, volume=bar.volume + 1)
    return found


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - the table is in another process
            await asyncio.sleep(0.02)
