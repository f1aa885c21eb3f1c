"""How long from a stored decision to the order's acceptance, over the simulated gateway and a real PostgreSQL.

Beside it, in the same run: the bare call that places an order, and storing and hearing of a decision.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path

from escapement import wiring, wiring_execution
from escapement.core.execution import Role, tag
from escapement.logs import configure_logging
from escapement.model import NS_PER_SECOND, AggressorSide, OrderRequest, OrderSide, OrderType, Trade
from escapement.moments import datetime_from_ns, ns_from_iso
from escapement.projectx import GatewayClient, GatewayParams, RateLimit
from escapement.services.execute import Execution
from escapement.settings import Settings, load_settings
from escapement.simulator import AccountSpec, Simulator, SimulatorConfig
from escapement.storage import DBHandler, migrate
from escapement.storage.embedded import embedded_server

MES, ACCOUNT = "CON.F.US.MES.M25", 1001
ROUNDS = 150
BEGIN = ns_from_iso("2025-03-17T13:30:00Z")
DECIDE = """WITH stored AS (
INSERT INTO decisions (decision_id, coordinator_id, contract_id, action, direction, confidence, price, known_at, rule,
words, data_complete) VALUES ($1, 'main', $2, $3, $4, 1, 5700, $5, 'bench', 'bench', true))
SELECT pg_notify('decisions', $2)"""


def tape() -> Iterator[Trade]:
    """Yield a quiet market: five trades a second for an hour."""
    for number in range(18_000):
        at_ns = BEGIN + number * NS_PER_SECOND // 5
        yield Trade(MES, at_ns, 5_700.0 + 0.25 * (number % 2), 2, AggressorSide.BUY)


def settings_for(simulator: Simulator) -> Settings:
    return load_settings(
        environ={}, contracts=[MES], ingest={"clock": "stream", "replay_speed": 1.0},
        gateway={
            "api_url": simulator.base_url, "market_hub_url": simulator.market_hub_url,
            "user_hub_url": simulator.user_hub_url, "user_name": "demo", "api_key": "demo-key-0001",
        },
        execution={"mode": "live", "account": "PRAC-1", "stop_ticks": 400, "reconcile_seconds": 600},
        risk={"orders_per_minute": None, "daily_loss": 40_000, "firm_rules": "generic_50k", "oldest_price_seconds": 60},
    )  # fmt: skip


@asynccontextmanager
async def at_work(url: str) -> AsyncIterator[tuple[Simulator, DBHandler, Execution]]:
    config = SimulatorConfig(
        [MES], accounts=[AccountSpec(ACCOUNT, "PRAC-1", "demo", balance=Decimal(50_000))], speed=1.0,
        calls_limit=None, bars_limit=None,
    )  # fmt: skip
    async with (
        await DBHandler.open(url, connections=8) as database,
        Simulator(config, tape()) as simulator,
        AsyncExitStack() as stack,
    ):
        leases = wiring.leases(settings_for(simulator), database, "execute")
        await leases.take(["PRAC-1"])
        service = await stack.enter_async_context(
            wiring_execution.execution(settings_for(simulator), database, "live", leases)
        )
        # The venue's limit of 200 calls a minute would be measured otherwise.
        service.deal.broker._broker._access._general._limit = RateLimit(1_000_000, 60)  # type: ignore[attr-defined] # noqa: SLF001
        running = asyncio.create_task(service.run())
        while MES not in service.deal.dealer.prices or not service.deal.is_current:
            await asyncio.sleep(0.01)
        yield simulator, database, service
        service.stop()
        await running


async def decision_to_order(simulator: Simulator, database: DBHandler, service: Execution) -> list[float]:
    """Return how long each entry took, in ms."""
    numbers, taken = count(1), []
    book = service.deal.keeper.book
    for _ in range(ROUNDS):
        decision_id = f"{next(numbers):016x}" * 2
        begun = time.perf_counter()
        await decide(database, simulator, decision_id, 1)
        while book.tagged(tag(decision_id, Role.ENTRY)) is None:
            await asyncio.sleep(0.0002)
        taken.append((time.perf_counter() - begun) * 1e3)
        while service.deal.keeper.book.protected(MES) != 1:
            await asyncio.sleep(0.001)
        await decide(database, simulator, f"{next(numbers):016x}" * 2, 0)
        while book.net(MES) or book.working(MES):
            await asyncio.sleep(0.001)
    return taken


async def decide(database: DBHandler, simulator: Simulator, decision_id: str, direction: int) -> None:
    action = "enter_long" if direction else "exit"
    await database.pool.execute(DECIDE, decision_id, MES, action, direction, datetime_from_ns(simulator.now_ns))


async def bare_calls(simulator: Simulator) -> list[float]:
    """Return how long placing an order takes without us, in ms."""
    key = settings_for(simulator).gateway.api_key
    assert key is not None
    params = GatewayParams(simulator.base_url, "demo", key, limit=RateLimit(1_000_000, 60))
    taken = []
    async with GatewayClient(params) as client:
        for number in range(ROUNDS):
            request = OrderRequest(
                ACCOUNT, MES, OrderType.LIMIT, OrderSide.BUY, 1, limit_price=5_000.0, custom_tag=f"bare-{number}"
            )
            begun = time.perf_counter()
            order_id = await client.place_order(request)
            taken.append((time.perf_counter() - begun) * 1e3)
            await client.cancel_order(ACCOUNT, order_id)
    return taken[5:]


async def heard(database: DBHandler, simulator: Simulator) -> list[float]:
    """Return how long storing a decision takes until a listener has heard of it, in ms."""
    taken, rung = [], asyncio.Event()
    async with database.pool.acquire() as connection:

        def ring(*_: object) -> None:
            rung.set()

        await connection.add_listener("decisions", ring)
        for number in range(ROUNDS):
            rung.clear()
            begun = time.perf_counter()
            await decide(database, simulator, f"f{number:015x}" * 2, 0)
            await rung.wait()
            taken.append((time.perf_counter() - begun) * 1e3)
        await connection.remove_listener("decisions", ring)
    return taken[5:]


def row(name: str, taken: list[float]) -> float:
    ordered = sorted(taken)
    middle, late = statistics.median(ordered), ordered[round(len(ordered) * 0.99) - 1]
    print(f"{name:<44} p50 {middle:7.2f} ms   p99 {late:7.2f} ms   ({len(ordered)})")
    return middle


async def main(url: str) -> None:
    await migrate(url)
    async with at_work(url) as (simulator, database, service):
        whole = row("decision stored -> order accepted", await decision_to_order(simulator, database, service))
    async with at_work(url) as (simulator, database, _):
        call = row("  of it: the call that places an order", await bare_calls(simulator))
        told = row("  of it: decision stored -> heard of", await heard(database, simulator))
    print(f"the whole takes {whole / (call + told):.1f} times as long as these two together")


if __name__ == "__main__":
    configure_logging("error", "console")
    with tempfile.TemporaryDirectory() as folder, embedded_server(Path(folder)) as server:
        asyncio.run(main(server))
