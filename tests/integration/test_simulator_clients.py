"""Independent SignalR clients on the simulator's hubs: they must not be able to tell it from the venue."""

from __future__ import annotations

import asyncio
import threading
from datetime import date
from typing import Any

import pytest
from pysignalr.client import SignalRClient
from signalrcore.hub_connection_builder import HubConnectionBuilder

from escapement.model import Trade
from escapement.simulator import Simulator, SimulatorConfig, synthetic_trades
from simulated import MES, MNQ, as_sent, as_trades, node, rest, tape, until

CONTRACTS = [MES, MNQ]


def session() -> list[Trade]:
    return list(synthetic_trades(CONTRACTS, date(2025, 3, 17), seed=3, per_minute=4))


def subscriptions() -> list[list[str]]:
    return [[f"SubscribeContract{kind}", contract_id] for contract_id in CONTRACTS for kind in ("Quotes", "Trades")]


@pytest.mark.node
@pytest.mark.parametrize("negotiation", ["skipped", "done"])
async def test_the_official_client_receives_every_trade(negotiation: str) -> None:
    trades = session()
    async with Simulator(SimulatorConfig(CONTRACTS), trades) as simulator, rest(simulator) as caller:
        order = {
            "url": simulator.market_hub_url, "token": caller.token, "skipNegotiation": negotiation == "skipped",
            "invocations": subscriptions(), "targets": ["GatewayTrade", "GatewayQuote"],
        }  # fmt: skip
        async with node(**order) as events:
            await until(simulator.finished.is_set)
            await until(
                lambda: sum(len(e["arguments"][1]) for e in events if e.get("target") == "GatewayTrade") == len(trades)
            )
    assert {"state": "connected"} in events
    assert [e["result"] for e in events if "invoked" in e] == [None] * 4
    received = [trade for event in events if event.get("target") == "GatewayTrade" for trade in event["arguments"][1]]
    for contract_id in CONTRACTS:
        own = [trade for trade in received if trade["contractId"] == contract_id]
        assert as_trades(own) == as_sent([trade for trade in trades if trade.contract_id == contract_id])


@pytest.mark.node
async def test_the_official_client_comes_back_where_it_may_and_stays_away_where_it_must() -> None:
    config = SimulatorConfig(CONTRACTS, audience="start", speed=1.0)
    async with Simulator(config, session()) as simulator, rest(simulator) as caller:
        order = {
            "url": simulator.market_hub_url, "token": caller.token, "skipNegotiation": True,
            "invocations": subscriptions()[:1], "targets": [],
        }  # fmt: skip

        def states(events: list[dict[str, Any]]) -> list[str]:
            return [event["state"] for event in events if "state" in event]

        async with node(**order) as events:
            for how in ("reset", "close"):
                await until(
                    lambda: sum("invoked" in event for event in events) >= states(events).count("reconnected") + 1
                )
                before = states(events).count("reconnected")
                assert await simulator.end_connections(how) == 1
                await until(lambda: states(events).count("reconnected") == before + 1)  # noqa: B023 - awaited at once
            await until(lambda: sum("invoked" in event for event in events) == 3)
            await simulator.end_connections("close_for_good")
            await until(lambda: states(events)[-1] == "closed")


@pytest.mark.node
@pytest.mark.parametrize("negotiation", ["skipped", "done"])
async def test_the_official_client_hears_of_orders_on_the_user_hub(negotiation: str) -> None:
    trades = tape(5700.0, 5700.25, 5701.0)
    async with Simulator(SimulatorConfig([MES], audience="ignore"), trades) as simulator:
        simulator.step(2)
        async with rest(simulator) as caller:
            order = {
                "url": simulator.user_hub_url, "token": caller.token, "skipNegotiation": negotiation == "skipped",
                "invocations": [
                    ["SubscribeAccounts"], ["SubscribeOrders", 1001], ["SubscribeTrades", 1001], ["Nonsense"],
                ],
                "targets": ["GatewayUserOrder", "GatewayUserTrade", "GatewayUserAccount"],
            }  # fmt: skip
            async with node(**order) as events:
                await until(lambda: sum("invoked" in event for event in events) == 4)
                await caller.post("Order/place", accountId=1001, contractId=MES, type=2, side=0, size=1)
                await until(lambda: any(event.get("target") == "GatewayUserAccount" for event in events))
    told = [(event["target"], event["arguments"][0]["data"].get("status")) for event in events if "target" in event]
    assert told == [
        ("GatewayUserOrder", 6), ("GatewayUserOrder", 2), ("GatewayUserTrade", None), ("GatewayUserAccount", None),
    ]  # fmt: skip
    assert [event["invoked"] for event in events if "error" in event and "invoked" in event] == ["Nonsense"]


async def test_pysignalr_receives_every_trade() -> None:
    trades = session()
    received: list[dict[str, Any]] = []

    async def take(arguments: list[Any]) -> None:
        received.extend(arguments[1])

    async with Simulator(SimulatorConfig(CONTRACTS), trades) as simulator, rest(simulator) as caller:
        # Its token factory is asked too late for the first connection.
        client = SignalRClient(f"{simulator.market_hub_url}?access_token={caller.token}")

        async def subscribe() -> None:
            for method, contract_id in subscriptions():
                arguments: list[Any] = [contract_id]
                await client.send(method, arguments)

        client.on_open(subscribe)
        client.on("GatewayTrade", take)
        running = asyncio.create_task(client.run())
        await until(lambda: len(received) == len(trades))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    for contract_id in CONTRACTS:
        own = [trade for trade in received if trade["contractId"] == contract_id]
        assert as_trades(own) == as_sent([trade for trade in trades if trade.contract_id == contract_id])


async def test_signalrcore_receives_every_trade() -> None:
    trades = session()
    received: list[dict[str, Any]] = []
    opened = threading.Event()
    # Its stop() waits for the next record, so pings come often.
    async with Simulator(SimulatorConfig(CONTRACTS, ping_s=0.2), trades) as simulator, rest(simulator) as caller:
        connection = (
            HubConnectionBuilder()
            .with_url(simulator.market_hub_url, options={"access_token_factory": lambda: caller.token})
            .build()
        )
        connection.on_open(opened.set)
        connection.on("GatewayTrade", lambda arguments: received.extend(arguments[1]))
        await asyncio.to_thread(connection.start)
        assert await asyncio.to_thread(opened.wait, 10)
        for method, contract_id in subscriptions():
            await asyncio.to_thread(connection.send, method, [contract_id])
        await until(lambda: len(received) == len(trades))
        await asyncio.to_thread(connection.stop)
    for contract_id in CONTRACTS:
        own = [trade for trade in received if trade["contractId"] == contract_id]
        assert as_trades(own) == as_sent([trade for trade in trades if trade.contract_id == contract_id])
