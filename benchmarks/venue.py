"""Trades per second from the simulator to a client, each in a process of its own, as quick as they can.

The same seeded tape goes to our feed and to pysignalr; the baseline is a bare reader that takes the frames and does
nothing with them, so what is left is the simulator's own speed. Our feed also subscribes to quotes, which doubles the
records; the others take trades alone.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from pydantic import SecretStr
from pysignalr.client import SignalRClient

from escapement.ports import TradesReceived
from escapement.projectx import GatewayClient, GatewayParams, MarketFeed

CONTRACT = "CON.F.US.MES.M25"
TRADES = 60_000
ROUNDS = 3
SEPARATOR = "\x1e"

Venue = dict[str, Any]


async def feed(venue: Venue) -> None:
    async with GatewayClient(GatewayParams(venue["api_url"], "demo", SecretStr("demo-key-0001"))) as client:
        trades = MarketFeed(client, venue["market_hub_url"], [CONTRACT])
        received = 0
        async for event in trades.events():
            if isinstance(event, TradesReceived):
                received += len(event.trades)
                if received >= TRADES:
                    await trades.aclose()


async def token_of(venue: Venue, session: aiohttp.ClientSession) -> str:
    body = {"userName": "demo", "apiKey": "demo-key-0001"}
    async with session.post(f"{venue['api_url']}/api/Auth/loginKey", json=body) as answer:
        return str((await answer.json())["token"])


async def bare(venue: Venue) -> None:
    async with aiohttp.ClientSession() as session:
        params = {"access_token": await token_of(venue, session)}
        async with session.ws_connect(venue["market_hub_url"], params=params, max_msg_size=0) as socket:
            await socket.send_str('{"protocol":"json","version":1}' + SEPARATOR)
            call = {"type": 1, "target": "SubscribeContractTrades", "arguments": [CONTRACT]}
            await socket.send_str(json.dumps(call) + SEPARATOR)
            received = 0
            while received < TRADES:
                received += (await socket.receive_str()).count('"price"')


async def pysignalr(venue: Venue) -> None:
    async with aiohttp.ClientSession() as session:
        token = await token_of(venue, session)
    received = 0
    done = asyncio.Event()

    async def on_trade(arguments: list[Any]) -> None:
        nonlocal received
        received += len(arguments[1])
        if received >= TRADES:
            done.set()

    async def on_open() -> None:
        arguments: Any = [CONTRACT]
        await client.send("SubscribeContractTrades", arguments)

    client = SignalRClient(f"{venue['market_hub_url']}?access_token={token}")
    client.on("GatewayTrade", on_trade)
    client.on_open(on_open)
    running = asyncio.create_task(client.run())
    await done.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def timed(client: Callable[[Venue], Awaitable[None]]) -> float:
    simulator = subprocess.Popen(
        [sys.executable, "-m", "escapement", "simulate", "--json", "--port", "0", "--speed", "0",
         "--contract", CONTRACT, "--per-minute", "60"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert simulator.stdout is not None
        venue = json.loads(simulator.stdout.readline())
        started = time.perf_counter()
        asyncio.run(client(venue))  # type: ignore[arg-type] # all of them are coroutines
        return time.perf_counter() - started
    finally:
        simulator.kill()
        simulator.communicate()


def main() -> None:
    baseline = 0.0
    for client in (bare, feed, pysignalr):
        median = statistics.median(timed(client) for _ in range(ROUNDS))
        baseline = baseline or median
        print(
            f"{client.__name__:10} {TRADES / median / 1e3:6.1f} k trades/s  {baseline / median:4.2f} of the bare reader"
        )


if __name__ == "__main__":
    main()
