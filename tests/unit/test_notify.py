"""What is told when the database goes away in the middle of telling."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from escapement.errors import StorageUnavailable
from escapement.ports import Event
from escapement.services.announce import Message
from escapement.services.notify import Notifier, NotifyParams

KILL = Event("kill:1", "kill", datetime(2025, 3, 17, tzinfo=UTC), {"reason": "lunch", "by": "trader"}, 1)


@dataclass
class Outbox:
    """One event that waits on one channel, in a database that goes away once the event was sent."""

    state: str = "waiting"
    away: int = 0
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    async def gather(self, channels_of: Callable[[str], Sequence[str]], *, has_watched_s: float) -> int:
        del channels_of, has_watched_s
        return 0

    async def claim(self, channel: str, most: int, lease_s: float) -> Sequence[Event]:
        del channel, most, lease_s  # the lease has run out by now
        return [] if self.state == "sent" else [KILL]

    async def settle(self, channel: str, event_ids: Sequence[str], state: str, error: str = "") -> None:
        del channel, event_ids, error
        self.away += 1
        if self.away < 3:
            raise StorageUnavailable("the database does not answer")
        self.state = state
        self.settled.set()

    async def give_up(self, channel: str, after_s: float) -> int:
        del channel, after_s
        return 0


@dataclass
class Phone:
    """A channel."""

    name: str = "phone"
    titles: list[str] = field(default_factory=list)

    async def send(self, message: Message, picture: Path | None = None) -> str:
        del picture
        self.titles.append(message.title)
        return ""


@asynccontextmanager
async def no_picture(_: Event) -> AsyncIterator[Path | str | None]:
    yield None


async def test_what_was_sent_before_the_database_went_away_is_not_sent_again() -> None:
    outbox, phone = Outbox(), Phone()
    notifier = Notifier(outbox, [phone], lambda _: ["phone"], no_picture, NotifyParams(0.01))
    running = asyncio.create_task(notifier.run())
    async with asyncio.timeout(10):
        await outbox.settled.wait()
    notifier.stop()
    await running
    assert phone.titles == ["Escapement: all trading is stopped"]
