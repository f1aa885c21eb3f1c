"""From a trade to the stored signal: simulator, ingestion and analysis as programs of their own on one database.

Four contracts, six timeframes of seconds, every built-in analyzer on each; 100 trades a second on each contract, then
100 on all together. A bar's end is that moment of the venue's clock by this machine's: what the quickest trade took is
counted as no time. Prints what lies between the end and the committed signal. The first part, wait, is the market's:
until a trade or quote comes that is later than the end by ingest.tolerance_ms, the bar may grow. Ends with code 1 when
the p99 with 100 trades a second on each contract is 250 ms or more.

    python benchmarks/signals.py [SECONDS]
"""

from __future__ import annotations

import asyncio
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from escapement import wiring
from escapement.core.aggregation import with_root
from escapement.core.analysis import Advance, StoredBar
from escapement.logs import configure_logging
from escapement.model import Bar, Coverage, Gap
from escapement.ports import FeedEvent, TradesReceived, VenueTime
from escapement.projectx import GatewayClient, MarketFeed
from escapement.services.analyze import CHANNELS, Analysis
from escapement.services.history import MOST_BARS
from escapement.services.ingest import Ingestion
from escapement.services.lane import Planned, Series
from escapement.settings import Settings, load_settings
from escapement.storage import DBHandler, migrate
from escapement.storage.analysis import AnalysisStore
from escapement.storage.doorbell import Doorbell
from escapement.storage.embedded import embedded_server

SECONDS = 60
WARM_S = 5
PER_SECOND = 100
AIM_MS = 250.0
CONTRACTS = ["CON.F.US.MES.DEMO", "CON.F.US.MNQ.DEMO", "CON.F.US.M2K.DEMO", "CON.F.US.MYM.DEMO"]
TIMEFRAMES = "1s,2s,5s,10s,15s,30s"
PARTS = ("wait", "aggregate", "store bars", "wake", "read", "analyse", "store signals")


def settings_of(venue: Mapping[str, str]) -> Settings:
    return load_settings(
        environ={}, contracts=CONTRACTS, timeframes=TIMEFRAMES, ingest={"clock": "stream", "replay_speed": 1.0},
        gateway={"user_name": "demo", "api_key": "demo-key-0001",
                 **{name: venue[name] for name in ("api_url", "market_hub_url", "user_hub_url")}},
        analyzers={"run": ["trend_starts", "donchian_breakout", "moving_average_crossover"]},
    )  # fmt: skip


def name_of(bar: Bar) -> str:
    return f"{bar.contract_id} {bar.timeframe} {bar.start_ns}"


class TimedFeed:
    """Passes on what a feed says, and keeps what time was told when."""

    def __init__(self, feed: MarketFeed) -> None:
        self._feed = feed
        self.told: dict[str, tuple[list[int], list[int]]] = {each: ([], []) for each in CONTRACTS}

    async def events(self) -> AsyncIterator[FeedEvent]:
        async for event in self._feed.events():
            match event:
                case TradesReceived():
                    for trade in event.trades:
                        self._tell(trade.contract_id, trade.at_ns, event.received_ns)
                case VenueTime():
                    self._tell(event.contract_id, event.at_ns, event.received_ns)
            yield event

    def _tell(self, contract_id: str, at_ns: int, received_ns: int) -> None:
        moments, received = self.told[contract_id]
        if not moments or at_ns > moments[-1]:
            moments.append(at_ns)
            received.append(received_ns)

    async def renew(self, cause: str) -> None:
        await self._feed.renew(cause)

    async def aclose(self) -> None:
        await self._feed.aclose()


class TimedBars(DBHandler):
    """Keeps when the storing of each bar began and was done."""

    stored: dict[str, tuple[Bar, int, int]]

    async def store_observed(
        self,
        bars: Sequence[Bar],
        coverage: Sequence[Coverage],
        gaps: Sequence[Gap],
        states: Mapping[str, Mapping[str, object]] | None,
    ) -> int:
        began = time.time_ns()
        count = await super().store_observed(bars, coverage, gaps, states)
        done = time.time_ns()
        for bar in bars:
            self.stored[name_of(bar)] = bar, began, done
        return count


class TimedSignals(AnalysisStore):
    """Keeps when each bar was asked for and read, and when its signals began to be stored and were."""

    def __init__(self, database: DBHandler) -> None:
        super().__init__(database)
        self.read: dict[str, tuple[int, int]] = {}
        self.found: dict[str, tuple[int, int, int, int]] = {}

    async def bars_after(self, asked: Sequence[tuple[Series, int | None, int]]) -> list[list[StoredBar]]:
        began = time.time_ns()
        found = await super().bars_after(asked)
        done = time.time_ns()
        for rows in found:
            for row in rows:
                self.read[name_of(row.bar)] = began, done
        return found

    async def commit(self, advances: Sequence[Advance], interval: int) -> set[int]:
        began = time.time_ns()
        moved = await super().commit(advances, interval)
        done = time.time_ns()
        for advance in advances:
            for each in advance.reading.signals:
                name = f"{each.signal.contract_id} {each.signal.timeframe} {each.signal.trigger_start_ns}"
                self.found[f"{advance.instance.key.analyzer} {name}"] = (*self.read[name], began, done)
        return moved


async def ingest(settings: Settings, url: str) -> dict[str, Any]:
    calendars = wiring.contract_calendars(settings.contracts)
    timeframes = with_root(settings.timeframes)
    params = wiring.gateway_params(settings)
    async with await TimedBars.open(url) as database, GatewayClient(params) as client:
        database.stored = {}
        await database.track(calendars, timeframes)
        feed = TimedFeed(MarketFeed(client, settings.gateway.endpoints().market_hub_url, list(calendars)))
        history = wiring.GatewayHistory(client, calendars, MOST_BARS)
        service = Ingestion(feed, database, calendars, timeframes, history, wiring.ingest_params(settings))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, service.stop)
        await service.run()
    offset = min(took - at for told in feed.told.values() for at, took in zip(*told, strict=True))
    tolerance_ns = settings.ingest.tolerance_ms * 1_000_000
    bars = {}
    for name, (bar, began, done) in database.stored.items():
        moments, received = feed.told[bar.contract_id]
        place = bisect_left(moments, bar.end_ns + tolerance_ns)
        if bar.whole and place < len(moments):
            bars[name] = bar.end_ns + offset, received[place], began, done
    return {
        "bars": bars,
        "trades": service.statistics().trades,
        "began": min(moments[0] for moments, _ in feed.told.values()) + offset,
    }


async def analyse(settings: Settings, url: str) -> dict[str, Any]:
    runs = wiring.analyzer_runs(settings)
    series = [(each.id, timeframe) for each in settings.contracts for timeframe in settings.timeframes]

    async def plan() -> list[Planned]:
        return [each for run in runs for each in run.on(series)]

    async with await DBHandler.open(url) as database:
        store = TimedSignals(database)
        service = Analysis(store, Doorbell(database, CHANNELS), plan)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, service.stop)
        await service.run()
    return {"signals": store.found}


def start(stack: ExitStack, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def answer(process: subprocess.Popen[str]) -> Any:
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    return json.loads(process.stdout.read())


def measure(seconds: int, per_second: float) -> tuple[dict[str, Any], dict[str, Any]]:
    with ExitStack() as stack:
        url = stack.enter_context(embedded_server(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        asyncio.run(migrate(url))
        contracts = [part for each in CONTRACTS for part in ("--contract", each)]
        venue = start(stack, "-m", "escapement", "simulate", "--json", "--port", "0", "--per-minute",
                      str(60 * per_second), *contracts)  # fmt: skip
        assert venue.stdout is not None
        where = venue.stdout.readline()
        analysing = start(stack, __file__, "analyse", where, url)
        time.sleep(2)
        ingesting = start(stack, __file__, "ingest", where, url)
        time.sleep(WARM_S + seconds)
        return answer(ingesting), answer(analysing)


def report(bars: dict[str, list[int]], found: dict[str, list[int]], since_ns: int) -> float:
    rows = []
    for name, (asked, read, began, done) in found.items():
        if name.partition(" ")[2] in bars:
            end, closed, storing, stored = bars[name.partition(" ")[2]]
            if end > since_ns:
                rows.append([end, closed, storing, stored, max(asked, stored), max(read, stored), began, done])
    print(f"{len(rows):,} signals of {len({each.partition(' ')[2] for each in found}):,} bars; milliseconds")
    print(f"{'':>16}{'p50':>8}{'p99':>8}{'max':>8}")
    for place, part in enumerate(PARTS):
        line(part, [(row[place + 1] - row[place]) / 1e6 for row in rows])
    return line("end to signal", [(row[-1] - row[0]) / 1e6 for row in rows])


def line(name: str, values: list[float]) -> float:
    cuts = statistics.quantiles(values, n=100)
    print(f"{name:>16}{cuts[49]:8.1f}{cuts[98]:8.1f}{max(values):8.1f}")
    return cuts[98]


def main() -> None:
    if sys.argv[1:2] in (["ingest"], ["analyse"]):
        configure_logging("error", "console")
        role = ingest if sys.argv[1] == "ingest" else analyse
        print(json.dumps(asyncio.run(role(settings_of(json.loads(sys.argv[2])), sys.argv[3]))))
        return
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    p99 = run(seconds, PER_SECOND, "on each contract")
    run(seconds, PER_SECOND / len(CONTRACTS), "on all together")
    print(f"aim: p99 under {AIM_MS:.0f} ms with {PER_SECOND} trades a second on each contract: ", end="")
    print("reached" if p99 < AIM_MS else "missed")
    sys.exit(p99 >= AIM_MS)


def run(seconds: int, per_second: float, on: str) -> float:
    ingested, analysed = measure(seconds, per_second)
    print(f"\n{PER_SECOND} trades a second {on}: {ingested['trades']:,} in {seconds + WARM_S} s, ", end="")
    print(f"{len(ingested['bars']):,} whole bars")
    return report(ingested["bars"], analysed["signals"], ingested["began"] + WARM_S * 10**9)


if __name__ == "__main__":
    main()
