"""Records per second through the hub client, beside pysignalr and signalrcore on the same stream.

A server in a process of its own sends the same pre-encoded trade records to each client in turn, one record a message
and ten a message. Every client reads in a process of its own, kept on one core where the system allows it. ``hub`` is
our connection alone, with records decoded as the others decode theirs; ``feed`` goes on to ``Trade`` values with times
in nanoseconds, which the others leave to their users. CPU time of the client counts, without its imports.
"""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import statistics
import threading
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import structlog
from aiohttp import web
from pydantic import SecretStr

RECORDS = 100_000
ROUNDS = 3
CONTRACT = "CON.F.US.MES.M25"
SEPARATOR = "\x1e"
_PATIENCE_S = 20


def record(number: int) -> str:
    stamp = f"2025-03-17T13:{number // 6_000 % 60:02d}:{number // 100 % 60:02d}.{number % 100 * 10:03d}+00:00"
    trade = {"symbolId": "F.US.MES", "price": 5_700.25, "timestamp": stamp, "type": number % 2, "volume": 1}
    arguments = [CONTRACT, [trade | {"contractId": CONTRACT}]]
    return json.dumps({"type": 1, "target": "GatewayTrade", "arguments": arguments}) + SEPARATOR


def frames(per_message: int) -> list[str]:
    made = [record(number) for number in range(RECORDS)]
    return ["".join(made[at : at + per_message]) for at in range(0, RECORDS, per_message)]


def serve(port_to: Connection) -> None:
    """Log anybody in, and send the stream once the trades of the contract are subscribed to."""

    async def login(_: web.Request) -> web.Response:
        return web.json_response({"token": "token", "success": True, "errorCode": 0, "errorMessage": None})

    async def negotiate(_: web.Request) -> web.Response:
        transports = [{"transport": "WebSockets", "transferFormats": ["Text"]}]
        return web.json_response({"connectionId": "1", "negotiateVersion": 0, "availableTransports": transports})

    async def connect(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await socket.receive()
        await socket.send_str("{}" + SEPARATOR)
        async for message in socket:
            text = message.data if isinstance(message.data, str) else message.data.decode()
            for part in filter(None, text.split(SEPARATOR)):
                asked = json.loads(part)
                if "invocationId" in asked:
                    done = {"type": 3, "invocationId": asked["invocationId"], "result": None}
                    await socket.send_str(json.dumps(done) + SEPARATOR)
                if asked.get("target") == "SubscribeContractTrades":
                    for frame in streams[request.match_info["size"]]:
                        await socket.send_str(frame)
        return socket

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/api/Auth/loginKey", login)
        app.router.add_post("/{size}/negotiate", negotiate)
        app.router.add_get("/{size}", connect)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port_to.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    streams = {"1": frames(1), "10": frames(10)}
    asyncio.run(run())


def feed(base: str, size: int) -> Callable[[], None]:
    from escapement.ports import TradesReceived
    from escapement.projectx import GatewayClient, GatewayParams, MarketFeed

    async def run() -> None:
        async with GatewayClient(GatewayParams(base, "demo", SecretStr("key"))) as client:
            trades = MarketFeed(client, f"{base}/{size}", [CONTRACT])
            received = 0
            async for event in trades.events():
                if isinstance(event, TradesReceived):
                    received += len(event.trades)
                    if received == RECORDS:
                        await trades.aclose()

    return lambda: asyncio.run(run())


def hub(base: str, size: int) -> Callable[[], None]:
    import msgspec

    from escapement.projectx import GatewayClient, GatewayParams, HubParams
    from escapement.projectx.hub import HubConnection, HubRecords, Subscription

    async def run() -> None:
        async with GatewayClient(GatewayParams(base, "demo", SecretStr("key"))) as client:
            asked = [Subscription("SubscribeContractTrades", (CONTRACT,))]
            connection = HubConnection(client, f"{base}/{size}", asked, HubParams(), name="bench")
            decode = msgspec.json.Decoder().decode
            received = 0
            async for event in connection.events():
                if isinstance(event, HubRecords):
                    for record in event.records:
                        decode(record.arguments)
                    received += len(event.records)
                    if received == RECORDS:
                        await connection.aclose()

    return lambda: asyncio.run(run())


def pysignalr(base: str, size: int) -> Callable[[], None]:
    from pysignalr.client import SignalRClient

    async def run() -> None:
        received = 0
        done = asyncio.Event()

        async def on_trade(_: list[Any]) -> None:
            nonlocal received
            received += 1
            if received == RECORDS:
                done.set()

        async def on_open() -> None:
            await client.send("SubscribeContractTrades", [{"contract": CONTRACT}])

        client = SignalRClient(f"{base}/{size}")
        client.on("GatewayTrade", on_trade)
        client.on_open(on_open)
        running = asyncio.create_task(client.run())
        await done.wait()
        running.cancel()

    return lambda: asyncio.run(run())


def signalrcore(base: str, size: int) -> Callable[[], None]:
    from signalrcore.hub_connection_builder import HubConnectionBuilder

    def run() -> None:
        received = 0
        done = threading.Event()

        def on_trade(_: list[Any]) -> None:
            nonlocal received
            received += 1
            if received == RECORDS:
                done.set()

        connection = HubConnectionBuilder().with_url(f"{base}/{size}").build()
        connection.on("GatewayTrade", on_trade)
        connection.on_open(lambda: connection.send("SubscribeContractTrades", [CONTRACT]))
        connection.start()
        done.wait()
        connection.stop()

    return run


def timed(client: Callable[[str, int], Callable[[], None]], base: str, size: int, seconds_to: Connection) -> None:
    logging.disable()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    warnings.simplefilter("ignore")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    run = client(base, size)
    started, cpu = time.perf_counter(), time.process_time()
    run()
    seconds_to.send((time.perf_counter() - started, time.process_time() - cpu))
    # What pysignalr leaves running at its end would fill the screen.
    os._exit(0)


def main() -> None:
    spawning = multiprocessing.get_context("spawn")
    port_from, port_to = spawning.Pipe()
    server = spawning.Process(target=serve, args=(port_to,), daemon=True)
    server.start()
    base = f"http://127.0.0.1:{port_from.recv()}"
    for size in (1, 10):
        medians: dict[str, float] = {}
        for client in (hub, feed, pysignalr, signalrcore):
            results = []
            for _ in range(ROUNDS):
                seconds_from, seconds_to = spawning.Pipe()
                process = spawning.Process(target=timed, args=(client, base, size, seconds_to))
                process.start()
                # A client can lose the connection and wait for ever; that is its result then.
                answered = seconds_from.poll(_PATIENCE_S)
                results.append(seconds_from.recv() if answered else f"no end within {_PATIENCE_S} s")
                process.kill()
                process.join()
                if not answered:
                    break
            failures = [result for result in results if isinstance(result, str)]
            if failures:
                print(f"{client.__name__:12} {size:2} a message  did not finish: {failures[0]}")
                continue
            wall, cpu = (statistics.median(column) for column in zip(*results, strict=True))
            medians[client.__name__] = cpu
            ratio = f"  hub is {cpu / medians['hub']:4.1f} x quicker" if client not in {hub, feed} else ""
            print(
                f"{client.__name__:12} {size:2} a message  {RECORDS / cpu / 1e3:6.0f} k records per CPU second"
                f"  {RECORDS / wall / 1e3:6.0f} k per second{ratio}"
            )
    server.terminate()


if __name__ == "__main__":
    main()
