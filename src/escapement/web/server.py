"""An application on a socket, as one of the services of a process that has signals and logs of its own."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from escapement.errors import EscapementError

_GRACE_S = 2
_LOOK_S = 0.02
_PATIENCE_S = 20.0
_TICKS = 10  # of a tenth of a second each
_UPGRADED: Any = object()


class Server(uvicorn.Server):
    """Leaves signals to the program it runs in, and cuts off who connects and does not send a whole request.

    Else whoever reaches the address, without a log-in, could take all connections that there may be, and keep them.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._waited_for: dict[Any, float] = {}

    async def on_tick(self, counter: int) -> bool:
        """Look after connections once a second."""
        if counter % _TICKS == 0:
            now_s, known = time.monotonic(), self._waited_for
            waited_for = filter(_is_waited_for, self.server_state.connections)
            self._waited_for = {each: known.get(each, now_s) for each in waited_for}
            for each, since_s in self._waited_for.items():
                if now_s - since_s > _PATIENCE_S:
                    each.transport.close()
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield


def _is_waited_for(connection: Any) -> bool:
    """Whether the rest of a request has not come yet; never of web sockets, nor between two requests."""
    cycle = getattr(connection, "cycle", _UPGRADED)
    if cycle is _UPGRADED:
        return False
    is_idle = cycle is None or (cycle.response_complete and connection.timeout_keep_alive_task is None)
    return is_idle or (cycle.more_body and not cycle.response_complete)


async def serve(app: FastAPI, host: str, port: int, stopping: asyncio.Event, ready: Callable[[str], None]) -> None:
    """Serve ``app`` until ``stopping``; call ``ready`` with its address once connections are accepted.

    Requests get two seconds to end. ``port`` 0 takes a free one.

    Raises:
        EscapementError: the address cannot be listened on.
    """
    listener = listen(host, port, "operations")
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=_GRACE_S, server_header=False
    )
    server = Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopped = asyncio.create_task(stopping.wait())
    try:
        while not server.started and not serving.done():  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(_LOOK_S)
        ready(address_of(listener))
        await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        server.should_exit = True
        await serving
        listener.close()


def listen(host: str, port: int, section: str) -> socket.socket:
    """Return a socket that listens; ``section`` of the settings names ``host`` and ``port``, 0 for any port.

    Raises:
        EscapementError: the address is taken, or not one of this machine.
    """
    # Before the server starts: it would end the whole process when the address is taken.
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        # Only of sockets that say they are TCP does asyncio send small answers at once, not after 40 ms.
        listening = socket.socket(family, kind, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(128)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise EscapementError(
            f"{section}.host {host!r}, {section}.port {port}: {error.strerror or error}; name another"
        ) from error
    return listening


def address_of(listening: socket.socket) -> str:
    """Return the address to type into a browser."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
