"""The market feed against a server that misbehaves in every way a network, a proxy or a venue can.

The server here is a bare one, because it has to break the protocol that the simulator keeps.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import orjson
import pytest
from aiohttp import WSMsgType, web
from pydantic import SecretStr

from escapement.errors import GatewayRefused
from escapement.model import Trade
from escapement.moments import iso_from_ns, ns_from_iso
from escapement.ports import FeedEvent, FeedLive, FeedLost, TradesReceived, VenueTime
from escapement.projectx import GatewayClient, GatewayParams, HubParams, MarketFeed

MES = "CON.F.US.MES.U26"
AT = ns_from_iso("2026-08-19T20:51:30Z")
SECRET = "an-api-key-nobody-may-see"
TOKEN = "a-token-nobody-may-see"
QUICK = HubParams(
    handshake_s=0.5, silence_s=0.5, ping_s=0.1, first_delay_s=0.01, longest_delay_s=0.05, forbidden_delay_s=0.3
)

Script = Callable[["Connection"], Awaitable[None]]


@dataclass
class Connection:
    """One hub connection as the server sees it."""

    request: web.Request
    socket: web.WebSocketResponse
    number: int
    received: list[dict[str, object]] = field(default_factory=list)

    async def send(self, *parts: object) -> None:
        """Send JSON values as records in one message; text goes out as it is."""
        await self.socket.send_str(
            "".join(part if isinstance(part, str) else orjson.dumps(part).decode() + "\x1e" for part in parts)
        )

    async def greet(self) -> None:
        await self.socket.receive()
        await self.send("{}\x1e")

    async def subscribe(self, error: str | None = None) -> None:
        """Read both subscriptions and acknowledge them."""
        while len(self.received) < 2:
            for record in await self.read():
                if record["type"] == 1:
                    self.received.append(record)
                    answer: dict[str, object] = {"type": 3, "invocationId": record["invocationId"]}
                    await self.send(answer | ({"error": error} if error else {"result": None}))

    async def live(self) -> None:
        await self.greet()
        await self.subscribe()

    async def read(self) -> list[dict[str, object]]:
        message = await self.socket.receive()
        if message.type is not WSMsgType.TEXT:
            raise ConnectionResetError
        return [orjson.loads(part) for part in message.data.split("\x1e") if part]

    async def stay(self) -> None:
        """Read until the client leaves, pinging it meanwhile."""
        while not self.socket.closed:
            await self.send({"type": 6})
            try:
                async with asyncio.timeout(0.1):
                    await self.read()
            except TimeoutError:
                continue

    def reset(self) -> None:
        transport = self.request.transport
        assert transport is not None
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


def trade(number: int) -> dict[str, object]:
    item = {"price": 7_730.5, "volume": number, "timestamp": iso_from_ns(AT + number), "type": 0}
    return {"type": 1, "target": "GatewayTrade", "arguments": [MES, [item]]}


class Server:
    """Log-in that works, and a hub that plays one script after the other; the last one for all that follow."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = scripts
        self.connections = 0
        self.logins = 0
        self.refused_tokens: set[str] = set()
        self.statuses: list[int] = []

    async def login(self, request: web.Request) -> web.Response:
        del request
        self.logins += 1
        return web.json_response(
            {"token": f"{TOKEN}-{self.logins}", "success": True, "errorCode": 0, "errorMessage": None}
        )

    async def hub(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("access_token") in self.refused_tokens:
            return web.Response(status=401)
        if self.statuses:
            return web.Response(status=self.statuses.pop(0))
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        self.connections += 1
        script = self.scripts[min(self.connections, len(self.scripts)) - 1]
        with suppress(ConnectionResetError):
            await script(Connection(request, websocket, self.connections))
        return websocket


@asynccontextmanager
async def serving(server: Server, params: HubParams = QUICK) -> AsyncIterator[MarketFeed]:
    app = web.Application()
    app.router.add_post("/api/Auth/loginKey", server.login)
    app.router.add_get("/hubs/market", server.hub)
    runner = web.AppRunner(app, shutdown_timeout=0.2, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    gateway = GatewayParams(url, "trader", SecretStr(SECRET))
    async with GatewayClient(gateway) as client:
        feed = MarketFeed(client, f"{url}/hubs/market", [MES], params=params)
        try:
            yield feed
        finally:
            await feed.aclose()
            await runner.cleanup()


async def events(feed: MarketFeed, *, until: Callable[[list[FeedEvent]], bool]) -> list[FeedEvent]:
    """Collect events until the condition holds, then close the feed and let it end."""
    seen: list[FeedEvent] = []
    async with asyncio.timeout(15):
        async for event in feed.events():
            seen.append(event)
            if until(seen):
                await feed.aclose()
    return seen


def trades_of(seen: list[FeedEvent]) -> list[Trade]:
    return [trade for event in seen if isinstance(event, TradesReceived) for trade in event.trades]


def volumes(seen: list[FeedEvent]) -> list[int]:
    return [trade.volume for trade in trades_of(seen)]


def lives(seen: list[FeedEvent]) -> int:
    return sum(isinstance(event, FeedLive) for event in seen)


async def good(connection: Connection) -> None:
    """What follows every misbehaviour: a proper connection with one trade whose volume is the connection's number."""
    await connection.live()
    await connection.send(trade(connection.number))
    await connection.stay()


async def close_without_reason(connection: Connection) -> None:
    await connection.live()
    await connection.socket.close()


async def reset(connection: Connection) -> None:
    await connection.live()
    connection.reset()


async def say_goodbye(connection: Connection) -> None:
    await connection.live()
    await connection.send({"type": 7, "error": "Connection closed with an error.", "allowReconnect": True})


async def say_goodbye_for_good(connection: Connection) -> None:
    await connection.live()
    await connection.send({"type": 7})
    await connection.stay()


async def refuse_handshake(connection: Connection) -> None:
    await connection.socket.receive()
    await connection.send({"error": "Requested protocol is not available."})


async def answer_handshake_with_junk(connection: Connection) -> None:
    await connection.socket.receive()
    await connection.send("<html>maintenance</html>")


async def say_nothing(connection: Connection) -> None:
    await connection.socket.receive()
    await connection.socket.receive()


async def fall_silent(connection: Connection) -> None:
    await connection.live()
    while not connection.socket.closed:
        await connection.read()


async def refuse_subscription(connection: Connection) -> None:
    await connection.greet()
    await connection.subscribe(error="Failed to invoke")


async def never_acknowledge(connection: Connection) -> None:
    await connection.greet()
    await connection.stay()


async def send_too_much(connection: Connection) -> None:
    await connection.live()
    await connection.send({"type": 1, "target": "GatewayDepth", "arguments": ["x" * 200_000]})
    await connection.stay()


MISBEHAVIOURS = [
    close_without_reason, reset, say_goodbye, say_goodbye_for_good, refuse_handshake, answer_handshake_with_junk,
    say_nothing, fall_silent, refuse_subscription, never_acknowledge, send_too_much,
]  # fmt: skip


@pytest.mark.parametrize("misbehave", MISBEHAVIOURS, ids=lambda script: script.__name__)
async def test_after_any_misbehaviour_the_feed_says_so_and_comes_back(misbehave: Script) -> None:
    server = Server(misbehave, misbehave, good)
    small = HubParams(**{name: getattr(QUICK, name) for name in QUICK.__slots__} | {"largest_message": 100_000})
    async with serving(server, small) as feed:
        seen = await events(feed, until=lambda seen: bool(volumes(seen)))
    assert volumes(seen) == [3]
    assert server.connections == 3
    lost = [event for event in seen if isinstance(event, FeedLost)]
    assert [event.generation for event in lost] == [1, 2]
    assert all(event.cause and TOKEN not in event.cause for event in lost)
    assert isinstance(seen[-2], FeedLive)


async def test_a_refused_token_is_replaced_before_the_next_try() -> None:
    server = Server(good)
    server.refused_tokens.add(f"{TOKEN}-1")
    async with serving(server) as feed:
        seen = await events(feed, until=lambda seen: bool(volumes(seen)))
    assert server.logins == 2
    assert [type(event) for event in seen] == [FeedLost, FeedLive, TradesReceived]


async def test_a_server_that_is_down_for_a_while_is_tried_until_it_is_back() -> None:
    server = Server(good)
    server.statuses = [503] * 12
    async with serving(server) as feed:
        seen = await events(feed, until=lambda seen: bool(volumes(seen)))
    assert sum(isinstance(event, FeedLost) for event in seen) == 12


async def test_bad_records_are_skipped_counted_and_reported_and_good_ones_beside_them_kept() -> None:
    async def script(connection: Connection) -> None:
        await connection.live()
        unreadable = {"type": 1, "target": "GatewayTrade", "arguments": [MES, [{"price": "x"}]]}
        await connection.send(trade(1), "{not json\x1e", trade(2), unreadable, trade(3), {"type": 42}, trade(4))
        await connection.stay()

    async with serving(Server(script)) as feed:
        seen = await events(feed, until=lambda seen: len(volumes(seen)) == 4 and lives(seen) == 3)
        assert feed.statistics().bad_records == 2
        assert feed.statistics().connections == 1
    assert volumes(seen) == [1, 2, 3, 4]
    assert sum(isinstance(event, FeedLost) for event in seen) == 2


async def test_records_that_share_the_handshakes_message_and_come_before_the_acknowledgement_are_kept() -> None:
    async def script(connection: Connection) -> None:
        await connection.socket.receive()
        await connection.send("{}\x1e", trade(1))
        await connection.send(trade(2))
        await connection.subscribe()
        await connection.stay()

    async with serving(Server(script)) as feed:
        seen = await events(feed, until=lambda seen: lives(seen) == 1)
    assert volumes(seen) == [1, 2]
    assert isinstance(seen[-1], FeedLive)


async def test_trades_and_venue_time_keep_the_order_of_arrival() -> None:
    quote = {"type": 1, "target": "GatewayQuote", "arguments": [MES, {"lastUpdated": iso_from_ns(AT + 10)}]}

    async def script(connection: Connection) -> None:
        await connection.live()
        await connection.send(trade(1), trade(2), quote, trade(11))
        await connection.stay()

    async with serving(Server(script)) as feed:
        seen = await events(feed, until=lambda seen: len(volumes(seen)) == 3)
    facts = seen[1:]
    assert [type(fact) for fact in facts] == [TradesReceived, VenueTime, TradesReceived]
    assert isinstance(facts[1], VenueTime)
    assert (facts[1].contract_id, facts[1].at_ns) == (MES, AT + 10)
    assert volumes(seen) == [1, 2, 11]


async def test_a_slow_reader_slows_the_venue_and_loses_nothing() -> None:
    count = 20_000

    async def script(connection: Connection) -> None:
        await connection.live()
        for number in range(1, count + 1):
            await connection.send(trade(number))
        await connection.stay()

    seen: list[int] = []
    async with serving(Server(script)) as feed, asyncio.timeout(60):
        async for event in feed.events():
            seen += volumes([event])
            if len(seen) in {100, 10_000}:
                await asyncio.sleep(QUICK.silence_s * 2)  # longer than the watch over silence
            if len(seen) == count:
                await feed.aclose()
    assert seen == list(range(1, count + 1))


async def test_wrong_credentials_end_the_feed_with_the_reason() -> None:
    server = Server(good)

    async def refuse(request: web.Request) -> web.Response:
        del request
        return web.json_response({"token": None, "success": False, "errorCode": 3, "errorMessage": None})

    server.login = refuse  # type: ignore[method-assign] # this venue knows nobody
    async with serving(server) as feed:
        with pytest.raises(GatewayRefused, match=r"check PROJECTX_USERNAME .* and PROJECTX_API_KEY"):
            await events(feed, until=lambda _: False)


async def test_neither_token_nor_key_is_in_any_log_line(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    server = Server(reset, refuse_handshake, good)
    server.statuses = [401, 503]
    server.refused_tokens.add(f"{TOKEN}-1")
    async with serving(server) as feed:
        await events(feed, until=lambda seen: bool(volumes(seen)))
    out, err = capfd.readouterr()
    for text in (caplog.text, out, err):
        assert SECRET not in text
        assert TOKEN not in text
