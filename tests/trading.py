"""What tests of execution share: a venue that trades, a database of decisions, and execution between them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from escapement import wiring, wiring_execution
from escapement.model import NS_PER_SECOND, AggressorSide, Trade
from escapement.moments import datetime_from_ns
from escapement.projectx import HubParams
from escapement.services.execute import ExecuteParams, Execution
from escapement.settings import Settings, load_settings
from escapement.simulator import AccountSpec, Fault, Simulator, SimulatorConfig
from escapement.simulator.accounts import Account
from escapement.simulator.fills import FillModel
from escapement.simulator.orders import OrderRequest, OrderStatus, OrderType
from escapement.storage import DBHandler
from simulated import MES, MONDAY_1330, until

ACCOUNT, NAME = 1001, "PRAC-1"
QUICK = HubParams(first_delay_s=0.02, longest_delay_s=0.1, silence_s=2.0, ping_s=0.3)
SOON = ExecuteParams(poll_s=0.2, watch_s=0.05, reconcile_s=1.0, reconcile_blind_s=0.2, day_s=0.2)
_DECIDE = """INSERT INTO decisions (decision_id, coordinator_id, contract_id, action, direction, confidence, price,
known_at, rule, words, data_complete) VALUES ($1, 'main', $2, $3, $4, 1, 5700, $5, 'test', 'test', $6)"""


def settings_for(simulator: Simulator, **changes: Any) -> Settings:
    """Settings for live trading at the simulated venue, with patience short enough for tests."""
    execution = {
        "mode": "live", "account": NAME, "stop_ticks": {"*": 8}, "target_ticks": {"*": 12}, "fee_per_side": 0.61,
        "protect_seconds": 5, "bracket_grace_seconds": 0.5, "lookup_seconds": 1, "answer_seconds": 1,
        **changes.pop("execution", {}),
    }  # fmt: skip
    risk = {"oldest_price_seconds": 3600, "oldest_decision_seconds": 3600, "orders_per_minute": None}
    values: dict[str, Any] = {
        "contracts": [MES], "ingest": {"clock": "stream"}, "execution": execution,
        "risk": {**risk, **changes.pop("risk", {})},
        "gateway": {
            "api_url": simulator.base_url, "market_hub_url": simulator.market_hub_url,
            "user_hub_url": simulator.user_hub_url, "user_name": "demo", "api_key": "demo-key-0001",
        },
        "logging": {"level": "warning"},
    }  # fmt: skip
    return load_settings(environ={}, **{**values, **changes})


@dataclass
class Floor:
    """Where it is traded."""

    simulator: Simulator
    database: DBHandler
    prices: list[float] = field(default_factory=list)
    decisions: int = 0

    @property
    def ledger(self) -> Account:
        """What really happened to the account."""
        return self.simulator.venue.accounts[ACCOUNT]

    def net(self, contract_id: str = MES) -> int:
        position = self.ledger.positions.get(contract_id)
        return 0 if position is None else position.size

    def orders(self, *statuses: OrderStatus, type: OrderType | None = None) -> list[Any]:  # noqa: A002 - as the venue calls it
        found = self.simulator.venue.orders_of(ACCOUNT)
        return [
            order for order in found
            if (not statuses or order.status in statuses) and (type is None or order.type is type)
        ]  # fmt: skip

    def step(self, trades: int = 1) -> None:
        self.simulator.step(trades)

    async def decide(self, direction: int, contract_id: str = MES, *, complete: bool = True, age_s: float = 0.0) -> str:
        """Store a decision, as the coordinator does; return its id."""
        self.decisions += 1
        decision_id = hashlib.sha256(f"{self.decisions}".encode()).hexdigest()[:32]
        action = {1: "enter_long", -1: "enter_short", 0: "exit"}[direction]
        await self.database.pool.execute(
            _DECIDE, decision_id, contract_id, action, direction,
            datetime_from_ns(self.simulator.now_ns - round(age_s * NS_PER_SECOND)), complete,
        )  # fmt: skip
        await self.database.pool.execute("SELECT pg_notify('decisions', $1)", contract_id)
        return decision_id

    def covered(self, contract_id: str = MES) -> int:
        """How many of the contracts held at the venue are closed by working stops there."""
        side = 1 if self.net(contract_id) > 0 else 0
        return sum(
            order.remaining for order in self.orders(OrderStatus.OPEN)
            if order.contract_id == contract_id and order.stop is not None and int(order.side) == side
        )  # fmt: skip

    async def rows(self, query: str, *arguments: object) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.database.pool.fetch(query, *arguments)]


def around(price: float, count: int, step_s: float = 1.0) -> list[Trade]:
    """Trades that move little, for as long as a test needs."""
    return [
        Trade(MES, MONDAY_1330 + round(n * step_s * NS_PER_SECOND), price + 0.25 * (n % 2), 3,
              AggressorSide.BUY if n % 2 else AggressorSide.SELL)
        for n in range(count)
    ]  # fmt: skip


def path(*prices: float, step_s: float = 1.0, volume: int = 5) -> list[Trade]:
    """Trades at these prices, one after the other."""
    return [
        Trade(MES, MONDAY_1330 + round(n * step_s * NS_PER_SECOND), price, volume, AggressorSide.NONE)
        for n, price in enumerate(prices)
    ]


@asynccontextmanager
async def floor(
    url: str, trades: Sequence[Trade], *, faults: Sequence[Fault] = (), fills: FillModel | None = None, seed: int = 1,
    **account: Any,
) -> AsyncIterator[Floor]:  # fmt: skip
    """A venue whose clock stands still after two trades."""
    spec = AccountSpec(ACCOUNT, NAME, "demo", balance=Decimal(50_000), **account)
    config = SimulatorConfig(
        [MES], accounts=[spec], audience="ignore", calls_limit=None, bars_limit=None, ping_s=0.3, faults=faults,
        fills=fills or FillModel(), seed=seed,
    )  # fmt: skip
    async with await DBHandler.open(url) as database, Simulator(config, trades) as simulator:
        simulator.step(2)
        await until(lambda: MES in simulator.venue.quotes)
        yield Floor(simulator, database)


@asynccontextmanager
async def executing(
    there: Floor, settings: Settings | None = None, *, mode: str = "live", params: ExecuteParams | None = None
) -> AsyncIterator[Execution]:
    """Execution at work; it has asked the venue for everything."""
    chosen = settings or settings_for(there.simulator)
    leases = wiring.leases(chosen, there.database, "execute")
    account = wiring_execution.account_name(chosen, mode)
    assert await leases.take([account]) == [account]
    async with wiring_execution.execution(
        chosen, there.database, mode, leases, hub=QUICK, params=params or SOON
    ) as service:
        running = asyncio.create_task(service.run())
        try:
            await until(lambda: service.deal.is_current or running.done())
            if running.done():
                await running
            async with asyncio.timeout(10):
                while MES not in service.deal.dealer.prices and not running.done():
                    there.step()  # a price, and with it the time
                    await asyncio.sleep(0.05)
            yield service
            if mode == "live":  # what the venue told last is heard before it ends
                await until(lambda: _has_heard(there, service) or running.done())
        finally:
            service.stop()
            await asyncio.wait_for(running, 20)
            await leases.give_back()


def _has_heard(there: Floor, service: Execution) -> bool:
    book = service.deal.keeper.book
    fills = {(fill.fill_id, fill.voided) for holding in book.holdings.values() for fill in holding.fills}
    orders = {(order.order_id, int(order.status)) for order in book.orders()}
    return fills == {(trade.trade_id, trade.voided) for trade in there.ledger.trades} and orders == {
        (order.order_id, int(order.status)) for order in there.orders()
    }


def moment(at_ns: int) -> datetime:
    return datetime_from_ns(at_ns)


def at_minutes(price: float, *minutes: int) -> list[Trade]:
    """Trades so many minutes after the first one."""
    return [replace(around(price, 1)[0], at_ns=MONDAY_1330 + each * 60 * 10**9) for each in minutes]


async def steady(there: Floor, net: int) -> None:
    """Wait until the venue holds ``net`` and all of it is protected, and we know it."""
    await until(lambda: there.net() == net and there.covered() == abs(net))


async def recorded(there: Floor) -> None:
    """What is written down is what really happened."""
    fills = {row["fill_id"]: row for row in await there.rows("SELECT * FROM fills")}
    assert {trade.trade_id: trade.voided for trade in there.ledger.trades} == {
        fill_id: row["voided"] for fill_id, row in fills.items()
    }
    orders = {row["venue_order_id"]: row for row in await there.rows("SELECT * FROM orders WHERE venue_order_id > 0")}
    assert {order.order_id: (order.status.name.lower(), order.filled) for order in there.orders()} == {
        order_id: (row["status"], row["filled_size"]) for order_id, row in orders.items()
    }
    (position,) = await there.rows("SELECT net, protected, made FROM positions")
    assert position["net"] == there.net()
    assert position["protected"] == there.covered()
    assert position["made"] == there.ledger.balance - Decimal(50_000)


async def until_row(there: Floor, query: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while not (rows := await there.rows(query)):  # noqa: ASYNC110 - what is waited for is in the database
            await asyncio.sleep(0.02)
    return rows[0]


def by_hand(size: int) -> OrderRequest:
    """Return an order to buy that no program of ours sent."""
    return OrderRequest(1001, MES, 2, 0, size)
