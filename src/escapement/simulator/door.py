"""The way in: sessions, rate limits, the faults of calls, and which endpoint or hub a request is for."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from uuid import uuid4

import orjson
import structlog
from aiohttp import web

from escapement.simulator import wire
from escapement.simulator.access import RateWindow, Tokens
from escapement.simulator.config import SimulatorConfig
from escapement.simulator.faults import Fault, FaultPlan
from escapement.simulator.hubs import Hub
from escapement.simulator.rest import BadBody, Endpoint

log = structlog.get_logger(service="simulator")

_IDS_KEPT = 1_000
_FAULTS_OF_CALLS = ("rate_limited", "unavailable_rest", "slow_rest", "hanging_rest", "refused", "lost_answer")
_BARS = "history/retrievebars"
_HANGING_S = 3_600.0
_OPEN = {"auth/loginkey", "auth/loginapp"}
_SESSION_CALLS = _OPEN | {"auth/validate", "auth/logout"}


class Door:
    """Answers every HTTP request.

    Args:
        config: users, limits, token lifetime.
        endpoints: those behind a session, by lower-case path below ``/api/``.
        hubs: by name.
        faults: what goes wrong.
        after_call: runs after every call that was carried out.
        now_ns: the venue's time.
    """

    def __init__(
        self,
        config: SimulatorConfig,
        endpoints: Mapping[str, Endpoint],
        hubs: Mapping[str, Hub],
        faults: FaultPlan,
        after_call: Callable[[], None],
        now_ns: Callable[[], int],
    ) -> None:
        self.tokens = Tokens(config.token_lifetime_s, time.time)
        self._config = config
        self._endpoints = endpoints
        self._hubs = hubs
        self._faults = faults
        self._after_call = after_call
        self._now_ns = now_ns
        self._windows: dict[tuple[str, bool], RateWindow] = {}
        self._connection_ids: deque[str] = deque(maxlen=_IDS_KEPT)
        self._login = Endpoint(lambda _user, body: self._logged_in(body), {"userName": "str", "apiKey": "str"})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; paths are compared without case."""
        path = request.path.lower().strip("/")
        if path.startswith("hubs/"):
            return await self._hub(request, path.removeprefix("hubs/"))
        if path == "api/status/ping" and request.method == "GET":
            return web.Response(text="pong")
        name = path.removeprefix("api/")
        known = name in self._endpoints or name in _SESSION_CALLS
        if request.method != "POST" or not path.startswith("api/") or not known:
            return web.Response(status=404)
        text = await request.read()
        return await self._with_faults(request, name, text)

    async def _with_faults(self, request: web.Request, name: str, text: bytes) -> web.StreamResponse:
        struck: dict[str, Fault] = {}
        if not self._faults.is_idle:
            struck = {
                fault.kind: fault for fault in self._faults.strikes(self._now_ns(), *_FAULTS_OF_CALLS, endpoint=name)
            }
        if "rate_limited" in struck:
            return web.Response(status=429)
        if "unavailable_rest" in struck:
            return web.Response(status=503)
        if "slow_rest" in struck:
            await asyncio.sleep(_seconds(struck["slow_rest"], 1.0))
        if "hanging_rest" in struck:
            await asyncio.sleep(_seconds(struck["hanging_rest"], _HANGING_S))
        if "refused" in struck:
            payload = self._endpoints[name].payload if name in self._endpoints else "token"
            return _json(wire.refusal(payload, struck["refused"].code, struck["refused"].message))
        response = self._answer(request, name, text)
        if "lost_answer" in struck and request.transport is not None:
            request.transport.abort()
        return response

    def _answer(self, request: web.Request, name: str, text: bytes) -> web.Response:
        user = "" if name in _OPEN else self._user(request)
        if user is None:
            return web.Response(status=401)
        # Whoever has not logged in yet is counted by address.
        if not self._admitted(user or request.remote or "", bars=name == _BARS):
            return web.Response(status=429)
        try:
            if name.startswith("auth/"):
                return _json(self._session_call(name, user, _bearer(request), text))
            endpoint = self._endpoints[name]
            answer = endpoint.handle(user, endpoint.read(text))
        except BadBody as bad:
            return web.Response(status=400, body=wire.problem(bad.errors), content_type="application/problem+json")
        self._after_call()
        return _json(answer)

    def _session_call(self, name: str, user: str, token: str, text: bytes) -> bytes:
        if name == "auth/loginkey":
            return self._login.handle("", self._login.read(text))
        if name == "auth/loginapp":
            return wire.refusal("token", 4)
        if name == "auth/validate":
            return wire.envelope("newToken", self.tokens.issue(user))
        self.tokens.forget(token)
        return wire.envelope()

    def _logged_in(self, body: dict[str, str]) -> bytes:
        key = self._config.key_of(body["userName"])
        if key is None or key != body["apiKey"]:
            # An unknown user is answered like a wrong key, as observed.
            return wire.refusal("token", 3)
        return wire.envelope("token", self.tokens.issue(body["userName"]))

    def _user(self, request: web.Request) -> str | None:
        return self.tokens.user_of(_bearer(request))

    def _admitted(self, user: str, *, bars: bool) -> bool:
        limit = self._config.bars_limit if bars else self._config.calls_limit
        if limit is None:
            return True
        window = self._windows.setdefault((user.lower(), bars), RateWindow(limit))
        return window.admits(time.monotonic())

    async def _hub(self, request: web.Request, path: str) -> web.StreamResponse:
        name, _, rest = path.partition("/")
        hub = self._hubs.get(name)
        if hub is None or rest not in {"", "negotiate"}:
            return web.Response(status=404)
        # Browsers and some clients send the token twice.
        offered = [*request.query.getall("access_token", []), _bearer(request)]
        user = next(filter(None, map(self.tokens.user_of, offered)), None)
        if user is None or (not rest and self._faults.strikes(self._now_ns(), "unauthorized_hub", hub=name)):
            return web.Response(status=401)
        if rest:
            return self._negotiated(request) if request.method == "POST" else web.Response(status=405)
        connection_id = request.query.get("id")
        if connection_id is not None:
            if connection_id not in self._connection_ids:
                return web.Response(status=404)
            self._connection_ids.remove(connection_id)
        return await hub.serve(request, user)

    def _negotiated(self, request: web.Request) -> web.Response:
        connection_id, token = uuid4().hex, uuid4().hex
        answer: dict[str, object] = {"negotiateVersion": 0, "connectionId": connection_id}
        if request.query.get("negotiateVersion", "0") == "0":
            self._connection_ids.append(connection_id)
        else:
            answer |= {"negotiateVersion": 1, "connectionToken": token}
            self._connection_ids.append(token)
        answer["availableTransports"] = [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}]
        return _json(orjson.dumps(answer))


def _bearer(request: web.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


def _seconds(fault: Fault, default: float) -> float:
    return default if fault.seconds is None else fault.seconds


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")
