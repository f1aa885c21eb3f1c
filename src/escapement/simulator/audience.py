"""Who listens at the market hub: SignalR connections, their subscriptions, and what is sent to them."""

from __future__ import annotations

import asyncio
import socket as sockets
import struct
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Literal

import orjson
import structlog
from aiohttp import WSMsgType, web

from escapement.simulator import wire

log = structlog.get_logger(service="simulator", hub="market")

_HANDSHAKE_S = 15.0
_QUEUED_FRAMES = 64
_STUCK_S = 30.0
_RESET = struct.pack("ii", 1, 0)  # linger for no time: closing resets the connection
_KINDS = {"trades": "trades", "quotes": "quotes", "marketdepth": "depth"}

Ending = Literal["reset", "close", "close_for_good"]


class Listener:
    """One connection: what it subscribed to, and frames on their way to it."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket = socket
        self.request = request
        self.subscribed: dict[str, set[str]] = {"trades": set(), "quotes": set(), "depth": set()}
        self.frames: asyncio.Queue[bytes] = asyncio.Queue(_QUEUED_FRAMES)

    async def send(self, frame: bytes) -> None:
        """Queue a frame; waits while the client is slow, and drops a client that takes nothing for half a minute."""
        try:
            async with asyncio.timeout(_STUCK_S):
                await self.frames.put(frame)
        except TimeoutError:
            log.warning("listener_stuck")
            self.reset()

    def reset(self) -> None:
        """Cut the connection without a word, as a failing network does."""
        transport = self.request.transport
        if transport is not None:
            raw = transport.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _RESET)
            transport.abort()


class Audience:
    """All connections of the market hub.

    Args:
        greet: gives the record that a new subscriber of quotes gets at once, by contract id.
        ping_s: seconds between pings.
    """

    def __init__(self, greet: Callable[[str], bytes | None], *, ping_s: float) -> None:
        self._greet = greet
        self._ping_s = ping_s
        self._listeners: set[Listener] = set()
        self._changed = asyncio.Event()
        self._thawed = asyncio.Event()
        self._thawed.set()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Speak SignalR with one client until it leaves."""
        socket = web.WebSocketResponse(compress=False, autoping=True)
        await socket.prepare(request)
        listener = Listener(socket, request)
        if not await _shake_hands(socket):
            return socket
        self._listeners.add(listener)
        tasks = [asyncio.create_task(self._send(listener)), asyncio.create_task(self._ping(listener))]
        try:
            async for message in socket:
                if message.type not in {WSMsgType.TEXT, WSMsgType.BINARY}:
                    break
                data = message.data.encode() if isinstance(message.data, str) else message.data
                await self._receive(listener, data)
        finally:
            self._listeners.discard(listener)
            self._changed.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return socket

    async def publish(self, kind: str, records: Mapping[str, bytes]) -> None:
        """Send each contract's records to those who subscribed to that kind of it, in one frame each."""
        for listener in list(self._listeners):
            frame = b"".join(data for contract_id, data in records.items() if contract_id in listener.subscribed[kind])
            if frame:
                await listener.send(frame)

    async def wait_for(self, contract_ids: Iterable[str]) -> None:
        """Return when every contract has somebody who subscribed to its trades."""
        wanted = set(contract_ids)
        while not wanted <= set().union(*(listener.subscribed["trades"] for listener in self._listeners)):
            self._changed.clear()
            await self._changed.wait()

    async def drain(self) -> None:
        """Return when nothing waits to be sent, or after half a minute."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_STUCK_S):
                await asyncio.gather(*(listener.frames.join() for listener in self._listeners))

    async def end_all(self, how: Ending) -> int:
        """End every connection; return how many there were."""
        listeners = list(self._listeners)
        for listener in listeners:
            if how == "reset":
                listener.reset()
                continue
            with suppress(ConnectionError):
                last = wire.close("Connection closed with an error.", allow_reconnect=how == "close")
                await listener.socket.send_str(last.decode())
                await listener.socket.close()
        return len(listeners)

    def freeze(self) -> None:
        """Stop sending anything, pings too, with sockets left open."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Send again, what waited first."""
        self._thawed.set()

    async def _receive(self, listener: Listener, data: bytes) -> None:
        for part in data.split(wire.SEPARATOR):
            if not part:
                continue
            try:
                record = orjson.loads(part)
            except orjson.JSONDecodeError:
                record = None
            if not isinstance(record, dict):
                await listener.socket.send_str(wire.close("Invalid record.", allow_reconnect=False).decode())
                await listener.socket.close()
                return
            if record.get("type") == 1:
                await self._invoke(listener, record)

    async def _invoke(self, listener: Listener, record: dict[str, Any]) -> None:
        error, contract_id = _apply(listener, record)
        if record.get("invocationId") is not None:
            await listener.send(wire.completion(str(record["invocationId"]), error))
        if contract_id is not None:
            greeting = self._greet(contract_id)
            if greeting is not None:
                await listener.send(greeting)
        self._changed.set()

    async def _send(self, listener: Listener) -> None:
        with suppress(ConnectionError):
            while True:
                frame = await listener.frames.get()
                await self._thawed.wait()
                await listener.socket.send_str(frame.decode())
                listener.frames.task_done()

    async def _ping(self, listener: Listener) -> None:
        while True:
            await asyncio.sleep(self._ping_s)
            await listener.send(wire.PING)


async def _shake_hands(socket: web.WebSocketResponse) -> bool:
    """Answer the handshake; clients send protocol versions 0, 1 and 2."""
    try:
        async with asyncio.timeout(_HANDSHAKE_S):
            message = await socket.receive()
    except TimeoutError:
        await socket.close()
        return False
    if message.type not in {WSMsgType.TEXT, WSMsgType.BINARY}:
        return False
    data = message.data.encode() if isinstance(message.data, str) else message.data
    try:
        greeting = orjson.loads(data.partition(wire.SEPARATOR)[0])
    except orjson.JSONDecodeError:
        greeting = None
    if not isinstance(greeting, dict) or greeting.get("protocol") != "json" or greeting.get("version") not in {0, 1, 2}:
        await socket.send_str('{"error":"Requested protocol is not available."}\x1e')
        await socket.close()
        return False
    await socket.send_str("{}\x1e")
    return True


def _apply(listener: Listener, record: dict[str, Any]) -> tuple[str | None, str | None]:
    """Carry out a hub method; return what was wrong, and the contract whose quotes were newly asked for."""
    target = str(record.get("target", "")).lower()
    arguments = record.get("arguments")
    contract_id = arguments[0] if isinstance(arguments, list) and arguments else None
    for verb in ("subscribecontract", "unsubscribecontract"):
        kind = _KINDS.get(target.removeprefix(verb)) if target.startswith(verb) else None
        if kind is None:
            continue
        if not isinstance(contract_id, str):
            return f"{record.get('target')} needs a contract id", None
        if verb == "subscribecontract":
            listener.subscribed[kind].add(contract_id)
            return None, contract_id if kind == "quotes" else None
        listener.subscribed[kind].discard(contract_id)
        return None, None
    return f"Method '{record.get('target')}' does not exist.", None
