"""SignalR hubs: connections, their subscriptions, and what is sent to them.

Source: the SignalR JSON hub protocol; timings and limits are those of an ASP.NET server with default options.
"""

from __future__ import annotations

import asyncio
import socket as sockets
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import structlog
from aiohttp import WSMessage, WSMsgType, web

from escapement.simulator import wire

log = structlog.get_logger(service="simulator")

_QUEUED_FRAMES = 64
_QUEUED_EVENTS = 4_096
_LARGEST_MESSAGE = 64 * 1024
_RESET = struct.pack("ii", 1, 0)  # linger for no time: closing resets the connection
_CLOSED_WITH_ERROR = "Connection closed with an error."
_CLIENT_SILENT = "Connection closed: the client was silent for too long."
_GOODBYE_S = 2.0

Ending = Literal["reset", "close", "close_for_good"]
Topic = tuple[str, str | int]


class MethodRefused(Exception):
    """A hub method does not do what it was asked; the text goes into the completion."""


@dataclass(frozen=True, slots=True)
class HubTimings:
    """Seconds: between pings, for the handshake, until a silent client is dropped, until a stuck one is."""

    ping_s: float = 15.0
    handshake_s: float = 15.0
    client_silence_s: float = 30.0
    stuck_s: float = 30.0
    strict_version: bool = False


class Connection:
    """One client of a hub: who it is, what it subscribed to, and frames on their way to it."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request, user: str, timings: HubTimings) -> None:
        self.user = user
        self.topics: set[Topic] = set()
        self.socket = socket
        self._request = request
        self._timings = timings
        # Each frame with whether it took room, which pings and events of accounts do not.
        self._frames: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue(_QUEUED_EVENTS)
        self._room = asyncio.Semaphore(_QUEUED_FRAMES)
        self._ended = False
        self.silent: Literal["data", "all"] | None = None

    async def send(self, frame: bytes) -> None:
        """Queue a frame; wait while the client is slow, and drop a client that takes nothing for too long."""
        if self._ended or self.silent is not None:
            return
        if not self._room.locked():
            await self._room.acquire()
        else:
            try:
                async with asyncio.timeout(self._timings.stuck_s):
                    await self._room.acquire()
            except TimeoutError:
                log.warning("client_stuck", user=self.user)
                self.reset()
                return
        if not self._ended:
            self._put(frame, took_room=True)

    def offer(self, frame: bytes) -> None:
        """Queue a frame at once; a client that is too far behind is dropped."""
        if not self._ended and self.silent is None:
            self._put(frame)

    async def drained(self) -> None:
        """Return when nothing waits to be sent."""
        await self._frames.join()

    def reset(self) -> None:
        """Cut the connection without a word, as a failing network does."""
        self.end()
        transport = self._request.transport
        if transport is not None:
            raw = transport.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _RESET)
            transport.abort()

    async def close(self, last: bytes) -> None:
        """Drop what is queued, send a last record and close; a client that does not take it is cut off."""
        self.end()
        try:
            async with asyncio.timeout(_GOODBYE_S):
                await self.socket.send_frame(last, WSMsgType.TEXT)
                await self.socket.close()
        except (ConnectionError, TimeoutError):
            self.reset()

    def cut_after_queue(self) -> None:
        """Send what is queued, then let the line go dead without a goodbye."""
        self._put(b"")
        self.silent = "all"

    def end(self) -> None:
        """Forget what waits to be sent and let go of who waits to send."""
        self._ended = True
        while not self._frames.empty():
            self._frames.get_nowait()
            self._frames.task_done()
        for _ in range(_QUEUED_FRAMES):
            self._room.release()

    async def pump(self) -> None:
        """Send what is queued, for as long as the connection lives."""
        with suppress(ConnectionError):
            while True:
                frame, took_room = await self._frames.get()
                try:
                    if not frame:
                        self._hang_up()
                        return
                    await self.socket.send_frame(frame, WSMsgType.TEXT)
                finally:
                    self._frames.task_done()
                    if took_room:
                        self._room.release()

    async def ping(self) -> None:
        """Ping at intervals, for as long as the connection lives."""
        while True:
            await asyncio.sleep(self._timings.ping_s)
            if not self._ended and self.silent != "all":
                self._put(wire.PING)

    def _hang_up(self) -> None:
        # Not a reset: that could overtake what was sent.
        if self._request.transport is not None:
            self._request.transport.close()

    def _put(self, frame: bytes, *, took_room: bool = False) -> None:
        try:
            self._frames.put_nowait((frame, took_room))
        except asyncio.QueueFull:
            log.warning("client_too_slow", user=self.user)
            self.reset()


Method = Callable[[Connection, list[Any]], bytes | None]


class Hub:
    """One hub and its connections.

    Args:
        name: what logs call it.
        methods: what clients may invoke, by lower-case name; a method may return a frame to greet the caller with.
        timings: of its connections.
    """

    def __init__(self, name: str, methods: Mapping[str, Method], timings: HubTimings) -> None:
        self.name = name
        self.connections: set[Connection] = set()
        self.wanted: Counter[Topic] = Counter()  # how many subscribed to each topic
        self.changed = asyncio.Event()
        self._methods = methods
        self._timings = timings

    async def serve(self, request: web.Request, user: str) -> web.StreamResponse:
        """Speak SignalR with one client until it leaves."""
        socket = web.WebSocketResponse(compress=False, autoping=True, max_msg_size=_LARGEST_MESSAGE)
        if not socket.can_prepare(request).ok:
            return web.Response(status=400, text="a hub speaks WebSockets only")
        await socket.prepare(request)
        rest = await self._shake_hands(socket)
        if rest is None:
            await socket.close()
            return socket
        connection = Connection(socket, request, user, self._timings)
        self.connections.add(connection)
        tasks = [asyncio.create_task(connection.pump()), asyncio.create_task(connection.ping())]
        try:
            await self._listen(connection, rest)
        except (ConnectionError, RuntimeError) as error:
            log.debug("connection_broke", hub=self.name, error=type(error).__name__)
        finally:
            self.connections.discard(connection)
            connection.end()
            self._note_change()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return socket

    async def publish(self, records: Mapping[Topic, bytes]) -> None:
        """Send each topic's records to those who subscribed to it, in one frame each; waits for slow clients."""
        for connection in list(self.connections):
            frame = b"".join([data for topic, data in records.items() if topic in connection.topics])
            if frame:
                await connection.send(frame)

    async def drain(self) -> None:
        """Return when nothing waits to be sent, or when clients take nothing."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timings.stuck_s):
                await asyncio.gather(*(connection.drained() for connection in list(self.connections)))

    async def end_all(self, how: Ending) -> int:
        """End every connection; return how many there were."""
        connections = list(self.connections)
        last = wire.close(_CLOSED_WITH_ERROR, allow_reconnect=how == "close")
        if how == "reset":
            for connection in connections:
                connection.reset()
        else:
            await asyncio.gather(*(connection.close(last) for connection in connections))
        return len(connections)

    def silence(self, what: Literal["data", "all"] | None) -> None:
        """Let the connections that are open now fall silent, wholly or but for pings; None lets them speak again."""
        for connection in self.connections:
            connection.silent = what

    def _note_change(self) -> None:
        self.wanted = Counter(topic for connection in self.connections for topic in connection.topics)
        self.changed.set()

    async def _shake_hands(self, socket: web.WebSocketResponse) -> bytes | None:
        """Answer the handshake; return the records that came with it, or None when it failed."""
        try:
            async with asyncio.timeout(self._timings.handshake_s):
                message = await socket.receive()
        except TimeoutError:
            await socket.send_str('{"error":"Handshake was canceled."}\x1e')
            return None
        data = _bytes(message)
        if data is None:
            return None
        greeting, separator, rest = data.partition(wire.SEPARATOR)
        error = self._objection(greeting if separator else b"")
        if error is not None:
            await socket.send_frame(orjson.dumps({"error": error}) + wire.SEPARATOR, WSMsgType.TEXT)
            return None
        await socket.send_str("{}\x1e")
        return rest

    def _objection(self, greeting: bytes) -> str | None:
        try:
            request = orjson.loads(greeting)
        except orjson.JSONDecodeError:
            return "Handshake request could not be read."
        if not isinstance(request, dict) or request.get("protocol") != "json":
            return "The protocol is not supported."
        version = request.get("version")
        versions = (1,) if self._timings.strict_version else (0, 1, 2)
        if type(version) is not int or version not in versions:
            return f"The server does not support version {str(version)[:20]} of the 'json' protocol."
        return None

    async def _listen(self, connection: Connection, first: bytes) -> None:
        data: bytes | None = first
        while data is not None:
            for part in data.split(wire.SEPARATOR):
                if part and not await self._receive(connection, part):
                    return
            try:
                message = await connection.socket.receive(timeout=self._timings.client_silence_s)
            except TimeoutError:
                await connection.close(wire.close(_CLIENT_SILENT, allow_reconnect=False))
                return
            data = _bytes(message)

    async def _receive(self, connection: Connection, part: bytes) -> bool:
        """Act on one record; return whether the conversation goes on."""
        try:
            record = orjson.loads(part)
        except orjson.JSONDecodeError:
            record = None
        kind = record.get("type") if isinstance(record, dict) else None
        if type(kind) is not int:
            await connection.close(wire.close(_CLOSED_WITH_ERROR, allow_reconnect=False))
            return False
        if kind == 1 or kind == 4:  # noqa: PLR1714 - invocation, and invocation of a stream, which no method offers
            await self._invoke(connection, record)
        return kind != 7

    async def _invoke(self, connection: Connection, record: dict[str, Any]) -> None:
        target, arguments, number = record.get("target"), record.get("arguments"), record.get("invocationId")
        method = self._methods.get(target.lower()) if isinstance(target, str) else None
        error, greeting = None, None
        if method is None or record["type"] == 4:
            error = "Failed to invoke the method because it does not exist."
        elif not isinstance(arguments, list):
            error = "Failed to invoke the method because its arguments are no list."
        else:
            try:
                greeting = method(connection, arguments)
            except MethodRefused as refused:
                error = str(refused)
        if isinstance(number, str | int):
            await connection.send(wire.completion(str(number), error))
        if greeting is not None:
            await connection.send(greeting)
        self._note_change()


def _bytes(message: WSMessage) -> bytes | None:
    if message.type is WSMsgType.TEXT:
        text: str = message.data
        return text.encode("utf-8", "surrogatepass")
    if message.type is WSMsgType.BINARY:
        data: bytes = message.data
        return data
    return None
