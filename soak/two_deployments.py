"""Two full deployments on one database and one live account, of which one is killed or frozen every few seconds.

Each runs ingestion, analysis, coordination and execution. The simulated venue runs here, at many times the speed of
time; whatever is killed is started again, whatever is frozen wakes and does not know that its leases went to the other.
In the end nobody but the holder of a lease may have written what it covers, the stored bars have to be those of the
complete file of trades, no gap may be open, no decision may have been traded twice, and our orders, fills and positions
have to be the venue's own; else it ends with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import yaml

from audit import Audit
from escapement.logs import configure_logging
from escapement.model import Trade
from escapement.simulator import AccountSpec, Simulator, SimulatorConfig
from escapement.storage import DBHandler
from escapement.storage.completeness import gaps_between
from escapement.storage.embedded import embedded_server
from faults import CONTRACTS, TIMEFRAMES, make_database, offline, stored, trades_of
from orders import ACCOUNT, BALANCE, NAME, decide, differences, doubled

LEASE_S = 2.0
SETTINGS = {
    "contracts": CONTRACTS,
    "timeframes": [str(each) for each in TIMEFRAMES],
    "ingest": {"clock": "stream", "state_interval_seconds": 1.0},
    "repair": {"patience_seconds": 600.0},
    "analyzers": {"run": ["trend_starts", {"name": "donchian_breakout", "timeframes": ["1m", "5m"]}]},
    "coordinator": {"entries": [{"rule": "pass_through", "timeframes": ["1m", "5m"]}], "patience_seconds": 20.0},
    "execution": {
        "mode": "live", "account": NAME, "stop_ticks": 12, "target_ticks": 10, "lookup_seconds": 1.5,
        "answer_seconds": 1, "reconcile_seconds": 3, "poll_seconds": 0.5,
    },
    "risk": {"oldest_price_seconds": 600, "oldest_decision_seconds": 3_600, "orders_per_minute": None},
    "leases": {"seconds": LEASE_S},
    "logging": {"level": "warning", "format": "json"},
}  # fmt: skip


class Deployment:
    """``escapement run`` as a user of its own at the database."""

    def __init__(self, folder: Path, name: str, user: str, url: str, simulator: Simulator, speed: float) -> None:
        self.name, self.user = name, user
        self.pids: list[int] = []
        self._folder = folder
        self._file = folder / f"{name}.yaml"
        gateway = {
            "api_url": simulator.base_url, "market_hub_url": simulator.market_hub_url,
            "user_hub_url": simulator.user_hub_url,
        }  # fmt: skip
        own = {
            **SETTINGS, "gateway": gateway, "ingest": {**SETTINGS["ingest"], "replay_speed": speed},  # type: ignore[dict-item]
            "data_dir": str(folder / name),
        }  # fmt: skip
        self._file.write_text(yaml.safe_dump(own), encoding="utf-8")
        plain = {key: value for key, value in os.environ.items() if not key.startswith(("ESCAPEMENT_", "PROJECTX_"))}
        self._environ = {
            **plain, "DATABASE_URL": url, "PROJECTX_USERNAME": "demo", "PROJECTX_API_KEY": "demo-key-0001",
            "ESCAPEMENT_LIVE_TRADING": "yes",
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / f"{self.name}.log").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "escapement", "--settings", str(self._file), "run"],
                stdout=output, stderr=output, cwd=self._folder, env=self._environ,
            )  # fmt: skip
        self.pids.append(self._process.pid)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        if number is signal.SIGKILL:
            self._process.wait()

    def stop(self) -> int:
        assert self._process is not None
        self.send(signal.SIGTERM)
        try:
            return self._process.wait(90)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            return -1

    def tail(self) -> str:
        return "\n".join((self._folder / f"{self.name}.log").read_text().splitlines()[-30:])


async def disturb(deployment: Deployment, chance: random.Random) -> str:
    """Kill a deployment and start it again, or freeze it for a while, longer than its leases last or not as long."""
    if chance.random() < 0.5:
        deployment.send(signal.SIGKILL)
        await asyncio.sleep(chance.uniform(0, 1.5 * LEASE_S))
        deployment.start()
        return "killed"
    deployment.send(signal.SIGSTOP)
    await asyncio.sleep(chance.uniform(0.5, 4 * LEASE_S))
    deployment.send(signal.SIGCONT)
    return "frozen"


async def disturb_often(deployments: Sequence[Deployment], simulator: Simulator, seed: int) -> Counter[str]:
    chance, done = random.Random(seed), Counter[str]()
    for each in deployments:
        each.start()
    await asyncio.sleep(10)  # both are up
    while not simulator.finished.is_set():
        done[await disturb(chance.choice(deployments), chance)] += 1
        with suppress(TimeoutError):
            await asyncio.wait_for(simulator.finished.wait(), chance.uniform(1.0, 8.0))
    return done


async def decide_often(database: DBHandler, simulator: Simulator, seed: int) -> int:
    """Store a random decision every now and then, besides those that the deployments take; return how many."""
    chance, number = random.Random(seed), 0
    while not simulator.finished.is_set():
        await asyncio.sleep(chance.uniform(0.5, 4.0))
        number += 1
        await decide(database, simulator, chance, number)
    return number


async def judged(database: DBHandler, simulator: Simulator, trades: Sequence[Trade], *, most: int = 5) -> list[str]:
    """Return what is not as it has to be, so far."""
    expected, found = offline(trades), await stored(database)
    wrong = [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]
    said = [f"bar {key}: right {expected.get(key)}, found {found.get(key)}" for key in sorted(wrong, key=str)[:most]]
    if len(wrong) > most:
        said.append(f"{len(wrong)} bars are wrong")
    for each in CONTRACTS:
        gaps = await gaps_between(database, each, 0, 1 << 62, only_open=True)
        said += [f"gap left open: {gap}" for gap in gaps if gap.gap.begins_ns < simulator.end_ns]
    return said + await differences(database, simulator.venue) + doubled(simulator.venue.orders_of(ACCOUNT))


async def session(options: argparse.Namespace, folder: Path, url: str) -> bool:
    """Run one session and judge it."""
    trades = trades_of(options.seed, options.minutes / 60)
    config = SimulatorConfig(
        CONTRACTS, accounts=[AccountSpec(ACCOUNT, NAME, "demo", balance=BALANCE)], speed=options.speed,
        audience="ignore", seed=options.seed, bars_limit=None, calls_limit=None, ping_s=2.0,
    )  # fmt: skip
    audit = Audit(url)
    await audit.begin()
    async with await DBHandler.open(url) as database, Simulator(config, trades) as simulator:
        deployments = [
            Deployment(folder, name, *await audit.user(), simulator, options.speed) for name in ("blue", "green")
        ]
        try:
            done, decisions = await asyncio.gather(
                disturb_often(deployments, simulator, options.seed), decide_often(database, simulator, options.seed)
            )
            by_s = time.monotonic() + 180
            while (said := await judged(database, simulator, trades)) and time.monotonic() < by_s:  # noqa: ASYNC110
                await asyncio.sleep(1)
            # The venue runs in this event loop, and they speak to it until the end.
            codes = await asyncio.gather(*(asyncio.to_thread(each.stop) for each in deployments))
        finally:
            for each in deployments:
                each.send(signal.SIGKILL)
        said += await audit.wrong({each.user: each.pids for each in deployments})
        said += [] if await audit.writers("ingest") >= {each.user for each in deployments} else ["one never ingested"]
        said += [] if await audit.writers("execute") >= {each.user for each in deployments} else ["one never traded"]
        said += [f"exit codes {codes}"] if any(codes) else []
        count = database.pool.fetchval
        print(
            f"seed {options.seed}: {options.minutes:g} minutes of market, deployments {dict(done)}; "
            f"{await count('SELECT sum(token) FROM leases')} leases taken, {decisions} decisions besides "
            f"{await count('SELECT count(*) FROM decisions') - decisions} of the rules, "
            f"{len(simulator.venue.orders_of(ACCOUNT))} orders, {len(await stored(database))} bars, "
            f"{await count('SELECT count(*) FROM data_gaps')} gaps, {await count('SELECT count(*) FROM audit')} rows "
            f"written under leases; {len(said)} wrong",
            flush=True,
        )
        for line in said:
            print(f"  {line}")
        if said or options.logs:
            print("\n".join(f"  {each.name}:\n{each.tail()}" for each in deployments))
    return not said


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how much of the market is replayed")
    parser.add_argument("--speed", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--logs", action="store_true", help="print the end of each deployment's log")
    parser.add_argument("--url", help="a server to make a database on, in place of the embedded one")
    options = parser.parse_args()
    configure_logging("critical", "json")
    with tempfile.TemporaryDirectory(prefix="escapement-two-") as place:
        folder = Path(place)
        if options.url:
            url = asyncio.run(make_database(options.url, f"two_deployments_{os.getpid()}"))
            sys.exit(0 if asyncio.run(session(options, folder, url)) else 1)
        with embedded_server(folder / "db") as server:
            url = asyncio.run(make_database(server, "two"))
            sys.exit(0 if asyncio.run(session(options, folder, url)) else 1)


if __name__ == "__main__":
    main()
