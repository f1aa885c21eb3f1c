"""Tells people what happened: looks for events in the tables, and sends each on its channels.

1. ``_watch`` finds what is new and writes it into an outbox in the database, an event once, whoever finds it.
2. A ``_Channel`` takes what waits for it, sends it, and says what came of it.

At least once: an event is taken before it is sent and settled afterwards. Whoever is killed in between leaves it taken;
after a while it is sent again, saying that it may be a repeat. Nothing that trades waits for any of this.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import structlog

from escapement.errors import InvalidInput, StorageUnavailable
from escapement.ports import Event
from escapement.services.announce import Message, digest_of, message_of

log = structlog.get_logger(service="notify")

_MINUTE_S = 60.0
_MOST_AT_ONCE = 500
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0


class Outbox(Protocol):
    """Where events are found and kept; every method raises StorageError."""

    async def gather(self, channels_of: Callable[[str], Sequence[str]], *, has_watched_s: float) -> int:
        """Write down what is new and whom to tell; return how many events. ``has_watched_s``: without a pause."""
        ...

    async def claim(self, channel: str, most: int, lease_s: float) -> Sequence[Event]:
        """Take the oldest events that wait; they count as lost when they are not settled within the lease."""
        ...

    async def settle(self, channel: str, event_ids: Sequence[str], state: str, error: str = "") -> None:
        """Say what came of them: ``sent``, ``summarised``, or ``waiting`` to be sent again."""
        ...

    async def give_up(self, channel: str, after_s: float) -> int:
        """Give up what has waited for too long; return how many."""
        ...


class Sender(Protocol):
    """A channel's way out."""

    @property
    def name(self) -> str:
        """Return the channel's name."""
        ...

    async def send(self, message: Message, picture: Path | None = None) -> str:
        """Send a message; return why it may not have arrived, empty when it did."""
        ...


# A picture that goes with an event, why there is none although there should be, or None where none belongs.
Picture = Callable[[Event], AbstractAsyncContextManager[Path | str | None]]


@dataclass(frozen=True, slots=True)
class NotifyParams:
    """How people are told.

    ``poll_s``: how often events are looked for. ``messages_per_minute``: of each channel; what is more waits and is
    told in one message. ``lease_s``: after how long a message counts as lost with whoever sent it; more than sending
    may take. ``give_up_s``: how long it is tried.
    """

    poll_s: float = 2.0
    messages_per_minute: int = 10
    lease_s: float = 60.0
    give_up_s: float = 21_600.0

    def __post_init__(self) -> None:
        for name in ("poll_s", "messages_per_minute", "lease_s", "give_up_s"):
            if getattr(self, name) <= 0:
                raise InvalidInput(f"notify.{name} is {getattr(self, name)}; use more than 0")


class Notifier:
    """Tells of what happens until ``stop``.

    Args:
        outbox: the database.
        senders: the channels.
        channels_of: returns the names of the channels that are told of a kind of event.
        picture: draws what goes with an event, if anything.
        params: how.
    """

    def __init__(
        self,
        outbox: Outbox,
        senders: Sequence[Sender],
        channels_of: Callable[[str], Sequence[str]],
        picture: Picture,
        params: NotifyParams | None = None,
    ) -> None:
        self._outbox = outbox
        self._channels_of = channels_of
        self._params = params or NotifyParams()
        self._counts: Counter[str] = Counter()
        self._channels = [_Channel(outbox, sender, picture, self._params, self._counts) for sender in senders]
        self._stopping = asyncio.Event()

    def statistics(self) -> Mapping[str, int]:
        """Return the counts since the start: ``events``, and ``sent``, ``summarised`` and ``failed`` messages."""
        return dict(self._counts)

    def stop(self) -> None:
        """Ask for an orderly end: messages being sent are settled, ``run`` returns."""
        self._stopping.set()

    async def run(self) -> None:
        """Tell until ``stop``.

        Raises:
            StorageError: the database refused for good.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch())
                for channel in self._channels:
                    group.create_task(channel.run(self._stopping))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _watch(self) -> None:
        watched_since_s = time.monotonic()
        while not self._stopping.is_set():
            try:
                found = await self._outbox.gather(self._channels_of, has_watched_s=time.monotonic() - watched_since_s)
                self._counts["events"] += found
                if found:
                    for channel in self._channels:
                        channel.rung.set()
            except StorageUnavailable as error:
                log.warning("database_away", reason=str(error))
                watched_since_s = time.monotonic()  # who could not tell of itself meanwhile was not silent
            await _pause(self._stopping, self._params.poll_s)


class _Channel:
    """Sends on one channel what waits for it."""

    def __init__(
        self, outbox: Outbox, sender: Sender, picture: Picture, params: NotifyParams, counts: Counter[str]
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._picture = picture
        self._params = params
        self._counts = counts
        self._sent_s: deque[float] = deque(maxlen=params.messages_per_minute)
        self._pause_s = 0.0
        self._unsettled: tuple[list[str], str, str] | None = None
        self.rung = asyncio.Event()

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                while not stopping.is_set() and await self._step(stopping):
                    pass
            except StorageUnavailable as error:
                log.warning("database_away", reason=str(error))
            try:
                async with asyncio.timeout(self._params.poll_s):
                    await self.rung.wait()
            except TimeoutError:
                continue
            self.rung.clear()

    async def _step(self, stopping: asyncio.Event) -> bool:
        """Send the next message; return whether there may be more."""
        name = self._sender.name
        await self._settle()
        given_up = await self._outbox.give_up(name, self._params.give_up_s)
        if given_up:
            log.error("notifications_given_up", channel=name, count=given_up)
        is_limited = await self._wait_for_leave(stopping)
        if stopping.is_set():
            return False
        events = await self._outbox.claim(name, _MOST_AT_ONCE if is_limited else 1, self._params.lease_s)
        if not events:
            return False
        error = await self._send(events)
        state = "waiting" if error else "sent" if len(events) == 1 else "summarised"
        self._unsettled = [event.event_id for event in events], state, error
        await self._settle()
        self._counts["failed" if error else state] += 1
        if error:
            if not self._pause_s:  # once, not at every try
                log.warning("notification_failed", channel=name, reason=error)
            self._pause_s = min(max(2 * self._pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
            await _pause(stopping, self._pause_s)
        else:
            self._pause_s = 0.0
            self._sent_s.append(time.monotonic())
        return True

    async def _settle(self) -> None:
        """Say what came of what was sent last, also where the database was away when it came."""
        if self._unsettled is not None:
            await self._outbox.settle(self._sender.name, *self._unsettled)
            self._unsettled = None

    async def _wait_for_leave(self, stopping: asyncio.Event) -> bool:
        """Wait until one more message is within the limit; return whether that took time."""
        if len(self._sent_s) < self._params.messages_per_minute:
            return False
        wait_s = self._sent_s[0] + _MINUTE_S - time.monotonic()
        if wait_s <= 0:
            return False
        await _pause(stopping, wait_s)
        return True

    async def _send(self, events: Sequence[Event]) -> str:
        if len(events) > 1:
            return await self._sender.send(digest_of(events))
        message = message_of(events[0])
        async with AsyncExitStack() as stack:
            try:
                picture = await stack.enter_async_context(self._picture(events[0]))
            except Exception as error:  # a full disk, whatever draws: the words are what matters
                log.exception("picture_failed", event_id=events[0].event_id)
                picture = f"{type(error).__name__}."
            if isinstance(picture, str):
                return await self._sender.send(replace(message, text=f"{message.text}\nNo picture: {picture}"))
            return await self._sender.send(message, picture)


async def _pause(stopping: asyncio.Event, pause_s: float) -> None:
    """Wait, but not longer than until ``stopping``."""
    try:
        async with asyncio.timeout(pause_s):
            await stopping.wait()
    except TimeoutError:
        return
