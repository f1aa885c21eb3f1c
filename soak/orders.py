"""Trading with everything going wrong that can: for each seed an invented market, random decisions and random faults.

In the end our positions, orders, fills and profit have to be the venue's own, no decision may have been traded twice,
and no position may have lacked its stop for longer than it may; else it ends with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from escapement import wiring, wiring_execution
from escapement.core.execution import Role, decision_of, role_of
from escapement.logs import configure_logging
from escapement.model import NS_PER_SECOND, Trade
from escapement.projectx import HubParams
from escapement.services.execute import ExecuteParams, Execution
from escapement.settings import Settings, load_settings
from escapement.simulator import AccountSpec, Fault, Simulator, SimulatorConfig, synthetic_trades
from escapement.simulator.fills import FillModel
from escapement.simulator.orders import Order, OrderStatus
from escapement.simulator.venue import Venue
from escapement.storage import DBHandler, migrate
from escapement.storage.embedded import embedded_server

CONTRACTS = ["CON.F.US.MES.M25", "CON.F.US.MNQ.M25"]
DAY = date(2025, 3, 18)
ACCOUNT, NAME, BALANCE = 1001, "PRAC-1", Decimal(50_000)
SPEED, SIZE = 10.0, 3
# How long a position may lack its stop, in real seconds: the patience of the settings below, and a few lost calls.
BARE_S = 15.0
# How often each strikes in a minute.
FAULTS = {
    "disconnect": 2, "reset": 2, "unauthorized_hub": 1, "expired_tokens": 1, "rate_limited": 3, "slow_rest": 4,
    "hanging_rest": 2, "unavailable_rest": 4, "lost_answer": 5, "cut_before_bracket": 3, "voided_trade": 2,
}  # fmt: skip
REFUSED = ("Order/place", "Order/cancel", "Order/modify", "Position/closeContract")
_DECIDE = """INSERT INTO decisions (decision_id, coordinator_id, contract_id, action, direction, confidence, price,
known_at, rule, words, data_complete) VALUES ($1, 'main', $2, $3, $4, 1, 1, to_timestamp($5), 'soak', 'soak', true)"""


@dataclass
class Watcher:
    """Looks at the venue all the time: how long positions lack their stop, and how large they get."""

    venue: Venue
    bare_since: dict[str, float] = field(default_factory=dict)
    longest_bare_s: float = 0.0
    large_since: dict[str, float] = field(default_factory=dict)
    longest_large_s: float = 0.0

    def look(self) -> None:
        for contract_id in CONTRACTS:
            position = self.venue.accounts[ACCOUNT].positions.get(contract_id)
            net = 0 if position is None else position.size
            if abs(net) <= SIZE:
                self.large_since.pop(contract_id, None)
            else:
                since = self.large_since.setdefault(contract_id, time.monotonic())
                self.longest_large_s = max(self.longest_large_s, time.monotonic() - since)
            covered = sum(
                order.remaining for order in self.venue.orders_of(ACCOUNT)
                if order.contract_id == contract_id and order.status is OrderStatus.OPEN and order.stop is not None
                and order.side.sign * net < 0
            )  # fmt: skip
            if covered >= abs(net):
                self.bare_since.pop(contract_id, None)
            else:
                since = self.bare_since.setdefault(contract_id, time.monotonic())
                self.longest_bare_s = max(self.longest_bare_s, time.monotonic() - since)


def settings_for(base_url: str, url: str | None, seed: int) -> Settings:
    """Return settings of live trading at the simulator, with little patience."""
    return load_settings(
        environ={}, contracts=CONTRACTS, ingest={"clock": "stream", "replay_speed": SPEED},
        gateway={
            "api_url": base_url, "market_hub_url": f"{base_url}/hubs/market", "user_hub_url": f"{base_url}/hubs/user",
            "user_name": "demo", "api_key": "demo-key-0001",
        },
        execution={
            "mode": "live", "account": NAME, "contracts": SIZE, "stop_ticks": 12,
            "target_ticks": 10 if seed % 3 else {}, "brackets": "own" if seed % 4 == 1 else "venue",
            "protect_seconds": 6, "bracket_grace_seconds": 0.5, "lookup_seconds": 1.5, "answer_seconds": 1,
            "reconcile_seconds": 3, "poll_seconds": 0.5,
        },
        risk={"oldest_price_seconds": 600, "oldest_decision_seconds": 120, "orders_per_minute": None},
        leases={"seconds": 1}, logging={"level": "warning", "format": "json"},
        database={} if url is None else {"url": url},
    )  # fmt: skip


def trades_of(seed: int, seconds: float) -> list[Trade]:
    """Return the beginning of an invented session, busy enough for targets and stops to be reached."""
    session = synthetic_trades(CONTRACTS, DAY, seed=seed, per_minute=240)
    trades: list[Trade] = []
    for trade in session:
        if trades and trade.at_ns - trades[0].at_ns > (seconds + 30) * SPEED * NS_PER_SECOND:
            break
        trades.append(trade)
    return trades


def faults_of(seed: int, seconds: float) -> list[Fault]:
    """Return what goes wrong, at random moments of the first part."""
    chance = random.Random(seed)
    length_s = seconds * SPEED * 0.85
    faults = []
    for kind, most in FAULTS.items():
        for _ in range(max(1, round(chance.randint(1, most) * seconds / 60))):
            lasts_s = chance.choice((0.3, 2.0, 4.0))
            faults.append(Fault(kind, after_s=chance.uniform(0.03, 1) * length_s, seconds=lasts_s))
    for endpoint in REFUSED:
        after_s = chance.uniform(0.03, 1) * length_s
        faults.append(Fault("refused", after_s=after_s, endpoint=endpoint, code=chance.choice((3, 5)), message="No."))
    return faults + [
        Fault("freeze", after_s=chance.uniform(0.1, 0.9) * length_s, seconds=1.5, hub=hub) for hub in ("user", "market")
    ]


def simulator_of(seed: int, seconds: float, faults: Sequence[Fault], **changes: Any) -> Simulator:
    """Return the venue of a seed: half of them fill in pieces, a quarter takes no brackets."""
    spec = AccountSpec(ACCOUNT, NAME, "demo", balance=BALANCE, bracket_mode="position" if seed % 4 == 2 else "auto_oco")
    fills = FillModel(slippage_ticks=seed % 2, most_per_fill=1 if seed % 2 else None, queue_ahead=seed % 5)
    config = SimulatorConfig(
        CONTRACTS, accounts=[spec], audience="start", speed=SPEED, calls_limit=None, bars_limit=None, ping_s=0.5,
        faults=faults, fills=fills, seed=seed, **changes,
    )  # fmt: skip
    return Simulator(config, trades_of(seed, seconds))


async def decide(database: DBHandler, simulator: Simulator, chance: random.Random, number: int) -> None:
    """Store a random decision of now."""
    direction = chance.choice((1, -1, 1, -1, 0))
    action = {1: "enter_long", -1: "enter_short", 0: "exit"}[direction]
    contract_id = chance.choice(CONTRACTS)
    await database.pool.execute(
        _DECIDE, f"{number:08x}{chance.getrandbits(64):024x}", contract_id, action, direction,
        simulator.now_ns / NS_PER_SECOND,
    )  # fmt: skip
    await database.pool.execute("SELECT pg_notify('decisions', $1)", contract_id)


async def settled(service: Execution, simulator: Simulator) -> None:
    """Wait until nothing is open to be done: all positions have the stops they shall have."""
    quiet = 0
    async with asyncio.timeout(60):
        while quiet < 20:
            await asyncio.sleep(0.1)
            watcher = Watcher(simulator.venue)
            watcher.look()
            quiet = quiet + 1 if not watcher.bare_since and service.deal.is_current else 0


async def differences(database: DBHandler, venue: Venue) -> list[str]:
    """Return where what is stored is not what really happened."""
    ledger, found = venue.accounts[ACCOUNT], []
    orders = {
        row["venue_order_id"]: row
        for row in await database.pool.fetch("SELECT * FROM orders WHERE venue_order_id IS NOT NULL")
    }
    for order in venue.orders_of(ACCOUNT):
        row = orders.pop(order.order_id, None)
        theirs = order.status.name.lower(), order.filled
        ours = None if row is None else (row["status"], row["filled_size"])
        if theirs != ours:
            found.append(f"order {order.order_id} {order.custom_tag}: venue {theirs}, ours {ours}")
    found += [f"order {order_id} is not at the venue" for order_id in orders]
    fills = {row["fill_id"]: row for row in await database.pool.fetch("SELECT * FROM fills")}
    for trade in ledger.trades:
        row = fills.pop(trade.trade_id, None)
        if row is None or (row["size"], row["voided"]) != (trade.size, trade.voided):
            found.append(f"fill {trade.trade_id}: venue {trade.size} {trade.voided}, ours {row}")
    found += [f"fill {fill_id} is not at the venue" for fill_id in fills]
    made = Decimal(0)
    for row in await database.pool.fetch("SELECT contract_id, net, made FROM positions"):
        position = ledger.positions.get(row["contract_id"])
        theirs_net = 0 if position is None else position.size
        made += row["made"]
        if row["net"] != theirs_net:
            found.append(f"position {row['contract_id']}: venue {theirs_net}, ours {row['net']}")
    if abs(made - (ledger.balance - BALANCE)) > Decimal("0.000001"):
        found.append(f"profit: venue {ledger.balance - BALANCE}, ours {made}")
    return found


def doubled(orders: Sequence[Order]) -> list[str]:
    """Return the decisions that were traded more than once."""
    entries = Counter(
        decision_of(order.custom_tag) for order in orders
        if role_of(order.custom_tag) is Role.ENTRY and order.status is not OrderStatus.REJECTED
    )  # fmt: skip
    return [f"decision {decision} was traded {count} times" for decision, count in entries.items() if count > 1]


async def trade(seed: int, seconds: float, url: str) -> bool:
    """Trade one seed; return whether all was well."""
    await migrate(url)
    chance, faults = random.Random(seed), faults_of(seed, seconds)
    async with await DBHandler.open(url) as database, simulator_of(seed, seconds, faults) as simulator:
        watcher = Watcher(simulator.venue)
        params = ExecuteParams(0.5, 0.1, 5.0, 2.0, 1.0)
        hub = HubParams(first_delay_s=0.05, longest_delay_s=0.5, silence_s=2.0, ping_s=0.5)
        chosen = settings_for(simulator.base_url, url, seed)
        leases = wiring.leases(chosen, database, "execute")
        await leases.take([NAME])
        async with wiring_execution.execution(chosen, database, "live", leases, hub=hub, params=params) as service:
            running = asyncio.create_task(service.run())
            begun, next_s, number = time.monotonic(), 1.0, 0
            while (passed := time.monotonic() - begun) < seconds and not running.done():
                await asyncio.sleep(0.01)
                watcher.look()
                if passed > next_s:
                    number += 1
                    next_s = passed + chance.uniform(0.5, 5.0)
                    await decide(database, simulator, chance, number)
            if running.done():
                await running
            await settled(service, simulator)
            watcher.look()
            simulator.pause()
            await asyncio.sleep(1.5)
            await service.deal.keeper.flush()
            service.stop()
            await asyncio.wait_for(running, 30)
        found = await differences(database, simulator.venue) + doubled(simulator.venue.orders_of(ACCOUNT))
        if watcher.longest_bare_s > BARE_S:
            found.append(f"a position lacked its stop for {watcher.longest_bare_s:.1f} s")
        if watcher.longest_large_s > BARE_S:
            found.append(f"a position was too large for {watcher.longest_large_s:.1f} s")
        for line in found:
            print(f"seed {seed}: {line}")
        learnt = await database.pool.fetchval("SELECT count(*) FROM reconciliations")
        print(
            f"seed {seed}: {number} decisions, {len(simulator.venue.orders_of(ACCOUNT))} orders, "
            f"{len(simulator.venue.accounts[ACCOUNT].trades)} fills, {simulator.faults.struck.total()} faults of "
            f"{len(simulator.faults.struck)} kinds, {learnt} differences learnt, longest without stop "
            f"{watcher.longest_bare_s:.2f} s, too large {watcher.longest_large_s:.2f} s, {len(found)} wrong"
        )
        return not found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1-20", help="such as 1-20 or 7")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each is traded, in real seconds")
    parser.add_argument("--at-once", type=int, default=5)
    parser.add_argument("--url", help="a database for one seed")
    chosen = parser.parse_args()
    first, _, last = chosen.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    if chosen.url:
        configure_logging("error", "json")
        sys.exit(not asyncio.run(trade(seeds[0], chosen.seconds, chosen.url)))
    with tempfile.TemporaryDirectory() as folder, embedded_server(Path(folder)) as url:
        sys.exit(asyncio.run(_all(seeds, chosen.seconds, chosen.at_once, url)))


async def _all(seeds: Sequence[int], seconds: float, at_once: int, url: str) -> int:
    """Trade every seed in a process of its own; return how many went wrong."""
    turn, making = asyncio.Semaphore(at_once), asyncio.Lock()
    connection = await asyncpg.connect(url)

    async def one(seed: int) -> bool:
        async with turn:
            name = f"orders_{seed}"
            async with making:
                await connection.execute(f"CREATE DATABASE {name}")
            process = await asyncio.create_subprocess_exec(
                sys.executable, __file__, "--seeds", str(seed), "--seconds", str(seconds), "--url",
                urlunsplit(urlsplit(url)._replace(path=f"/{name}")), stdout=subprocess.PIPE,
            )  # fmt: skip
            output, _ = await process.communicate()
            print(output.decode(), end="", flush=True)
            return process.returncode == 0

    results = await asyncio.gather(*(one(seed) for seed in seeds))
    await connection.close()
    print(f"{len(results)} seeds, {results.count(False)} wrong")
    return results.count(False)


if __name__ == "__main__":
    main()
