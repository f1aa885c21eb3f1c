"""What tests of notifications share: somebody who is told over HTTP, and things that happen in the database."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from aiohttp import web

MES = "CON.F.US.MES.M25"
_DECIDE = """INSERT INTO decisions (decision_id, coordinator_id, contract_id, action, direction, confidence, price,
known_at, rule, words, data_complete)
VALUES ($1, 'main', $2, 'enter_long', 1, 1, 5700.25, now(), 'a rule', 'words', true)"""
# One of each kind, by the id under which it is told; {n} makes it another one each time.
_HAPPEN = {
    "fill:paper:{n}": """INSERT INTO fills (account, fill_id, contract_id, order_id, at, side, size, price, fees,
        profit, voided) VALUES ('paper', {n}, 'CON.F.US.MES.M25', 1, now(), 'buy', 1, 5700.25, 0.61, 12.5, false)""",
    "refusal:{n}": """INSERT INTO risk_checks (account, decision_id, contract_id, at, size, approved, code, words,
        checks) VALUES ('paper', 'd', 'CON.F.US.MES.M25', now(), 1, false, 'daily_loss', 'too much', '[]')""",
    "gap_opened:{n}": """INSERT INTO data_gaps (gap_id, contract_id, begins_at, cause)
        VALUES ({n}, 'CON.F.US.MES.M25', clock_timestamp(), 'late trade')""",
    "gap_closed:{n}:": "UPDATE data_gaps SET state = 'closed', ends_at = now(), closed_at = now() WHERE gap_id = {n}",
    "freeze:{n}0001": """INSERT INTO data_gaps (gap_id, contract_id, begins_at, cause)
        VALUES ({n}0001, 'CON.F.US.MES.M25', clock_timestamp(), 'freeze')""",
    "disconnect:{n}0002": """INSERT INTO data_gaps (gap_id, contract_id, begins_at, ends_at, cause)
        VALUES ({n}0002, 'CON.F.US.MES.M25', now() - interval '1 minute', now(), 'disconnect')""",
    "kill:{n}": "INSERT INTO kill_switch (killed, reason, by) VALUES (true, 'lunch', 'trader')",
    "resume:{n}": "INSERT INTO kill_switch (killed, reason, by) VALUES (false, 'back', 'trader')",
    "service_failed:here:{n}:ingest:1": """INSERT INTO service_health (process, service, state, since, restarts, error)
        VALUES ('here:{n}', 'ingest', 'waiting', clock_timestamp(), 0, 'no network')""",
    "summary:": """INSERT INTO trading_periods (contract_id, trade_date, opens_at, closes_at) VALUES
        ('CON.F.US.MES.M25', current_date, now() - interval '8 hours', now() - interval '299 seconds')
        ON CONFLICT DO NOTHING""",
}  # fmt: skip


async def until(condition: Callable[[], Awaitable[object]], within_s: float = 30.0) -> None:
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)


async def decide(connection: asyncpg.Connection[Any], number: int) -> str:
    """Store a decision; return the id under which it is told."""
    name = f"{number:032x}"
    await connection.execute(_DECIDE, name, MES)
    return f"decision:{name}"


async def happen(connection: asyncpg.Connection[Any]) -> list[str]:
    """Let one of each kind happen; return how the ids begin under which they are told."""
    told = [await decide(connection, 1)]
    told += ["gap_opened:10002"]  # a disconnect is a gap as well
    for event_id, sql in _HAPPEN.items():
        number = 2 if event_id.startswith("resume") else 1
        await connection.execute(sql.format(n=number))
        told.append(event_id.format(n=number))
    return told


@dataclass
class Sink:
    """Somebody who is told: keeps every message, and answers when and how it is told to; never takes ``refuses``."""

    address: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    refuses: str = ""
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ids(self) -> Counter[str]:
        """How often each event came in a message of its own."""
        return Counter(found[1] for each in self.messages if (found := re.search(r"UTC · (\S+)", each["message"])))

    def titles(self) -> list[str]:
        return [each["title"].removeprefix("Escapement: ") for each in self.messages]

    def holds(self, messages: int) -> Callable[[], Awaitable[bool]]:
        """Return a condition for ``until``: so many messages came."""

        async def come() -> bool:
            return len(self.messages) >= messages

        return come

    def tells(self, events: int) -> Callable[[], Awaitable[bool]]:
        """Return a condition for ``until``: so many different events came."""

        async def come() -> bool:
            return len(self.ids) >= events

        return come

    async def take(self, request: web.Request) -> web.Response:
        message = await request.json()
        await self.opened.wait()
        if self.refuses and self.refuses in message["message"]:
            return web.Response(status=400)
        if self.status == 200:
            self.messages.append(message)
        return web.Response(status=self.status)


@asynccontextmanager
async def sink() -> AsyncIterator[Sink]:
    """Listen on a port of this machine; ``address`` is what Apprise takes."""
    made = Sink()
    made.opened.set()
    app = web.Application(client_max_size=50_000_000)
    app.router.add_post("/told", made.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    made.address = f"json://127.0.0.1:{port}/told"
    try:
        yield made
    finally:
        made.opened.set()
        await runner.cleanup()
