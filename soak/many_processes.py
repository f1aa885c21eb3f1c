"""Eight contracts on six timeframes over two processes of ingestion and four of analysis, with Redis between them.

200 trades a second for some minutes; Redis is killed and started again meanwhile. In the end the tables have to be
those of one process that is given the complete file of trades: every bar, every signal, no gap open; and no bar may
have waited for its analyzers for longer than it takes to look for it; else it ends with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from msgspec import structs

from escapement import wiring
from escapement.calendars import calendar_for_contract
from escapement.logs import configure_logging
from escapement.model import NS_PER_SECOND, Bar, BarSource, Trade
from escapement.settings import Settings, load_settings
from escapement.simulator import Simulator, SimulatorConfig, synthetic_trades
from escapement.storage import DBHandler
from escapement.storage.embedded import embedded_server
from faults import DAY, FOREVER, TIMEFRAMES, make_database
from offline import bars_of
from redises import RedisServer

CONTRACTS = [f"CON.F.US.{code}.M25" for code in ("MES", "MNQ", "M2K", "MYM", "EP", "ENQ", "RTY", "YM")]
TRADES_A_SECOND = 200
INGESTERS, ANALYZERS = 2, 4
POLL_S = 5.0
# A look, the reading itself on a busy machine, and Redis coming back.
LONGEST_S = POLL_S + 10.0
_WAITING = """
SELECT bar.contract_id || ' ' || bar.timeframe_unit || ' ' || bar.timeframe_value AS series
FROM (
    SELECT contract_id, timeframe_unit, timeframe_value, max(timestamp) AS newest FROM ohlc_bars GROUP BY 1, 2, 3
) AS bar
LEFT JOIN analyzer_watermarks AS kept ON kept.contract_id = bar.contract_id AND kept.timeframe = bar.timeframe_value
    || (ARRAY['s', 'm', 'h', 'd', 'w', 'mo'])[bar.timeframe_unit]
WHERE kept.last_processed_timestamp IS DISTINCT FROM bar.newest
"""
_SIGNALS = """
SELECT analyzer_id, contract_id, timeframe, signal_type, timestamp, trigger_timestamp, known_at, signal_price, rule
FROM detected_signals WHERE superseded_at IS NULL ORDER BY 1, 2, 3, 4, 5, 6
"""


def trades_of(minutes: float, speed: float, seed: int) -> list[Trade]:
    """Return the end of an invented session of all contracts, as busy as asked for at this speed."""
    close_ns = next(each for each in calendar_for_contract(CONTRACTS[0]).sessions if each.trade_date == DAY).close_ns
    per_minute = TRADES_A_SECOND * 60 / speed / len(CONTRACTS)
    found = synthetic_trades(CONTRACTS, DAY, seed=seed, per_minute=per_minute)
    return [trade for trade in found if trade.at_ns >= close_ns - int(minutes * 60) * NS_PER_SECOND]


def settings_of(folder: Path, simulator: Simulator, speed: float, redis: RedisServer) -> dict[str, Any]:
    return {
        "contracts": CONTRACTS, "timeframes": [str(each) for each in TIMEFRAMES], "data_dir": str(folder / "data"),
        "ingest": {"clock": "stream", "replay_speed": speed, "state_interval_seconds": 2.0},
        "repair": {"patience_seconds": 600.0}, "analyzers": {"run": ["trend_starts"], "poll_seconds": POLL_S},
        "leases": {"seconds": 3.0}, "bus": {"redis_url": redis.url},
        "gateway": {
            "api_url": simulator.base_url, "market_hub_url": simulator.market_hub_url,
            "user_hub_url": simulator.user_hub_url,
        },
        "logging": {"level": "warning", "format": "json"},
    }  # fmt: skip


class Processes:
    """Services in processes of their own, with the same settings."""

    def __init__(self, folder: Path, own: dict[str, Any], url: str) -> None:
        self._folder = folder
        self._file = folder / "settings.yaml"
        self._file.write_text(yaml.safe_dump(own), encoding="utf-8")
        plain = {key: value for key, value in os.environ.items() if not key.startswith(("ESCAPEMENT_", "PROJECTX_"))}
        self.environ = {
            **plain, "DATABASE_URL": url, "PROJECTX_USERNAME": "demo", "PROJECTX_API_KEY": "demo-key-0001"
        }  # fmt: skip
        self._running: list[subprocess.Popen[bytes]] = []

    def settings(self) -> Settings:
        return load_settings(self._file, environ=self.environ)

    def start(self, service: str) -> None:
        with (self._folder / f"{service}-{len(self._running)}.log").open("ab") as output:
            self._running.append(
                subprocess.Popen(
                    [sys.executable, "-m", "escapement", "--settings", str(self._file), "run", "--services", service],
                    stdout=output, stderr=output, cwd=self._folder, env=self.environ,
                )
            )  # fmt: skip

    def stop(self) -> list[int]:
        for each in self._running:
            with suppress(ProcessLookupError):
                each.send_signal(signal.SIGTERM)
        return [each.wait(90) for each in self._running]

    def kill(self) -> None:
        for each in self._running:
            with suppress(ProcessLookupError):
                each.kill()


class Waiting:
    """How long the newest bars waited for their analyzers, and the shares of the processes."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.shares: set[tuple[str, int]] = set()
        self._since: dict[str, float] = {}

    async def look(self, database: DBHandler) -> int:
        """Look once; return how many series wait."""
        waiting = {row["series"] for row in await database.pool.fetch(_WAITING)}
        now_s = time.monotonic()
        self._since = {each: self._since.get(each, now_s) for each in waiting}
        self.longest_s = max([self.longest_s, *(now_s - since_s for since_s in self._since.values())])
        return len(waiting)


async def shares(database: DBHandler, service: str) -> list[int]:
    """Return how many contracts each process of a service holds."""
    rows = await database.pool.fetch(
        "SELECT count(*) AS held FROM leases WHERE starts_with(resource, $1) AND until > clock_timestamp()"
        " GROUP BY holder ORDER BY 1", f"{service} ",
    )  # fmt: skip
    return [row["held"] for row in rows]


async def kept(database: DBHandler) -> set[Bar]:
    """Return the stored bars, as if all had been heard."""
    found = [
        bar for each in CONTRACTS for timeframe in TIMEFRAMES
        for bar in await database.bars_between(each, timeframe, 0, FOREVER)
    ]  # fmt: skip
    return {structs.replace(bar, source=BarSource.LIVE) for bar in found}


async def by_one(server: str, settings: Settings, trades: Sequence[Trade]) -> tuple[set[Bar], list[Any]]:
    """Return the bars and signals that one process makes of the complete file of trades."""
    url = await make_database(server, f"one_{os.getpid()}")
    own = settings.model_copy(update={"bus": load_settings(environ={}).bus})
    async with await DBHandler.open(url) as database, wiring.analysis(own, database) as analysis:
        await database.store_bars(bars_of(trades, CONTRACTS, TIMEFRAMES))
        await analysis.catch_up()
        return await kept(database), await database.pool.fetch(_SIGNALS)


async def watched(database: DBHandler, simulator: Simulator, redis: RedisServer, length_s: float) -> Waiting:
    """Look on until the session is over; kill Redis in the middle of it, and start it again."""
    waiting, began_s, is_down = Waiting(), time.monotonic(), 0
    while not simulator.finished.is_set():
        await waiting.look(database)
        passed = (time.monotonic() - began_s) / length_s
        if passed > 0.4 and is_down == 0:
            redis.kill()
            is_down = 1
        elif passed > 0.7 and is_down == 1:
            redis.start()
            is_down = 2
        await asyncio.sleep(0.2)
    return waiting


async def settled(database: DBHandler, waiting: Waiting, bars: set[Bar]) -> None:
    """Wait until all is stored and read, or for some minutes."""
    with suppress(TimeoutError):
        async with asyncio.timeout(180):
            while (  # noqa: ASYNC110 - what is waited for has no event
                await waiting.look(database)
                or await kept(database) != bars
                or await database.pool.fetchval("SELECT count(*) FROM data_gaps WHERE state = 'open'")
            ):
                await asyncio.sleep(1)


async def session(options: argparse.Namespace, folder: Path, server: str) -> bool:
    """Run one session and judge it."""
    trades = trades_of(options.minutes, options.speed, options.seed)
    config = SimulatorConfig(
        CONTRACTS, speed=options.speed, audience="start", bars_limit=None, calls_limit=None, ping_s=2.0
    )
    redis = RedisServer(folder)
    redis.start()
    url = await make_database(server, f"many_{os.getpid()}")
    async with await DBHandler.open(url) as database, Simulator(config, trades) as simulator:
        processes = Processes(folder, settings_of(folder, simulator, options.speed, redis), url)
        try:
            for service, count in (("analyze", ANALYZERS), ("ingest", INGESTERS)):
                for _ in range(count):
                    processes.start(service)
            waiting = await watched(database, simulator, redis, options.minutes * 60 / options.speed)
            held = await shares(database, "ingest"), await shares(database, "analyze")
            bars, signals = await by_one(server, processes.settings(), trades)
            await settled(database, waiting, bars)
            codes = await asyncio.to_thread(processes.stop)  # the venue, to which they speak, runs here
            found, heard = await kept(database), await database.pool.fetch(_SIGNALS)
            gaps = await database.pool.fetchval("SELECT count(*) FROM data_gaps WHERE state = 'open'")
        finally:
            processes.kill()
            redis.kill()
    fine = found == bars and heard == signals and not gaps and not any(codes)
    print(
        f"{len(trades):,} trades of {len(CONTRACTS)} contracts at {TRADES_A_SECOND} a second; contracts a process: "
        f"ingestion {held[0]}, analysis {held[1]}; {len(found):,} bars, {len(found ^ bars)} wrong; {len(heard):,} "
        f"signals, {len(set(map(tuple, heard)) ^ set(map(tuple, signals)))} wrong; {gaps} gaps open; longest wait of a "
        f"bar for its analyzer {waiting.longest_s:.1f} s; exit codes {codes}",
        flush=True,
    )
    is_spread = held == ([4] * INGESTERS, [2] * ANALYZERS)
    return fine and bool(signals) and is_spread and waiting.longest_s < LONGEST_S


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how much of the market is replayed")
    parser.add_argument("--speed", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    configure_logging("critical", "json")
    with tempfile.TemporaryDirectory(prefix="escapement-many-") as place, embedded_server(Path(place) / "db") as server:
        sys.exit(0 if asyncio.run(session(options, Path(place), server)) else 1)


if __name__ == "__main__":
    main()
