"""Twelve hours of two busy contracts at sixty times the speed of time: memory over time, and how late bars are stored.

Ingestion is a program of its own, with the embedded database. Prints its memory each simulated hour and the time from
receipt to the store. Ends with 1 when memory grows by more than a tenth after the first two hours, or when a bar is
missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from escapement import wiring
from escapement.calendars import calendar_for_contract
from escapement.core.aggregation import OHLCBarAggregator
from escapement.logs import configure_logging
from escapement.model import NS_PER_SECOND, Bar, Trade
from escapement.projectx.limits import RateLimit
from escapement.settings import Settings
from escapement.simulator import Simulator, SimulatorConfig, synthetic_trades
from faults import CONTRACTS, DAY, TIMEFRAMES, session_of
from kills import HUB, settings_for

AN_HOUR_NS = 3_600 * NS_PER_SECOND
WARM_HOURS = 2


async def ingest(settings: Settings) -> None:
    """Ingest until told to stop, and say how it goes."""
    plenty = RateLimit(10_000, 1)
    gateway = replace(wiring.gateway_params(settings), limit=plenty, bars_limit=plenty)
    process = psutil.Process()
    async with (
        wiring.database(settings) as database,
        wiring.ingestion(settings, database, hub=HUB, gateway=gateway) as ingestion,
        asyncio.TaskGroup() as group,
    ):
        running = group.create_task(ingestion.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ingestion.stop)
        while not running.done():
            counts = ingestion.statistics()
            said = {
                "venue_ns": counts.venue_time_ns, "left": counts.bars_waiting + counts.gaps_open, "bars": counts.bars,
                "trades": counts.trades, "alarms": counts.alarms, "rss": process.memory_info().rss,
                "lags_s": ingestion.lags_s() if counts.bars else [],
            }  # fmt: skip
            print(json.dumps(said), flush=True)
            await asyncio.sleep(2.0)


def expected_bars(trades: Sequence[Trade]) -> int:
    """Return how many bars the trades make."""
    stage = OHLCBarAggregator({each: calendar_for_contract(each) for each in CONTRACTS}, TIMEFRAMES, tolerance_ns=0)
    return sum(isinstance(outcome, Bar) for outcome in [*stage.push_many(trades), *stage.finish()])


async def session(options: argparse.Namespace) -> bool:
    """Run the session and judge it."""
    begin_ns = session_of().close_ns - int(options.hours * AN_HOUR_NS)
    trades = [
        trade
        for trade in synthetic_trades(CONTRACTS, DAY, seed=1, per_minute=options.per_minute)
        if trade.at_ns >= begin_ns
    ]
    config = SimulatorConfig(CONTRACTS, speed=options.speed, bars_limit=None, calls_limit=None, ping_s=0.5)
    curve: dict[int, int] = {}
    with tempfile.TemporaryDirectory(prefix="escapement-long-") as folder:
        async with Simulator(config, trades) as simulator:
            program = await asyncio.create_subprocess_exec(
                sys.executable, __file__, "--ingest-from", simulator.base_url, "--folder", folder, "--speed",
                str(options.speed), stdout=asyncio.subprocess.PIPE, limit=1 << 24,
            )  # fmt: skip
            assert program.stdout is not None
            said: dict[str, Any] = {}
            while line := await program.stdout.readline():
                said = json.loads(line)
                if said["venue_ns"] > begin_ns:
                    curve[(said["venue_ns"] - begin_ns) // AN_HOUR_NS] = said["rss"]
                if simulator.finished.is_set() and said["venue_ns"] >= simulator.end_ns and said["left"] == 0:
                    break
            with suppress(ProcessLookupError):
                program.terminate()
            await program.communicate()
    return report(curve, said, len(trades), expected_bars(trades))


def report(curve: dict[int, int], said: dict[str, Any], trades: int, bars: int) -> bool:
    """Print the figures; return whether all is well."""
    sizes = [size / 1e6 for _, size in sorted(curve.items())]
    print(f"memory   by the hour: {' '.join(f'{size:.0f}' for size in sizes)} MB")
    lags = said["lags_s"]
    cuts = statistics.quantiles(lags, n=100)
    p50, p99 = (cuts[cut] * 1e3 for cut in (49, 98))
    print(f"lag      received to stored: p50 {p50:.1f} ms, p99 {p99:.1f} ms, of {len(lags):,} bars")
    print(f"trades   {said['trades']:,} received of {trades:,}; alarms {said['alarms']}")
    print(f"bars     {said['bars']:,} of {bars:,}")
    flat = sizes[-1] < 1.1 * sizes[min(WARM_HOURS, len(sizes) - 1)]
    return flat and (said["trades"], said["bars"]) == (trades, bars)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=12.0)
    parser.add_argument("--speed", type=float, default=60.0)
    parser.add_argument("--per-minute", type=float, default=300.0, help="trades a minute of each contract")
    parser.add_argument("--ingest-from", help="be the ingestion from this venue")
    parser.add_argument("--folder", type=Path, help="its data directory")
    options = parser.parse_args()
    configure_logging("critical", "json")
    if options.ingest_from:
        asyncio.run(ingest(settings_for(options.ingest_from, options.folder, options.speed)))
        return
    sys.exit(0 if asyncio.run(session(options)) else 1)


if __name__ == "__main__":
    main()
