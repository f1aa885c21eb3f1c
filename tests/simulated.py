"""What tests of the simulator share: small tapes, REST calls, and raw hub connections."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from escapement.model import NS_PER_SECOND, AggressorSide, Trade
from escapement.moments import ns_from_iso
from escapement.simulator import Simulator

MES = "CON.F.US.MES.M25"
MNQ = "CON.F.US.MNQ.M25"
MONDAY_1330 = ns_from_iso("2025-03-17T13:30:00Z")
SEPARATOR = "\x1e"
JS = Path(__file__).parent / "js"

Json = dict[str, Any]

# Every endpoint behind a session, with a body that fits it.
ENDPOINTS: dict[str, Json] = {
    "Account/search": {"onlyActiveAccounts": False},
    "Contract/search": {"searchText": "", "live": False},
    "Contract/searchById": {"contractId": MES},
    "Contract/available": {"live": False},
    "History/retrieveBars": {
        "contractId": MES, "live": False, "startTime": "2025-03-16T00:00:00Z", "endTime": "2025-03-18T00:00:00Z",
        "unit": 2, "unitNumber": 1, "limit": 10, "includePartialBar": False,
    },
    "Order/place": {"accountId": 1001, "contractId": MES, "type": 2, "side": 0, "size": 1},
    "Order/modify": {"accountId": 1001, "orderId": 1},
    "Order/cancel": {"accountId": 1001, "orderId": 1},
    "Order/search": {"accountId": 1001, "startTimestamp": "2025-03-16T00:00:00Z"},
    "Order/searchOpen": {"accountId": 1001},
    "Order/searchById": {"accountId": 1001, "orderId": 1},
    "Order/v2/query": {"filter": {"accountId": 1001}},
    "Position/searchOpen": {"accountId": 1001},
    "Position/closeContract": {"accountId": 1001, "contractId": MES},
    "Position/partialCloseContract": {"accountId": 1001, "contractId": MES, "size": 1},
    "Trade/search": {"accountId": 1001, "startTimestamp": "2025-03-16T00:00:00Z"},
}  # fmt: skip


def tape(*prices: float, contract_id: str = MES, start_ns: int = MONDAY_1330, step_s: float = 1.0) -> list[Trade]:
    """Trades of one contract at even distances."""
    return [
        Trade(contract_id, start_ns + round(index * step_s * NS_PER_SECOND), price, 1 + index % 3, AggressorSide.BUY)
        for index, price in enumerate(prices)
    ]


async def until(condition: Callable[[], object], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


@asynccontextmanager
async def rest(simulator: Simulator, user: str = "demo", key: str = "demo-key-0001") -> AsyncIterator[Rest]:
    async with aiohttp.ClientSession() as session:
        caller = Rest(session, simulator.base_url)
        answer = await caller.post("Auth/loginKey", userName=user, apiKey=key)
        assert answer["success"], answer
        caller.token = answer["token"]
        yield caller


@dataclass
class Rest:
    """REST calls of one logged-in user."""

    session: aiohttp.ClientSession
    base_url: str
    token: str = ""

    async def raw(self, endpoint: str, body: object, *, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        own = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self.session.post(
            f"{self.base_url}/api/{endpoint}", json=body, headers=own if headers is None else headers
        ) as response:
            return response.status, await response.read()

    async def post(self, endpoint: str, **body: object) -> Json:
        status, text = await self.raw(endpoint, body)
        assert status == 200, (endpoint, status, text)
        answer: Json = json.loads(text)
        return answer


@dataclass
class HubSocket:
    """A hub connection that keeps what it is sent."""

    socket: aiohttp.ClientWebSocketResponse
    records: list[Json] = field(default_factory=list)
    ended: bool = False

    async def say(self, *messages: object) -> None:
        await self.socket.send_str("".join(json.dumps(message) + SEPARATOR for message in messages))

    async def invoke(self, target: str, *arguments: object) -> Json:
        number = str(sum(record.get("type") == 3 for record in self.records) + 1)
        await self.say({"type": 1, "invocationId": number, "target": target, "arguments": list(arguments)})
        await until(lambda: any(record.get("invocationId") == number for record in self.records))
        return next(record for record in self.records if record.get("invocationId") == number)

    def calls(self, target: str) -> list[list[Any]]:
        """The arguments of every invocation of ``target`` so far."""
        return [record["arguments"] for record in self.records if record.get("target") == target]

    def trades(self, contract_id: str) -> list[Json]:
        """The trades received of one contract."""
        return [trade for own, batch in self.calls("GatewayTrade") if own == contract_id for trade in batch if trade]

    async def _collect(self) -> None:
        async for message in self.socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self.records += [json.loads(part) for part in message.data.split(SEPARATOR) if part]
        self.ended = True


@asynccontextmanager
async def hub(url: str, caller: Rest, *, handshake: object = None) -> AsyncIterator[HubSocket]:
    async with caller.session.ws_connect(url, params={"access_token": caller.token}, compress=0) as socket:
        connection = HubSocket(socket)
        collecting = asyncio.create_task(connection._collect())
        try:
            await connection.say(handshake or {"protocol": "json", "version": 1})
            await until(lambda: connection.records or connection.ended)
            yield connection
        finally:
            await socket.close()
            await collecting


@asynccontextmanager
async def node(**order: object) -> AsyncIterator[list[Json]]:
    """Run the official client; yields the growing list of its events."""
    process = await asyncio.create_subprocess_exec(
        "node", "listen.mjs", json.dumps(order), cwd=JS,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=sys.stderr, limit=1 << 26,
    )  # fmt: skip
    events: list[Json] = []

    async def read() -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            events.append(json.loads(line))

    reading = asyncio.create_task(read())
    try:
        yield events
    finally:
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(10):
            await process.wait()
        await reading


def as_trades(items: Sequence[Json]) -> list[tuple[str, int, float, int]]:
    """Received trades in a form that compares with ``as_sent``."""
    return [(item["contractId"], ns_from_iso(item["timestamp"]), item["price"], item["volume"]) for item in items]


def as_sent(trades: Sequence[Trade]) -> list[tuple[str, int, float, int]]:
    """Trades as the venue tells of them, in times of 100 ns."""
    return [(trade.contract_id, trade.at_ns // 100 * 100, trade.price, trade.volume) for trade in trades]
