"""One SignalR connection to a hub that never gives up.

``HubConnection.events`` connects, subscribes, and yields what happens, in order. When the connection ends for whatever
reason it says so, waits with growing and jittered delays, and connects again with a fresh token. The venue replays
nothing, so whoever reads must treat the time between ``HubLost`` and ``HubLive`` as unobserved.

Written on aiohttp because the SignalR clients for Python stop for good after common failures (a reset, a restarting
server, a malformed record). A slow reader is felt by the venue through TCP; nothing is queued here.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
import structlog

from escapement.errors import (
    EscapementError,
    FeedDisconnected,
    FeedError,
    FeedProtocolError,
    GatewayError,
    GatewayRefused,
)
from escapement.ports import FrameSink
from escapement.projectx import refusals
from escapement.projectx.codec import CLOSE, COMPLETION, INVOCATION, PING, Record, record, records
from escapement.projectx.rest import GatewayClient

_PING_TEXT = record({"type": PING})
_HANDSHAKE_TEXT = record({"protocol": "json", "version": 1})
_BAD_LOGGED = 100
_FINAL = (
    refusals.InvalidCredentials,
    refusals.AgreementsNotSigned,
    refusals.SubscriptionMissing,
    refusals.ApiKeyDisabled,
    refusals.ApplicationRefused,
)


@dataclass(frozen=True, slots=True)
class HubParams:
    """Timings in seconds. ``silence_s``: a connection that says nothing for so long is dead (the venue pings each 15).

    Handshake and subscriptions have to be done within ``handshake_s``. Delays between attempts grow from
    ``first_delay_s`` to ``longest_delay_s`` and start over after a connection that lived ``stable_s``.
    ``forbidden_delay_s``: how long to wait when the venue asked not to reconnect. ``largest_message`` in bytes.
    """

    handshake_s: float = 15.0
    silence_s: float = 30.0
    ping_s: float = 15.0
    first_delay_s: float = 0.5
    longest_delay_s: float = 30.0
    stable_s: float = 60.0
    forbidden_delay_s: float = 300.0
    largest_message: int = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Subscription:
    """A hub method and its arguments, invoked after every connect."""

    method: str
    arguments: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class HubLive:
    """Connection number ``generation`` has all subscriptions acknowledged."""

    generation: int
    received_ns: int


@dataclass(frozen=True, slots=True)
class HubLost:
    """The connection ended, or a record of it could not be read; ``cause`` says why."""

    generation: int
    cause: str
    received_ns: int


@dataclass(frozen=True, slots=True)
class HubRecords:
    """The invocations of one WebSocket message."""

    generation: int
    records: Sequence[Record]
    received_ns: int


HubEvent = HubLive | HubLost | HubRecords


@dataclass(slots=True)
class HubStatistics:
    """Counts since the start."""

    connections: int = 0
    messages: int = 0
    records: int = 0
    bad_records: int = 0


class _ReconnectForbidden(FeedDisconnected):
    """The venue closed and asked not to come back."""


class _Unauthorized(FeedDisconnected):
    """The venue refused the token."""


class HubConnection:
    """A connection to one hub.

    Args:
        client: gives the token and the HTTP session.
        url: the hub, with http or https.
        subscriptions: what to invoke after every connect.
        params: timings and sizes.
        name: what logs and recordings call the hub.
        recorder: gets every frame before it is read.
    """

    def __init__(
        self,
        client: GatewayClient,
        url: str,
        subscriptions: Sequence[Subscription],
        params: HubParams,
        *,
        name: str,
        recorder: FrameSink | None = None,
    ) -> None:
        self._client = client
        self._url = url
        self._subscriptions = tuple(subscriptions)
        self._params = params
        self._name = name
        self._recorder = recorder
        self._log = structlog.get_logger(service="feed", hub=name)
        self._closing = asyncio.Event()
        self._socket: _Socket | None = None
        self.statistics = HubStatistics()

    async def aclose(self) -> None:
        """End ``events`` in good order, from any task."""
        self._closing.set()
        if self._socket is not None:
            await self._socket.aclose()

    async def renew(self, cause: str) -> None:
        """Give up the connection although it seems to be alive; ``events`` reports it lost and makes another."""
        if self._socket is not None:
            self._socket.cause = cause
            await self._socket.aclose()

    async def events(self) -> AsyncIterator[HubEvent]:
        """Yield what happens until ``aclose``; never raises for anything the network or the venue does.

        Raises:
            GatewayRefused: the venue does not accept the credentials.
        """
        delay = self._params.first_delay_s
        generation = 0
        while not self._closing.is_set():
            generation += 1
            started = time.monotonic()
            pause: float | None = None
            try:
                async with await self._unless_closing(self._connect()) as socket:
                    async for event in self._converse(socket, generation):
                        yield event
                    cause = "closed by us"
            except _ReconnectForbidden as error:
                cause, pause = str(error), self._params.forbidden_delay_s
                self._log.error("hub_forbids_reconnect", wait_s=pause, reason=cause)
            except _Unauthorized as error:
                cause = str(error)
                self._client.forget_token()
            except _FINAL:
                raise
            except GatewayRefused as error:
                # Not about who logs in: a fault of the venue, or of something in front of it, that may pass.
                cause, pause = str(error), self._params.forbidden_delay_s
            except (FeedError, GatewayError, aiohttp.ClientError, OSError, TimeoutError) as error:
                cause = _describe(error)
            finally:
                self._socket = None
            if self._closing.is_set():
                return
            yield HubLost(generation, cause, time.time_ns())
            if time.monotonic() - started >= self._params.stable_s:
                delay = self._params.first_delay_s
            # Full jitter, so that many clients cut off together do not come back together.
            wait = pause if pause is not None else random.uniform(0, delay)  # noqa: S311 - not a secret
            self._log.warning("hub_lost", generation=generation, cause=cause, next_try_s=round(wait, 2))
            delay = min(2 * delay, self._params.longest_delay_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), wait)

    async def _unless_closing(self, connecting: Coroutine[Any, Any, _Socket]) -> _Socket:
        """Connect, but let ``aclose`` end it: log-in and connecting can take minutes against a venue that hangs."""
        task = asyncio.create_task(connecting)
        closing = asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait({task, closing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if task.cancelled():
            raise FeedDisconnected("closed by us")
        return task.result()

    async def _connect(self) -> _Socket:
        token = await self._client.token()
        if self._recorder is not None:
            self._recorder.conceal(token)
        try:
            socket = await self._client.session.ws_connect(
                self._url, params={"access_token": token.get_secret_value()}, autoping=True, compress=0,
                max_msg_size=self._params.largest_message,
                timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
            )  # fmt: skip
        except aiohttp.WSServerHandshakeError as error:
            # Its text holds the URL with the token, so neither text nor cause goes on.
            if error.status == 401:
                raise _Unauthorized("the token was refused (401)") from None
            raise FeedDisconnected(f"the hub answered HTTP {error.status}") from None
        self.statistics.connections += 1
        self._socket = _Socket(socket, self._params)
        if self._closing.is_set():
            await self._socket.aclose()
        return self._socket

    async def _converse(self, socket: _Socket, generation: int) -> AsyncIterator[HubEvent]:
        await socket.send(_HANDSHAKE_TEXT)
        pending: set[str] | None = None
        async for frame in socket.frames():
            received_ns = time.time_ns()
            self.statistics.messages += 1
            if self._recorder is not None:
                self._recorder.take(self._name, generation, frame, received_ns)
            body = frame
            if pending is None:
                body = _after_handshake(frame)
                pending = await self._subscribe(socket)
            invocations, bad = self._sort(body, pending)
            live = socket.live_by is None
            if bad is not None and live:
                # Before what stands beside it, which may complete bars that lack it.
                yield HubLost(generation, bad, received_ns)
            if invocations:
                yield HubRecords(generation, invocations, received_ns)
            if socket.live_by is not None and not pending:
                socket.live_by = None
                self._log.info("hub_live", generation=generation)
                yield HubLive(generation, received_ns)
            elif bad is not None and live:
                yield HubLive(generation, received_ns)

    def _sort(self, body: bytes, pending: set[str]) -> tuple[list[Record], str | None]:
        """Return the invocations of a message and what was bad in it; take note of acknowledgements and closing."""
        invocations: list[Record] = []
        bad: str | None = None
        for item in records(body):
            self.statistics.records += 1
            if isinstance(item, FeedProtocolError):
                bad = self._count_bad(str(item))
            elif item.type == INVOCATION:
                invocations.append(item)
            elif item.type == COMPLETION:
                _acknowledge(item, pending)
            elif item.type == CLOSE:
                raise _closed(item)
        return invocations, bad

    async def _subscribe(self, socket: _Socket) -> set[str]:
        pending = set()
        for number, subscription in enumerate(self._subscriptions):
            message: dict[str, object] = {
                "type": INVOCATION, "invocationId": str(number), "target": subscription.method,
                "arguments": list(subscription.arguments),
            }  # fmt: skip
            await socket.send(record(message))
            pending.add(str(number))
        return pending

    def _count_bad(self, reason: str) -> str:
        self.statistics.bad_records += 1
        if self.statistics.bad_records <= _BAD_LOGGED or self.statistics.bad_records % 1_000 == 0:
            self._log.warning("record_bad", reason=reason, count=self.statistics.bad_records)
        return f"bad record: {reason}"


@dataclass(slots=True)
class _Socket:
    """A WebSocket with its pings and its watch over silence."""

    socket: aiohttp.ClientWebSocketResponse
    params: HubParams
    waiting_since: float | None = None
    live_by: float | None = None
    cause: str = "the connection was closed"
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self.live_by = time.monotonic() + self.params.handshake_s
        self.tasks = [asyncio.create_task(self._ping()), asyncio.create_task(self._watch())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.aclose()

    async def send(self, text: str) -> None:
        await self.socket.send_str(text)

    async def aclose(self) -> None:
        with suppress(ConnectionError, aiohttp.ClientError):
            await self.socket.close()

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield messages until the connection ends.

        Raises:
            FeedDisconnected: it was not us who ended it, or it fell silent.
        """
        while True:
            self.waiting_since = time.monotonic()
            message = await self.socket.receive()
            self.waiting_since = None
            if message.type is aiohttp.WSMsgType.TEXT:
                yield message.data.encode()
            elif message.type is aiohttp.WSMsgType.BINARY:
                yield message.data
            elif message.type is aiohttp.WSMsgType.ERROR:
                raise FeedDisconnected(f"the connection broke ({type(message.data).__name__})")
            else:
                raise FeedDisconnected(f"{self.cause} (code {self.socket.close_code})")

    async def _ping(self) -> None:
        with suppress(ConnectionError, aiohttp.ClientError):
            while True:
                await asyncio.sleep(self.params.ping_s)
                await self.socket.send_str(_PING_TEXT)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(min(self.params.silence_s, self.params.handshake_s) / 10)
            now = time.monotonic()
            if self.waiting_since is not None and now - self.waiting_since > self.params.silence_s:
                self.cause = f"silent for {self.params.silence_s:g} s"
            elif self.live_by is not None and now > self.live_by:
                self.cause = f"not live within {self.params.handshake_s:g} s"
            else:
                continue
            await self.aclose()
            return


def _after_handshake(frame: bytes) -> bytes:
    answer, separator, rest = frame.partition(b"\x1e")
    if not separator:
        raise FeedProtocolError("the handshake was answered without a record separator")
    for item in records(answer.replace(b"{", b'{"type":0,', 1) if answer != b"{}" else b""):
        if isinstance(item, FeedProtocolError):
            raise FeedProtocolError(f"the handshake was answered with something else: {item}")
        if item.error is not None:
            raise FeedDisconnected(f"the hub refused the handshake: {item.error}")
    return rest


def _acknowledge(completion: Record, pending: set[str]) -> None:
    if completion.error is not None:
        raise FeedDisconnected(f"a subscription was refused: {completion.error}")
    pending.discard(completion.invocation_id or "")


def _closed(close: Record) -> FeedDisconnected:
    reason = f"the venue closed the connection{f': {close.error}' if close.error else ''}"
    return FeedDisconnected(reason) if close.allow_reconnect else _ReconnectForbidden(reason)


def _describe(error: BaseException) -> str:
    """Name a failure; texts of foreign exceptions can hold the URL and so the token."""
    return str(error) if isinstance(error, EscapementError) else type(error).__name__
