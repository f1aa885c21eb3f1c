"""Who connects and sends nothing, or not all of it, keeps nobody out for long."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from fastapi import FastAPI, Request

from escapement.web.server import serve

SLOW_S = 2.5


def app() -> FastAPI:
    made = FastAPI()

    @made.get("/slow")
    async def slow() -> str:
        await asyncio.sleep(SLOW_S)
        return "done"

    @made.post("/body")
    async def body(request: Request) -> int:
        return len(await request.body())

    return made


@pytest.mark.parametrize(
    "sent",
    [
        b"", b"GET /slow HTTP/1.1\r\nHost: ", b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf",
    ],
)  # fmt: skip
async def test_who_sends_no_whole_request_is_cut_off_and_who_waits_for_an_answer_is_not(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr("escapement.web.server._PATIENCE_S", 0.5)
    stopping, address = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(app(), "127.0.0.1", 0, stopping, address.set_result))
    base = await address
    async with httpx.AsyncClient(base_url=base, timeout=10) as client:
        waiting = asyncio.create_task(client.get("/slow"))
        reader, writer = await asyncio.open_connection("127.0.0.1", int(base.rpartition(":")[2]))
        writer.write(sent)
        async with asyncio.timeout(4):
            await reader.read()  # to the end
        assert (await waiting).json() == "done"
    writer.close()
    stopping.set()
    await serving
