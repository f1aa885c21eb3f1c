"""kill -9 of venue, ingestion, analyzers and coordinator at random moments; the decisions have to be the same.

All four are programs of their own, started from the command line, with one database server that lives. Half a session
of two contracts passes at many times the speed of time; whatever is killed is started again at once. While the venue is
away its clock goes on, as a real one's would. In the end the stored decisions have to be those that the complete file
of trades leads to without any program, database or interruption; else it ends with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import yaml

from escapement import wiring
from escapement.logs import configure_logging
from escapement.model import NS_PER_SECOND, Trade
from escapement.moments import iso_from_ns
from escapement.settings import Settings, load_settings
from escapement.simulator import synthetic_trades
from escapement.storage import DBHandler
from escapement.storage.coordination import CoordinationStore
from escapement.storage.embedded import embedded_server
from faults import CONTRACTS, DAY, make_database, session_of
from offline import RULES, Row, bars_of, decisions_of, row

PER_MINUTE = 15
PROGRAMS = "simulate", "ingest", "analyze", "coordinate"
SETTINGS = {
    "contracts": CONTRACTS,
    "timeframes": ["1m", "5m", "15m", "1h"],
    "ingest": {"clock": "stream", "state_interval_seconds": 1.0},
    "repair": {"patience_seconds": 600.0},
    "analyzers": {"run": ["trend_starts", {"name": "donchian_breakout", "timeframes": ["5m"]}]},
    "coordinator": {**RULES, "patience_seconds": 600.0},
    "leases": {"seconds": 1.0},
    "logging": {"level": "warning", "format": "json"},
}


class Venue:
    """Where the simulated venue is, and what its clock shows; it runs on while the program is away."""

    def __init__(self, hours: float, speed: float, seed: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.begin_ns = session_of().close_ns - int(hours * 3_600) * NS_PER_SECOND
        self.speed = speed
        self.seed = seed
        self._since_s = time.monotonic()

    def now_ns(self) -> int:
        """Return what the clock shows."""
        return self.begin_ns + int((time.monotonic() - self._since_s) * self.speed * NS_PER_SECOND)

    def trades(self) -> list[Trade]:
        """Return what trades since the hour that is in progress at the beginning, which is filled from history."""
        since_ns = self.begin_ns - self.begin_ns % (3_600 * NS_PER_SECOND)
        found = synthetic_trades(CONTRACTS, DAY, seed=self.seed, per_minute=PER_MINUTE)
        return [trade for trade in found if trade.at_ns >= since_ns]

    def arguments(self) -> list[str]:
        """Return how the program is started now."""
        named = [argument for each in CONTRACTS for argument in ("--contract", each)]
        return [
            *named, "--day", DAY.isoformat(), "--per-minute", str(PER_MINUTE), "--seed", str(self.seed), "--speed",
            str(self.speed), "--port", str(self.port), "--no-wait", "--begin", iso_from_ns(self.now_ns()),
        ]  # fmt: skip


class Programs:
    """The four programs, in one folder."""

    def __init__(self, folder: Path, url: str, venue: Venue) -> None:
        self._folder = folder
        self._venue = venue
        base = f"http://127.0.0.1:{venue.port}"
        own = {
            **SETTINGS,
            "ingest": {**SETTINGS["ingest"], "replay_speed": venue.speed},  # type: ignore[dict-item]
            "data_dir": str(folder / "data"),
            "gateway": {
                "api_url": base, "market_hub_url": f"{base}/hubs/market", "user_hub_url": f"{base}/hubs/user",
            },
        }  # fmt: skip
        self.file = folder / "settings.yaml"
        self.file.write_text(yaml.safe_dump(own), encoding="utf-8")
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("ESCAPEMENT_", "PROJECTX_"))}
        self.environ = {
            **plain, "DATABASE_URL": url, "PROJECTX_USERNAME": "demo", "PROJECTX_API_KEY": "demo-key-0001",
        }  # fmt: skip
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def settings(self) -> Settings:
        """Return what the programs run with."""
        return load_settings(self.file, environ=self.environ)

    def start(self, name: str) -> None:
        """Start a program."""
        arguments = self._venue.arguments() if name == "simulate" else []
        with (self._folder / f"{name}.log").open("ab") as output:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", "escapement", "--settings", str(self.file), name, *arguments],
                stdout=output, stderr=output, cwd=self._folder, env=self.environ,
            )  # fmt: skip

    def kill(self, name: str) -> None:
        """Kill a program at once."""
        self._running[name].kill()
        self._running[name].wait()

    def start_dead(self) -> list[str]:
        """Start again what ended by itself, such as ingestion that found no venue; return what that was."""
        dead = [name for name, program in self._running.items() if program.poll() is not None]
        for name in dead:
            self.start(name)
        return dead

    def stop(self) -> dict[str, int]:
        """End all in good order; return the exit codes."""
        for program in self._running.values():
            with suppress(ProcessLookupError):
                program.send_signal(signal.SIGTERM)
        return {name: program.wait(60) for name, program in self._running.items()}


async def kill_often(options: argparse.Namespace, venue: Venue, programs: Programs) -> Counter[str]:
    """Kill programs at random moments of the session; return how often which."""
    chance = random.Random(options.seed)
    end_ns = session_of().close_ns - 600 * NS_PER_SECOND
    killed: Counter[str] = Counter()
    for name in PROGRAMS:
        programs.start(name)
    left_s = (end_ns - venue.now_ns()) / venue.speed / NS_PER_SECOND
    moments = sorted(chance.uniform(1, left_s) for _ in range(options.kills))
    began_s = time.monotonic()
    for moment in moments:
        await asyncio.sleep(max(0.0, began_s + moment - time.monotonic()))
        programs.start_dead()
        name = chance.choice(PROGRAMS)
        programs.kill(name)
        killed[name] += 1
        programs.start(name)
    return killed


async def decided(database: DBHandler) -> list[Row]:
    """Return the stored decisions."""
    return sorted(map(row, await CoordinationStore(database).decisions()))


async def settled(programs: Programs, database: DBHandler, rows: Sequence[Row], end_s: float) -> list[Row]:
    """Wait until the decisions are those expected, or for some minutes after the end of the session; return them."""
    by_s = end_s + 180
    while (found := await decided(database)) != rows and time.monotonic() < by_s:
        programs.start_dead()
        await asyncio.sleep(0.5)
    return found


async def session(options: argparse.Namespace) -> bool:
    """Run one session with its kills and judge it."""
    with (
        tempfile.TemporaryDirectory(prefix="escapement-chain-") as place,
        embedded_server(Path(place) / "db") as server,
    ):
        folder = Path(place)
        url = await make_database(server, "chain")
        venue = Venue(options.hours, options.speed, options.seed)
        programs = Programs(folder, url, venue)
        settings = programs.settings()
        bars = bars_of(venue.trades(), CONTRACTS, settings.timeframes)
        rows = decisions_of(bars, settings)
        killed = await kill_often(options, venue, programs)
        end_s = time.monotonic() + (session_of().close_ns - venue.now_ns()) / venue.speed / NS_PER_SECOND
        async with wiring.database(settings) as database:
            found = await settled(programs, database, rows, end_s)
            codes = programs.stop()
            again = await decided(database)
            unproven = [each for each in await CoordinationStore(database).decisions() if not each.data_complete]
        missing, extra = set(rows) - set(found), set(found) - set(rows)
        actions = Counter(each[2] for each in rows)
        print(
            f"seed {options.seed}: killed {dict(killed)}; {len(rows)} decisions expected "
            f"({', '.join(f'{count} {action}' for action, count in sorted(actions.items()))}), {len(missing)} missing, "
            f"{len(extra)} others, {len(unproven)} on data not known to be complete; exit codes {codes}",
            flush=True,
        )
        for wanted in sorted(missing, key=lambda each: each[6])[:5]:
            print(f"  missing: {iso_from_ns(wanted[6])} {wanted}")
        for other in sorted(extra, key=lambda each: each[6])[:5]:
            print(f"  other: {iso_from_ns(other[6])} {other}")
        if missing or extra or options.logs:
            for name in PROGRAMS:
                print(f"  {name}:\n" + "\n".join((folder / f"{name}.log").read_text().splitlines()[-10:]))
        return not (missing or extra or unproven or any(codes.values())) and bool(rows) and again == found


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", type=float, default=60.0)
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--logs", action="store_true", help="print the end of each program's log")
    options = parser.parse_args()
    configure_logging("critical", "json")
    sys.exit(0 if asyncio.run(session(options)) else 1)


if __name__ == "__main__":
    main()
