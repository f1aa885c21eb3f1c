"""kill -9 of ingestion and of its database server at random moments of a session; in the end nothing may be missing.

The simulated venue runs here, at many times the speed of time; ingestion is a program of its own, with the embedded
database, started again after each kill. The result is judged as in ``faults.py``; ends with 1 when it is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from escapement import wiring
from escapement.logs import configure_logging
from escapement.projectx import HubParams
from escapement.projectx.limits import RateLimit
from escapement.settings import Settings, load_settings
from escapement.simulator import Simulator, SimulatorConfig
from faults import CONTRACTS, TIMEFRAMES, trades_of, verdict

HUB = HubParams(first_delay_s=0.05, longest_delay_s=0.5, silence_s=3.0, ping_s=0.5)
# Of the kills, this share hits the database server.
DATABASE_SHARE = 0.3


def settings_for(venue_url: str, folder: Path, speed: float) -> Settings:
    """Return settings of ingestion from the simulator into the embedded database."""
    return load_settings(
        environ={},
        data_dir=folder,
        contracts=CONTRACTS,
        timeframes=[str(timeframe) for timeframe in TIMEFRAMES],
        gateway={
            "api_url": venue_url, "market_hub_url": f"{venue_url}/hubs/market",
            "user_hub_url": f"{venue_url}/hubs/user", "user_name": "demo", "api_key": "demo-key-0001",
        },
        ingest={"clock": "stream", "replay_speed": speed, "state_interval_seconds": 1.0},
    )  # fmt: skip


async def ingest(settings: Settings) -> None:
    """Ingest until killed or told to stop, and say how far it is."""
    plenty = RateLimit(10_000, 1)
    gateway = replace(wiring.gateway_params(settings), timeout_s=2.0, limit=plenty, bars_limit=plenty)
    async with (
        wiring.database(settings) as database,
        wiring.ingestion(settings, database, hub=HUB, gateway=gateway) as ingestion,
        asyncio.TaskGroup() as group,
    ):
        running = group.create_task(ingestion.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ingestion.stop)
        while not running.done():
            counts = ingestion.statistics()
            print(
                json.dumps([counts.venue_time_ns, counts.compared_ns, counts.bars_waiting + counts.gaps_open]),
                flush=True,
            )
            await asyncio.sleep(0.1)


async def start(options: argparse.Namespace, venue_url: str, folder: Path) -> asyncio.subprocess.Process:
    """Start ingestion as a program."""
    return await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--ingest-from", venue_url, "--folder", str(folder), "--speed", str(options.speed),
        "--log", options.log, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


def kill_database(folder: Path) -> bool:
    """Kill the server at once; return whether there was one."""
    with suppress(FileNotFoundError, ProcessLookupError, ValueError, IndexError):
        os.kill(int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
        return True
    return False


async def drain(stream: asyncio.StreamReader) -> None:
    """Read away what a program says."""
    while await stream.read(65_536):
        pass


async def kill_often(options: argparse.Namespace, simulator: Simulator, folder: Path) -> Counter[str]:
    """Start ingestion and kill it or its database, so many times; return how often which."""
    chance = random.Random(options.seed)
    killed: Counter[str] = Counter()
    program = await start(options, simulator.base_url, folder)
    while sum(killed.values()) < options.kills and not simulator.finished.is_set():
        await asyncio.sleep(chance.uniform(0.2, options.longest))
        if chance.random() < DATABASE_SHARE:
            killed["database"] += kill_database(folder)
            continue
        with suppress(ProcessLookupError):
            program.kill()
        assert program.stdout is not None
        await drain(program.stdout)
        await program.wait()
        killed["ingestion"] += 1
        program = await start(options, simulator.base_url, folder)
    program.kill()
    return killed


async def finish(options: argparse.Namespace, simulator: Simulator, folder: Path) -> bool:
    """Let ingestion run to the end of the session; return whether it came to an end of its work."""
    program = await start(options, simulator.base_url, folder)
    assert program.stdout is not None
    await simulator.finished.wait()
    fine = False
    by = time.monotonic() + 120
    while time.monotonic() < by and not fine and (line := await program.stdout.readline()):
        venue_ns, compared_ns, left = json.loads(line)
        fine = venue_ns >= simulator.end_ns and compared_ns >= simulator.end_ns - 61 * 10**9 and left == 0
    with suppress(ProcessLookupError):
        program.terminate()
    await drain(program.stdout)
    return await program.wait() == 0 and fine


async def session(options: argparse.Namespace) -> bool:
    """Run one session with its kills and judge it."""
    trades = trades_of(options.seed, options.hours)
    config = SimulatorConfig(
        CONTRACTS,
        speed=options.speed,
        audience="ignore",
        seed=options.seed,
        bars_limit=None,
        calls_limit=None,
        ping_s=0.2,
    )
    with tempfile.TemporaryDirectory(prefix="escapement-kills-") as name:
        folder = Path(name)
        async with Simulator(config, trades) as simulator:
            killed = await kill_often(options, simulator, folder)
            before_end = not simulator.finished.is_set()
            fine = await finish(options, simulator, folder)
            print(f"killed: {dict(killed)}{'' if before_end else ' (the session was over before all kills)'}")
            settings = settings_for(simulator.base_url, folder, options.speed)
            async with wiring.database(settings) as database, wiring.ingestion(settings, database) as idle:
                right = await verdict(options.seed, trades, database, idle, Counter(killed))
    return fine and right and sum(killed.values()) >= options.kills


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", type=float, default=60.0)
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--longest", type=float, default=5.0, help="most seconds between two kills")
    parser.add_argument("--log", default="critical", help="level of what ingestion logs")
    parser.add_argument("--ingest-from", help="be the ingestion from this venue")
    parser.add_argument("--folder", type=Path, help="its data directory")
    options = parser.parse_args()
    configure_logging(options.log, "json")
    if options.ingest_from:
        asyncio.run(ingest(settings_for(options.ingest_from, options.folder, options.speed)))
        return
    sys.exit(0 if asyncio.run(session(options)) else 1)


if __name__ == "__main__":
    main()
