"""Arbitrary answers and frames thrown at the client over real sockets: it raises only what it says, and goes on."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from escapement.calendars import calendar_for_contract
from escapement.errors import GatewayError
from escapement.model import OrderStatus, Timeframe
from escapement.ports import AccountEvent, FeedEvent, TradesReceived
from escapement.projectx import GatewayClient, GatewayParams, HubParams, MarketFeed, UserEvent, UserFeed

MES = "CON.F.US.MES.M25"
ACCOUNT = 1001
QUICK = HubParams(
    handshake_s=1.0, silence_s=2.0, first_delay_s=0.001, longest_delay_s=0.002, forbidden_delay_s=0.002,
    largest_message=100_000,
)  # fmt: skip
NAMES = ["id", "accountId", "contractId", "creationTimestamp", "status", "type", "side", "size", "t", "o", "v", "data"]
TARGETS = ["GatewayTrade", "GatewayQuote", "GatewayUserOrder", "GatewayUserTrade", "GatewayUserPosition", "Other"]

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=6), inner, max_size=6)
    ),
    max_leaves=15,
)
payload_names = ["accounts", "contracts", "contract", "bars", "orders", "order", "positions", "trades"]
answers = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=80).map(str.encode),
    values.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(payload_names), values).map(
        lambda body: json.dumps(body | {"success": True}).encode()
    ),
    st.fixed_dictionaries({"success": st.just(value=False), "errorCode": values, "errorMessage": values}).map(
        lambda body: json.dumps(body).encode()
    ),
)
record = st.fixed_dictionaries(
    {"type": st.integers(-1, 12) | values},
    optional={"target": st.sampled_from(TARGETS) | values, "arguments": values | st.lists(values, max_size=3),
              "invocationId": values, "error": values, "allowReconnect": values, "extra": values},
).map(json.dumps)  # fmt: skip
frames = st.lists(
    st.one_of(
        st.text(max_size=60),
        st.binary(max_size=60),
        record.map(lambda text: text + "\x1e"),
        record.map(lambda text: text[: len(text) // 2]),
        st.lists(record, max_size=4).map(lambda parts: "\x1e".join(parts) + "\x1e"),
    ),
    max_size=6,
)
slow_setup = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


async def _login(_: web.Request) -> web.Response:
    return web.json_response({"token": "token", "success": True, "errorCode": 0, "errorMessage": None})


async def _start(app: web.Application) -> tuple[web.AppRunner, str]:
    app.router.add_post("/api/Auth/loginKey", _login)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


@slow_setup
@given(answers, st.sampled_from([200, 200, 200, 400, 404, 429, 500]))
def test_whatever_the_gateway_answers_only_our_errors_are_raised(answer: bytes, status: int) -> None:
    async def run() -> None:
        async def reply(_: web.Request) -> web.Response:
            return web.Response(body=answer, status=status, content_type="application/json")

        app = web.Application()
        runner, url = await _start(app_with(app, reply))
        try:
            async with GatewayClient(GatewayParams(url, "demo", SecretStr("key"), attempts=1)) as client:
                minute, calendar = Timeframe.parse("1m"), calendar_for_contract(MES)
                for call in (
                    client.accounts(), client.search_contracts("x"), client.contract(MES), client.open_orders(ACCOUNT),
                    client.order(ACCOUNT, 1), client.positions(ACCOUNT), client.fills(ACCOUNT, 0),
                    client.bars(MES, minute, 0, 10**15, calendar), client.cancel_order(ACCOUNT, 1),
                    client.orders_by_status(ACCOUNT, [OrderStatus.OPEN]),
                ):  # fmt: skip
                    try:
                        await call
                    except GatewayError:
                        continue
        finally:
            await runner.cleanup()

    asyncio.run(run())


def app_with(app: web.Application, reply: Any) -> web.Application:
    app.router.add_post("/api/{endpoint:(?!Auth/loginKey).*}", reply)
    return app


GOOD_TRADE = {
    "type": 1, "target": "GatewayTrade",
    "arguments": [MES, [{"price": 5_700.25, "volume": 77, "timestamp": "2025-03-17T13:30:00Z"}]],
}  # fmt: skip
GOOD_POSITION = {
    "type": 1, "target": "GatewayUserPosition",
    "arguments": [{"accountId": ACCOUNT, "contractId": MES, "creationTimestamp": "2025-03-17T13:30:00Z", "type": 1,
                   "size": 77, "averagePrice": 5_700.25}],
}  # fmt: skip


def is_good(event: FeedEvent | UserEvent) -> bool:
    if isinstance(event, TradesReceived):
        return any(trade.volume == 77 for trade in event.trades)
    return isinstance(event, AccountEvent) and getattr(event.value, "net", 0) == 77


class RudeHub:
    """Throws frames at its first client and hangs up; keeps to the protocol with all that follow."""

    def __init__(self, thrown: list[str | bytes], good: dict[str, Any], *, greet: bool) -> None:
        self.thrown = thrown
        self.good = json.dumps(good) + "\x1e"
        self.greet = greet
        self.connections = 0

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connections += 1
        with suppress(ConnectionError):
            await (self._throw(socket) if self.connections == 1 else self._behave(socket))
        return socket

    async def _throw(self, socket: web.WebSocketResponse) -> None:
        await socket.receive()
        if self.greet:
            await socket.send_str("{}\x1e")
        for frame in self.thrown:
            await (socket.send_str(frame) if isinstance(frame, str) else socket.send_bytes(frame))
        await socket.close()

    async def _behave(self, socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_str("{}\x1e")
        async for message in socket:
            for part in filter(None, str(message.data).split("\x1e")):
                asked = json.loads(part)
                if "invocationId" in asked:
                    await socket.send_str(json.dumps({"type": 3, "invocationId": asked["invocationId"]}) + "\x1e")
            await socket.send_str(self.good)


@slow_setup
@given(thrown=frames, greet=st.booleans(), user=st.booleans())
def test_whatever_a_hub_sends_the_feeds_come_to_what_is_good(
    thrown: list[str | bytes], *, greet: bool, user: bool
) -> None:
    async def run() -> None:
        app = web.Application()
        app.router.add_get("/hub", rude.serve)
        runner, url = await _start(app)
        try:
            async with GatewayClient(GatewayParams(url, "demo", SecretStr("key"))) as client, asyncio.timeout(15):
                feed: MarketFeed | UserFeed = (
                    UserFeed(client, f"{url}/hub", [ACCOUNT], params=QUICK)
                    if user
                    else MarketFeed(client, f"{url}/hub", [MES], params=QUICK)
                )
                async for event in feed.events():
                    if is_good(event):
                        await feed.aclose()
        finally:
            await runner.cleanup()

    rude = RudeHub(thrown, GOOD_POSITION if user else GOOD_TRADE, greet=greet)
    asyncio.run(run())
    assert rude.connections >= 2
