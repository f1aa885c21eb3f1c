"""The user hub's events, against the simulated venue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import TypeVar

import pytest
from pydantic import SecretStr

from escapement.model import Account, Bracket, Fill, Order, OrderRequest, OrderSide, OrderStatus, OrderType, Position
from escapement.ports import AccountEvent, FeedLive, FeedLost
from escapement.projectx import GatewayClient, GatewayParams, HubParams, UserEvent, UserFeed
from escapement.simulator import AccountSpec, Simulator, SimulatorConfig
from simulated import MES, tape, until

ACCOUNT = 1001
Kind = TypeVar("Kind")
QUICK = HubParams(first_delay_s=0.02, longest_delay_s=0.1, silence_s=2.0, ping_s=0.3)


class Listener:
    """Everything a user feed has told so far."""

    def __init__(self) -> None:
        self.events: list[UserEvent] = []

    async def listen(self, feed: UserFeed) -> None:
        async for event in feed.events():
            self.events.append(event)

    def values(self, kind: type[Kind]) -> list[Kind]:
        return [
            event.value for event in self.events if isinstance(event, AccountEvent) and isinstance(event.value, kind)
        ]

    def count(self, kind: type[FeedLive | FeedLost]) -> int:
        return sum(isinstance(event, kind) for event in self.events)


@asynccontextmanager
async def listening(*, wrapped: bool = True) -> AsyncIterator[tuple[Simulator, GatewayClient, Listener]]:
    trades = tape(5_700.0, 5_700.0)
    later = [replace(trades[-1], at_ns=trades[-1].at_ns + (n + 1) * 10**9, price=5_700.0 + n) for n in range(60)]
    config = SimulatorConfig(
        [MES], accounts=[AccountSpec(ACCOUNT, "PRAC-1", "demo", balance=Decimal(50_000))], audience="ignore",
        calls_limit=None, bars_limit=None, wrap_events=wrapped, ping_s=0.3,
    )  # fmt: skip
    async with Simulator(config, [*trades, *later]) as simulator:
        simulator.step(len(trades))
        params = GatewayParams(simulator.base_url, "demo", SecretStr("demo-key-0001"))
        async with GatewayClient(params) as client, asyncio.TaskGroup() as group:
            feed = UserFeed(client, simulator.user_hub_url, [ACCOUNT], params=QUICK)
            listener = Listener()
            group.create_task(listener.listen(feed))
            await until(lambda: listener.count(FeedLive) == 1)
            yield simulator, client, listener
            await feed.aclose()


def market_order(**changes: object) -> OrderRequest:
    return replace(OrderRequest(ACCOUNT, MES, OrderType.MARKET, OrderSide.BUY, 2), **changes)  # type: ignore[arg-type] # any field


@pytest.mark.parametrize("wrapped", [True, False], ids=["wrapped", "bare"])
async def test_an_order_tells_of_itself_its_fill_its_position_and_the_account(*, wrapped: bool) -> None:
    async with listening(wrapped=wrapped) as (_, client, listener):
        order_id = await client.place_order(market_order())
        await until(lambda: listener.values(Account))
        await until(lambda: listener.values(Fill))
        assert listener.values(Order)[-1] == await client.order(ACCOUNT, order_id)
        assert [fill.order_id for fill in listener.values(Fill)] == [order_id]
        (held,) = await client.positions(ACCOUNT)
        assert listener.values(Position)[-1] == held
        assert held.net == 2


async def test_a_bracket_tells_its_whole_story_in_order() -> None:
    async with listening() as (simulator, client, listener):
        await client.place_order(
            market_order(
                stop_loss=Bracket(-40, OrderType.STOP), take_profit=Bracket(8, OrderType.LIMIT), custom_tag="x"
            )
        )
        simulator.step(60)

        def story(tag: str) -> list[OrderStatus]:
            return [order.status for order in listener.values(Order) if order.custom_tag == tag]

        await until(lambda: OrderStatus.CANCELLED in story("x-SL"))
        assert story("x")[-1] is OrderStatus.FILLED
        assert story("x-TP") == [OrderStatus.SUSPENDED, OrderStatus.OPEN, OrderStatus.FILLED]
        assert story("x-SL") == [OrderStatus.SUSPENDED, OrderStatus.OPEN, OrderStatus.CANCELLED]
        assert listener.values(Position)[-1].net == 0
        assert await client.positions(ACCOUNT) == []


async def test_after_a_cut_the_feed_is_live_again_and_hears_what_comes_then() -> None:
    async with listening() as (simulator, client, listener):
        await simulator.end_connections("reset", "user")
        await until(_counted(listener, FeedLive, 2))
        assert listener.count(FeedLost) == 1
        order_id = await client.place_order(market_order())
        await until(lambda: any(fill.order_id == order_id for fill in listener.values(Fill)))


def _counted(listener: Listener, kind: type[FeedLive | FeedLost], number: int) -> Callable[[], bool]:
    return lambda: listener.count(kind) == number
