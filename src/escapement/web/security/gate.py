"""What every request has to pass, web sockets too, before anything of the dashboard sees it."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import quote

import orjson
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from escapement.settings import DashboardSettings
from escapement.web.security.headers import headers_of
from escapement.web.security.origins import changes_something, is_allowed_host, is_cross_site
from escapement.web.security.passwords import Passwords
from escapement.web.security.sessions import Sessions, cookie_name
from escapement.web.visitor import Role, Visitor, attach

log = structlog.get_logger(service="dashboard")

MOST_BODY: Final = 1_048_576
_OPEN: Final = ("/login",)
# Only from this machine without a log-in; the first also under any name, for it says no more than that this runs.
_PROBES: Final = ("/healthz", "/readyz", "/metrics")
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_CHECK_S: Final = 5.0
_POLICY_VIOLATION: Final = 1008


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request goes no further, with the status that says so."""

    status: int
    words: str


class Gate:
    """An ASGI application around the dashboard.

    It refuses foreign names and other sites, finds out who calls, and lets nobody in who has not logged in where a
    password is set; and it gives every answer its headers. A web socket ends with the log-in it was opened with.
    """

    def __init__(self, app: ASGIApp, settings: DashboardSettings, passwords: Passwords, sessions: Sessions) -> None:
        self._app = app
        self._settings = settings
        self._passwords = passwords
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        secure = scope.get("scheme") in {"https", "wss"}
        visitor = self._visitor(headers, scope, secure=secure)
        refusal = self._refusal(scope, headers, visitor)
        if refusal is not None:
            log.info("request_refused", path=path[:200], address=_address(scope), reason=refusal.words)
            await _refuse(scope, headers, send, refusal, headers_of(path, secure=secure))
            return
        attach(scope, visitor or Visitor(Role.VIEWER, _address(scope), until_s=0.0))
        if scope["type"] == "http":
            await self._app(scope, _bounded(receive), _adding(send, headers_of(path, secure=secure)))
        else:
            await self._app(scope, self._ending(receive, visitor), send)

    def _refusal(self, scope: Scope, headers: Headers, visitor: Visitor | None) -> Refusal | None:
        path, host = scope["path"], headers.get("host", "")
        if path != "/healthz" and not is_allowed_host(host, self._settings.names):
            return Refusal(421, f"this dashboard is not called {host[:100]!r}; name it in dashboard.names")
        if not self._settings.proxies and any(name in headers for name in _FORWARDED):
            return Refusal(403, "the request came through a proxy that dashboard.proxies does not name")
        is_socket = scope["type"] == "websocket"
        if (is_socket or changes_something(scope["method"], path)) and is_cross_site(headers, host):
            return Refusal(403, "the request was sent by a page of another site")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > MOST_BODY:
            return Refusal(413, f"the request is larger than {MOST_BODY} bytes")
        is_probe = path == "/healthz" or (path in _PROBES and is_here(scope))
        if visitor is None and path not in _OPEN and not is_probe:
            return Refusal(401, "log in first")
        return None

    def _visitor(self, headers: Headers, scope: Scope, *, secure: bool) -> Visitor | None:
        address = _address(scope)
        if not self._passwords.are_set:
            return Visitor(Role.OPERATOR, address)
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(cookie_name(secure=secure))
        except CookieError:
            return None
        session = None if cookie is None else self._sessions.read(cookie.value)
        return None if session is None else Visitor(session.role, address, session.until_s, session.number)

    def _ending(self, receive: Receive, visitor: Visitor | None) -> Receive:
        """Let a web socket end once its log-in is over."""
        waiting: list[asyncio.Task[Message]] = []

        async def receive_until_over() -> Message:
            while True:
                if (
                    visitor is not None
                    and visitor.session
                    and (time.time() >= visitor.until_s or self._sessions.has_ended(visitor.session))
                ):
                    for task in waiting:
                        task.cancel()
                    return {"type": "websocket.disconnect", "code": _POLICY_VIOLATION}
                if not waiting:
                    waiting.append(asyncio.ensure_future(receive()))
                done, _ = await asyncio.wait(waiting, timeout=_CHECK_S)
                if done:
                    return waiting.pop().result()

        return receive_until_over if visitor is not None and visitor.session else receive


def _bounded(receive: Receive) -> Receive:
    """Let no more of a body in than fits; who sends more is cut off."""
    size = 0

    async def receive_some() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        return message if size <= MOST_BODY else {"type": "http.disconnect"}

    return receive_some


def _adding(send: Send, added: dict[str, str]) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in added.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers


async def _refuse(scope: Scope, headers: Headers, send: Send, refusal: Refusal, added: dict[str, str]) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": refusal.words[:100]})
        return
    wants_page = refusal.status == 401 and scope["method"] == "GET" and "text/html" in headers.get("accept", "")
    if wants_page:
        target = quote(scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""))
        own, status, body = {"location": f"/login?target={target}"}, 303, b""
    else:
        own, status, body = (
            {"content-type": "application/json"},
            refusal.status,
            orjson.dumps({"detail": refusal.words}),
        )
    told = [(name.encode(), value.encode("latin-1", "replace")) for name, value in {**added, **own}.items()]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body})


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return "unknown" if not client else str(client[0])


def is_here(scope: Scope) -> bool:
    """Whether who asks is on this machine."""
    try:
        return ipaddress.ip_address(_address(scope)).is_loopback
    except ValueError:
        return False
