"""An application on a socket, as one of the services of a process that has signals and logs of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from escapement.errors import EscapementError

_GRACE_S = 2
_LOOK_S = 0.02


class _Server(uvicorn.Server):
    """Leaves signals to the program it runs in."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield


async def serve(app: FastAPI, host: str, port: int, stopping: asyncio.Event, ready: Callable[[str], None]) -> None:
    """Serve ``app`` until ``stopping``; call ``ready`` with its address once connections are accepted.

    Requests get two seconds to end. ``port`` 0 takes a free one.

    Raises:
        EscapementError: the address cannot be listened on.
    """
    listener = _listen(host, port)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=_GRACE_S, server_header=False
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopped = asyncio.create_task(stopping.wait())
    try:
        while not server.started and not serving.done():  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(_LOOK_S)
        address = listener.getsockname()
        ready(f"http://{f'[{address[0]}]' if ':' in address[0] else address[0]}:{address[1]}")
        await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        server.should_exit = True
        await serving
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    # Before the server starts: it would end the whole process when the address is taken.
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise EscapementError(
            f"{host}:{port} cannot be listened on: {error.strerror or error}; choose another host or port"
        ) from error
