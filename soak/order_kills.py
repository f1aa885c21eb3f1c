"""Execution killed with kill -9 at random moments while it trades, once without and once with the watchdog beside it.

In the end our positions, orders, fills and profit have to be the venue's own, no decision may have been traded twice,
and no position may have lacked its stop for longer than it may while a program lived; else it ends with 1.
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
from pathlib import Path

from escapement.logs import configure_logging
from escapement.simulator.venue import Venue
from escapement.storage import DBHandler, migrate
from escapement.storage.embedded import embedded_server
from forking import fork, forks
from orders import ACCOUNT, BARE_S, Watcher, decide, differences, doubled, simulator_of

PROGRAM = Path(__file__).with_name("order_program.py")


async def trade(seed: int, kills: int, url: str, *, watchdog: bool) -> bool:
    """Trade until execution was killed so many times; return whether all was well."""
    await migrate(url)
    chance = random.Random(seed)
    async with await DBHandler.open(url) as database, simulator_of(seed, kills * 2.5 + 30, ()) as simulator:
        with forks(str(PROGRAM)) as program:

            def start(what: str) -> int:
                order = {"be": what, "base_url": simulator.base_url, "url": url, "seed": seed}
                return fork(program, json.dumps(order))

            watcher, number = Watcher(simulator.venue), 0
            if watchdog:
                start("watch")
            for _ in range(kills):
                pid = start("execute")
                until_s = time.monotonic() + chance.uniform(0.15, 3.0)
                while time.monotonic() < until_s:
                    number += 1
                    await decide(database, simulator, chance, number)
                    await looked(watcher, chance.uniform(0.02, 0.6))
                os.kill(pid, signal.SIGKILL)
                if not watchdog:
                    watcher.bare_since.clear()  # nobody lived who could have protected it
                await looked(watcher, chance.uniform(0.0, 0.5), alive=watchdog)
            start("execute")
            quiet = 0
            async with asyncio.timeout(90):
                while quiet < 30:
                    await looked(watcher, 0.1)
                    quiet = quiet + 1 if not watcher.bare_since else 0
            simulator.pause()
            found = await written_down(database, simulator.venue)
        found += doubled(simulator.venue.orders_of(ACCOUNT))
        if watcher.longest_bare_s > BARE_S:
            found.append(f"a position lacked its stop for {watcher.longest_bare_s:.1f} s")
        for line in found:
            print(f"seed {seed}: {line}")
        print(
            f"{kills} kills {'with' if watchdog else 'without'} the watchdog: {number} decisions, "
            f"{len(simulator.venue.orders_of(ACCOUNT))} orders, {len(simulator.venue.accounts[ACCOUNT].trades)} fills, "
            f"longest without stop {watcher.longest_bare_s:.2f} s, {len(found)} wrong"
        )
        return not found


async def written_down(database: DBHandler, venue: Venue) -> list[str]:
    """Wait until all that happened is written down; return what still differs."""
    for _ in range(100):
        if not (found := await differences(database, venue)):
            break
        await asyncio.sleep(0.2)
    return found


async def looked(watcher: Watcher, seconds: float, *, alive: bool = True) -> None:
    """Look at the venue for a while."""
    until_s = time.monotonic() + seconds
    while True:
        if alive:
            watcher.look()
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            return
        await asyncio.sleep(min(0.01, left_s))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1, help="an odd one fills in pieces, 1 of 4 protects by our orders")
    chosen = parser.parse_args()
    configure_logging("error", "json")
    good = []
    for offset, watchdog in enumerate((False, True)):
        with tempfile.TemporaryDirectory() as folder, embedded_server(Path(folder)) as url:
            good.append(asyncio.run(trade(chosen.seed + offset, chosen.kills, url, watchdog=watchdog)))
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
