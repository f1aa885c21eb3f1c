"""Independent SignalR clients on the simulator's hubs: they must not be able to tell it from the venue."""

from __future__ import annotations

import asyncio
import threading
from datetime import date
from typing import Any

import pytest
from signalrcore.hub_connection_builder import HubConnectionBuilder

from escapement.model import Trade
from escapement.simulator import Simulator, SimulatorConfig, synthetic_trades
from simulated import MES, MNQ, as_sent, as_trades, node, rest, until

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
