"""Whole sessions of two contracts at many times the speed of time, with everything going wrong that can.

For each seed a simulated venue and ingestion run in a process of their own, all seeds at once on one database server.
Every fault of a market hub and of history strikes at random moments. In the end the stored bars have to be those of
the complete file of trades, bar for bar, nothing may be unknown, and every gap has to be closed; else it ends with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import asyncpg
from msgspec import structs

from escapement import wiring
from escapement.calendars import calendar_for_contract
from escapement.core.aggregation import OHLCBarAggregator
from escapement.logs import configure_logging
from escapement.model import NS_PER_SECOND, Bar, BarSource, Session, Timeframe, Trade
from escapement.projectx import HubParams
from escapement.projectx.limits import RateLimit
from escapement.services.ingest import Ingestion
from escapement.settings import Settings, load_settings
from escapement.simulator import Simulator, SimulatorConfig, synthetic_trades
from escapement.simulator.access import RateLimit as VenueLimit
from escapement.simulator.faults import Fault
from escapement.storage import DBHandler, migrate
from escapement.storage.completeness import completeness, gaps_between
from escapement.storage.embedded import embedded_server

CONTRACTS = ["CON.F.US.MES.M25", "CON.F.US.MNQ.M25"]
TIMEFRAMES = [Timeframe.parse(text) for text in ("1m", "5m", "15m", "1h", "4h", "1d")]
DAY = date(2025, 3, 18)
FOREVER = 1 << 62
# How often each strikes, at most, in a session.
FAULTS = {
    "missed_trades": 8, "duplicated_trades": 8, "late_trades": 8, "reordered_trades": 8, "null_padding": 8,
    "malformed_record": 5, "oversized_record": 2, "disconnect": 4, "disconnect_for_good": 2, "reset": 4,
    "unauthorized_hub": 3, "expired_tokens": 3, "rate_limited": 5, "slow_rest": 4, "hanging_rest": 2,
    "unavailable_rest": 5, "lost_answer": 3, "missing_bar": 2, "wrong_partial_bar": 6,
}  # fmt: skip

Key = tuple[str, Timeframe, int]


def session_of() -> Session:
    """Return the session that is replayed."""
    return next(each for each in calendar_for_contract(CONTRACTS[0]).sessions if each.trade_date == DAY)


def trades_of(seed: int, hours: float) -> list[Trade]:
    """Return the last hours of an invented session."""
    begin_ns = session_of().close_ns - int(hours * 3_600) * NS_PER_SECOND
    return [trade for trade in synthetic_trades(CONTRACTS, DAY, seed=seed, per_minute=15) if trade.at_ns >= begin_ns]


def faults_of(seed: int, hours: float) -> list[Fault]:
    """Return what goes wrong: each kind some times at random moments, more of it in a longer session."""
    chance = random.Random(seed)
    length_s = hours * 3_600
    faults = []
    for kind, most in FAULTS.items():
        for _ in range(max(1, round(chance.randint(1, most) * min(1.0, hours / 8)))):
            seconds = chance.uniform(1, 5) if kind == "late_trades" else chance.uniform(0.1, 1)
            faults.append(Fault(kind, after_s=chance.uniform(0.02, 0.98) * length_s, seconds=seconds))
    for pings in (False, True):
        for lasts_s in (chance.uniform(0.2, 1.0), None):
            after_s = chance.uniform(0.02, 0.98) * length_s
            faults.append(Fault("freeze", after_s=after_s, seconds=lasts_s, pings=pings, hub="market"))
    return faults


def offline(trades: Sequence[Trade]) -> dict[Key, Bar]:
    """Return the bars of the complete file of trades."""
    stage = OHLCBarAggregator({each: calendar_for_contract(each) for each in CONTRACTS}, TIMEFRAMES, tolerance_ns=0)
    outcomes = [*stage.push_many(trades), *stage.finish()]
    return {(bar.contract_id, bar.timeframe, bar.start_ns): bar for bar in outcomes if isinstance(bar, Bar)}


async def stored(database: DBHandler) -> dict[Key, Bar]:
    """Return what is stored, as if all of it had been heard."""
    return {
        (contract_id, timeframe, bar.start_ns): structs.replace(bar, source=BarSource.LIVE)
        for contract_id in CONTRACTS
        for timeframe in TIMEFRAMES
        for bar in await database.bars_between(contract_id, timeframe, 0, FOREVER)
    }


def settings_for(simulator: Simulator, url: str, speed: float) -> Settings:
    """Return settings of ingestion from the simulator."""
    return load_settings(
        environ={},
        contracts=CONTRACTS,
        timeframes=[str(timeframe) for timeframe in TIMEFRAMES],
        gateway={
            "api_url": simulator.base_url, "market_hub_url": simulator.market_hub_url,
            "user_hub_url": simulator.user_hub_url, "user_name": "demo", "api_key": "demo-key-0001",
        },
        ingest={"clock": "stream", "replay_speed": speed, "state_interval_seconds": 1.0},
        database={"url": url},
    )  # fmt: skip


async def settled(ingestion: Ingestion, end_ns: int) -> bool:
    """Wait until everything is stored, compared and repaired; False when that does not come about."""
    root_ns = 60 * NS_PER_SECOND
    try:
        async with asyncio.timeout(120):
            while True:
                counts = ingestion.statistics()
                if (
                    counts.venue_time_ns >= end_ns
                    and counts.bars_waiting == counts.gaps_open == 0
                    and counts.compared_ns >= end_ns - NS_PER_SECOND - root_ns
                ):
                    return True
                await asyncio.sleep(0.1)
    except TimeoutError:
        return False


async def one(seed: int, speed: float, hours: float, url: str) -> bool:
    """Run one session; say what happened and whether all is right."""
    trades = trades_of(seed, hours)
    config = SimulatorConfig(
        CONTRACTS, speed=speed, audience="ignore", settle_s=None, seed=seed, faults=faults_of(seed, hours),
        bars_limit=VenueLimit(50, 30 / speed), calls_limit=VenueLimit(200, 60 / speed), ping_s=0.2,
    )  # fmt: skip
    hub = HubParams(
        first_delay_s=0.05, longest_delay_s=0.5, silence_s=3.0, ping_s=0.5, forbidden_delay_s=0.3, handshake_s=5.0
    )
    async with Simulator(config, trades) as simulator:
        settings = settings_for(simulator, url, speed)
        gateway = replace(
            wiring.gateway_params(settings),
            timeout_s=2.0,
            bars_limit=RateLimit(30, 30 / speed),
            limit=RateLimit(200, 60 / speed),
        )
        async with (
            wiring.database(settings) as database,
            wiring.ingestion(settings, database, hub=hub, gateway=gateway) as ingestion,
            asyncio.TaskGroup() as group,
        ):
            running = group.create_task(ingestion.run())
            await simulator.finished.wait()
            fine = await settled(ingestion, simulator.end_ns)
            ingestion.stop()
            await running
            fine = await verdict(seed, trades, database, ingestion, simulator.faults.struck) and fine
    return fine


async def verdict(
    seed: int, trades: Sequence[Trade], database: DBHandler, ingestion: Ingestion, struck: Counter[str]
) -> bool:
    """Compare what is stored with what should be, and print it."""
    expected, found = offline(trades), await stored(database)
    wrong = [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]
    gaps = [gap for each in CONTRACTS for gap in await gaps_between(database, each, 0, 2 * trades[-1].at_ns)]
    unknown = expected_intervals = 0
    for each in CONTRACTS:
        for timeframe in TIMEFRAMES:
            for session in await completeness(database, each, timeframe, session_of().open_ns, session_of().close_ns):
                unknown += session.unknown
                expected_intervals += session.expected
    left = [gap for gap in gaps if gap.open]
    counts = ingestion.statistics()
    causes = Counter(gap.gap.cause.value for gap in gaps)
    listed = ", ".join(f"{number} {cause}" for cause, number in causes.most_common())
    print(
        f"seed {seed}: {counts.trades:,} trades of {len(trades):,}, {sum(struck.values())} faults of {len(struck)} "
        f"kinds, {counts.alarms} alarms, {len(gaps)} gaps ({listed}), "
        f"{counts.revised} bars revised; {len(found):,} bars, {len(wrong)} wrong, {len(left)} gaps open, "
        f"{unknown} of {expected_intervals:,} intervals unknown",
        flush=True,
    )
    for key in sorted(wrong, key=lambda key: (key[2], key[1], key[0]))[:10]:
        print(f"  wrong: {key[0]} {key[1]} {key[2]}\n    right {expected.get(key)}\n    found {found.get(key)}")
    for gap in left[:10]:
        print(f"  open: {gap}")
    return not (wrong or left or unknown) and expected_intervals > 0


async def make_database(server: str, name: str) -> str:
    """Make a database with our tables; return its URL."""
    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    head, _, query = server.partition("?")
    url = head.rpartition("/")[0] + f"/{name}" + (f"?{query}" if query else "")
    await migrate(url)
    return url


def many(seeds: Sequence[int], options: argparse.Namespace) -> bool:
    """Run sessions beside one another."""
    with tempfile.TemporaryDirectory(prefix="escapement-faults-") as folder, embedded_server(Path(folder)) as server:
        programs = []
        for seed in seeds:
            url = asyncio.run(make_database(server, f"seed_{seed}"))
            programs.append(
                subprocess.Popen(
                    [sys.executable, __file__, "--one", str(seed), "--url", url, "--speed", str(options.speed),
                     "--hours", str(options.hours), "--log", options.log],
                )
            )  # fmt: skip
        codes = [program.wait() for program in programs]
    return not any(codes)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="11-20", help="such as 1-10")
    parser.add_argument("--speed", type=float, default=60.0)
    parser.add_argument("--hours", type=float, default=23.0, help="how much of the session, from its end")
    parser.add_argument("--log", default="critical", help="level of what each session logs")
    parser.add_argument("--one", type=int, help="run one seed here")
    parser.add_argument("--url", help="the database of that one")
    options = parser.parse_args()
    configure_logging(options.log, "json")
    if options.one is not None:
        sys.exit(0 if asyncio.run(one(options.one, options.speed, options.hours, options.url)) else 1)
    first, _, last = options.seeds.partition("-")
    sys.exit(0 if many(range(int(first), int(last or first) + 1), options) else 1)


if __name__ == "__main__":
    main()
