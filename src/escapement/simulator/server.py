"""A ProjectX gateway on localhost: log-in, contracts, bars and the market hub on one port."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from types import TracebackType
from typing import Any, Literal, Self
from uuid import uuid4

import orjson
import structlog
from aiohttp import web

from escapement.calendars import calendar_for_contract
from escapement.errors import InvalidInput, InvalidTimeframe
from escapement.model import NS_PER_SECOND, Contract, Timeframe, TimeframeUnit, Trade
from escapement.moments import iso_from_ns, ns_from_iso
from escapement.simulator import wire
from escapement.simulator.audience import Audience, Ending
from escapement.simulator.contracts import contract_facts
from escapement.simulator.history import History
from escapement.simulator.replay import VirtualClock, moments

log = structlog.get_logger(service="simulator")

_MOST_BARS = 20_000
_MOST_FOUND = 20
_IDS_KEPT = 1_000
_CHUNK = 50


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """What is simulated.

    ``contract_ids`` are those of the trades. ``users`` maps user names to API keys. ``speed``: virtual seconds a
    second; None as quick as the clients take it. ``audience``: ``ignore`` replays for nobody too, ``start`` waits until
    every contract has a subscriber, ``always`` also stands still while one has none. Tokens live
    ``token_lifetime_s``.
    """

    contract_ids: Sequence[str]
    users: Mapping[str, str] = field(default_factory=lambda: {"demo": "demo-key-0001"})
    host: str = "127.0.0.1"
    port: int = 0
    speed: float | None = None
    audience: Literal["ignore", "start", "always"] = "start"
    token_lifetime_s: float = 86_400.0
    ping_s: float = 15.0
    calendar: str | None = None


@dataclass(slots=True)
class Progress:
    """How far the replay has come."""

    now_ns: int
    trades: int = 0
    volume: int = 0


class Simulator:
    """The venue; use it with ``async with``. Its replay runs in the background and sets ``finished`` at its end.

    Args:
        config: what is simulated.
        trades: in order of time; only of the configured contracts.

    Raises:
        InvalidInput: no trades, an unknown product without a calendar, or a trade outside every session.
    """

    def __init__(self, config: SimulatorConfig, trades: Iterable[Trade]) -> None:
        self._config = config
        self._trades = list(trades)
        if not self._trades:
            raise InvalidInput("there are no trades to replay; name a file with rows or a synthetic session")
        self._facts = {contract_id: contract_facts(contract_id) for contract_id in config.contract_ids}
        self._history = {
            contract_id: History(calendar_for_contract(contract_id, config.calendar))
            for contract_id in config.contract_ids
        }
        self._clock = VirtualClock(self._session_edge(self._trades[0], "open_ns"), config.speed)
        self._last: dict[str, Trade] = {}
        self._tokens: dict[str, float] = {}
        self._connection_ids: deque[str] = deque(maxlen=_IDS_KEPT)
        self._audience = Audience(self._greeting, ping_s=config.ping_s)
        self.progress = Progress(self._clock.now_ns)
        self.finished = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._replay: asyncio.Task[None] | None = None
        self.base_url = ""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._config.host, self._config.port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise InvalidInput(f"port {self._config.port}: {error.strerror}; choose another, or 0 for any") from error
        port = self._runner.addresses[0][1]
        self.base_url = f"http://{self._config.host}:{port}"
        self._replay = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._replay is not None:
            self._replay.cancel()
            await asyncio.gather(self._replay, return_exceptions=True)
        await self._audience.end_all("close")
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def market_hub_url(self) -> str:
        """Where the market hub is."""
        return f"{self.base_url}/hubs/market"

    @property
    def user_hub_url(self) -> str:
        """Where the user hub would be."""
        return f"{self.base_url}/hubs/user"

    @property
    def end_ns(self) -> int:
        """The virtual time at which the replay ends: a second after the last session's close, nanoseconds UTC."""
        last = {trade.contract_id: trade for trade in self._trades}
        return max(self._session_edge(trade, "close_ns") for trade in last.values()) + NS_PER_SECOND

    def pause(self) -> None:
        """Stop the virtual clock."""
        self._clock.pause()

    def resume(self) -> None:
        """Let the virtual clock run on."""
        self._clock.start()

    async def end_connections(self, how: Ending) -> int:
        """End every hub connection: reset the socket, or say goodbye with or without leave to come back."""
        return await self._audience.end_all(how)

    def expire_tokens(self) -> None:
        """Refuse every token given out so far."""
        self._tokens.clear()

    def freeze(self) -> None:
        """Fall silent with open sockets."""
        self._audience.freeze()

    def thaw(self) -> None:
        """Speak again."""
        self._audience.thaw()

    def _session_edge(self, trade: Trade, edge: Literal["open_ns", "close_ns"]) -> int:
        if trade.contract_id not in self._history:
            raise InvalidInput(f"contract {trade.contract_id!r} of a trade is not among the simulated contracts")
        found = self._history[trade.contract_id].calendar.locate(trade.at_ns)
        if found is None:
            raise InvalidInput(
                f"a trade of {trade.contract_id} at {iso_from_ns(trade.at_ns)} lies outside every session; name the "
                "right calendar or remove it"
            )
        return found[1].open_ns if edge == "open_ns" else found[1].close_ns

    async def _run(self) -> None:
        wanted = list({trade.contract_id for trade in self._trades})
        if self._config.audience != "ignore":
            await self._audience.wait_for(wanted)
        async for moment in moments(self._clock, self._trades, self.end_ns):
            if self._config.audience == "always":
                await self._audience.wait_for(wanted)
            if moment.trades:
                await self._publish(moment.trades)
            quotes = {
                c: wire.quote_record(c, self._facts[c].symbol_id, moment.now_ns, self._last.get(c)) for c in wanted
            }
            await self._audience.publish("quotes", quotes)
            self.progress.now_ns = moment.now_ns
            await asyncio.sleep(0)
        await self._audience.drain()
        self.finished.set()
        log.info("replay_finished", trades=self.progress.trades)

    async def _publish(self, trades: Sequence[Trade]) -> None:
        records: dict[str, bytes] = {}
        by_contract = sorted(trades, key=_by_contract)
        for contract_id, group in groupby(by_contract, key=_by_contract):
            own = list(group)
            symbol = self._facts[contract_id].symbol_id
            records[contract_id] = b"".join(
                wire.trades_record(contract_id, symbol, own[start : start + _CHUNK])
                for start in range(0, len(own), _CHUNK)
            )
            self._last[contract_id] = own[-1]
            for trade in own:
                self._history[contract_id].add(trade)
                self.progress.volume += trade.volume
        self.progress.trades += len(trades)
        await self._audience.publish("trades", records)

    def _greeting(self, contract_id: str) -> bytes | None:
        facts = self._facts.get(contract_id)
        if facts is None:
            return None
        return wire.quote_record(contract_id, facts.symbol_id, self._clock.now_ns, self._last.get(contract_id))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path.lower().rstrip("/")
        if path.startswith("/hubs/"):
            return await self._hub(request, path)
        if request.method == "GET" and path == "/api/status/ping":
            return web.Response(text="pong")
        route = self._routes().get(path) if request.method == "POST" else None
        if route is None:
            return web.Response(status=404)
        body = await _json(request)
        if path != "/api/auth/loginkey" and not self._authorized(request):
            return web.Response(status=401)
        return await route(request, body)

    def _routes(self) -> dict[str, Callable[[web.Request, dict[str, Any]], Awaitable[web.Response]]]:
        return {
            "/api/auth/loginkey": self._login,
            "/api/auth/validate": self._validate,
            "/api/auth/logout": self._logout,
            "/api/contract/search": self._search,
            "/api/contract/searchbyid": self._search_by_id,
            "/api/contract/available": self._available,
            "/api/history/retrievebars": self._bars,
        }

    async def _hub(self, request: web.Request, path: str) -> web.StreamResponse:
        if not self._authorized(request):
            return web.Response(status=401)
        if path == "/hubs/market/negotiate" and request.method == "POST":
            return self._negotiate(request)
        if path != "/hubs/market":
            return web.Response(status=404)
        connection_id = request.query.get("id")
        if connection_id is not None:
            if connection_id not in self._connection_ids:
                return web.Response(status=404)
            self._connection_ids.remove(connection_id)
        return await self._audience.serve(request)

    def _negotiate(self, request: web.Request) -> web.Response:
        connection_id, token = uuid4().hex, uuid4().hex
        answer: dict[str, object] = {"connectionId": connection_id, "negotiateVersion": 0}
        if request.query.get("negotiateVersion", "0") != "0":
            answer |= {"connectionToken": token, "negotiateVersion": 1}
            self._connection_ids.append(token)
        else:
            self._connection_ids.append(connection_id)
        answer["availableTransports"] = [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}]
        return _answer(orjson.dumps(answer))

    def _authorized(self, request: web.Request) -> bool:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        offered = [*request.query.getall("access_token", []), bearer]
        return any(self._tokens.get(token, 0.0) > time.time() for token in offered)

    def _new_token(self, user: str) -> str:
        expires = time.time() + self._config.token_lifetime_s
        token = wire.new_token(user, expires)
        self._tokens[token] = expires
        return token

    async def _login(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        del request
        user, key = body.get("userName"), body.get("apiKey")
        if not isinstance(user, str) or not isinstance(key, str):
            return web.Response(status=400)
        users = {name.lower(): api_key for name, api_key in self._config.users.items()}
        if users.get(user.lower()) != key:
            return _answer(wire.refusal("token", 3))
        return _answer(wire.envelope("token", self._new_token(user)))

    async def _validate(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        del request, body
        return _answer(wire.envelope("newToken", self._new_token("user")))

    async def _logout(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        del body
        self._tokens.pop(request.headers.get("Authorization", "").removeprefix("Bearer "), None)
        return _answer(wire.envelope())

    async def _search(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        del request
        text = str(body.get("searchText", "")).lower()
        found = [
            wire.contract_json(facts)
            for facts in self._facts.values()
            if any(text in part.lower() for part in (facts.name, facts.description, facts.contract_id))
        ]
        return _answer(wire.envelope("contracts", found[:_MOST_FOUND]))

    async def _search_by_id(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        del request
        facts: Contract | None = self._facts.get(str(body.get("contractId")))
        if facts is None:
            return _answer(wire.refusal("contract", 1))
        return _answer(wire.envelope("contract", wire.contract_json(facts)))

    async def _available(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        del request, body
        return _answer(wire.envelope("contracts", [wire.contract_json(facts) for facts in self._facts.values()]))

    async def _bars(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        del request
        history = self._history.get(str(body.get("contractId")))
        if history is None:
            return _answer(wire.refusal("bars", 1))
        unit, value, limit = body.get("unit"), body.get("unitNumber"), body.get("limit")
        if unit not in list(TimeframeUnit):
            return _answer(wire.refusal("bars", 2))
        if not isinstance(limit, int) or not 1 <= limit <= _MOST_BARS:
            return _answer(wire.refusal("bars", 4))
        try:
            timeframe = Timeframe(TimeframeUnit(unit), value if isinstance(value, int) else 0)
            from_ns, to_ns = ns_from_iso(str(body.get("startTime"))), ns_from_iso(str(body.get("endTime")))
        except InvalidTimeframe:
            return _answer(wire.refusal("bars", 3))
        except InvalidInput:
            return web.Response(status=400)
        partial = bool(body.get("includePartialBar"))
        bars = history.bars(timeframe, from_ns, min(to_ns, self._clock.now_ns), partial=partial)
        rows = [
            {"t": wire.stamp(b.label_ns), "o": b.open, "h": b.high, "l": b.low, "c": b.close, "v": b.volume}
            for b in reversed(bars[-limit:])
        ]
        return _answer(wire.envelope("bars", rows))


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.read() or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _answer(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _by_contract(trade: Trade) -> str:
    return trade.contract_id
