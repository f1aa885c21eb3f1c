"""A way to a server on which connections fall silent, as when a machine or a line is gone without a word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Self
from urllib.parse import parse_qs, urlsplit

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Relay:
    """Listens on ``port``; ``connect`` opens a connection to the server."""

    def __init__(self, connect: Callable[[], Awaitable[Streams]]) -> None:
        self._connect = connect
        self._silent: set[asyncio.StreamWriter] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.hang_up()

    def fall_silent(self) -> None:
        """Pass nothing on any more of the connections that are open now."""
        self._silent |= self._open

    def hang_up(self) -> None:
        """Close all connections."""
        for each in self._open:
            each.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await self._connect()
        self._open |= {writer}
        try:
            await asyncio.gather(self._pass_on(reader, to_there, writer), self._pass_on(there, writer, writer))
        except OSError:
            pass  # one of the ends is gone
        finally:
            self._open -= {writer}
            writer.close()
            to_there.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, to: asyncio.StreamWriter, whose: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(1 << 16):
            if whose not in self._silent:
                to.write(data)
        raise ConnectionResetError


@asynccontextmanager
async def relayed(url: str) -> AsyncIterator[tuple[Relay, str]]:
    """A way to an embedded server's socket, and the URL of that way."""
    parts = urlsplit(url)
    socket = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
    async with Relay(lambda: asyncio.open_unix_connection(socket)) as relay:
        yield relay, f"postgresql://{parts.username}@127.0.0.1:{relay.port}{parts.path}"
