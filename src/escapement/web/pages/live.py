"""What pages show, read once for all browsers and told to each of them when it has changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Any, Generic, TypeVar

import orjson
import structlog

from escapement.errors import EscapementError, StorageError
from escapement.storage.database import FORMING
from escapement.storage.doorbell import Doorbell

log = structlog.get_logger(service="dashboard")

BELLS = ("ohlc_bars", FORMING, "bar_revisions", "detected_signals", "decisions", "kill_switch")
_REST_S = 0.25  # between two readings of the same, however often a bell rings
_LATER_S = 0.25  # what rang a bell has more to do at that moment, and goes first
_KEPT_S = 30.0  # nobody has asked or followed
_RETRY_S = 5.0
_SLOW_S = 5.0  # a database that hangs is not away for a minute, and what is shown is old long before

_Shown = TypeVar("_Shown")


class Topic(Generic[_Shown]):
    """One thing to show, plain data; read while someone follows it.

    Args:
        read: reads it.
        bells: what may change it: a channel, or a channel and what its payload names with a space between.
        poll_s: seconds after which it is read although no bell rang.
    """

    def __init__(self, read: Callable[[], Awaitable[_Shown]], bells: frozenset[str], poll_s: float) -> None:
        self.bells = bells
        self.rung = asyncio.Event()
        self._read = read
        self._poll_s = poll_s
        self._followers: dict[object, tuple[Callable[[_Shown], None], Callable[[str], None] | None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[_Shown] | None = None
        self._known: tuple[_Shown] | None = None
        self._known_s = float("-inf")
        self._fault = ""
        self._used_s = time.monotonic()

    @property
    def is_forgotten(self) -> bool:
        """Whether nobody follows it, and nobody has asked for a while."""
        return not self._followers and time.monotonic() > self._used_s + _KEPT_S

    async def latest(self) -> _Shown:
        """Return it as it was read last, unless that is older than it may be.

        Raises:
            EscapementError: it could not be read.
        """
        self._used_s = time.monotonic()
        if self._known is not None and (self._task is not None or time.monotonic() < self._known_s + self._poll_s):
            return self._known[0]
        found = await self._once()
        if self._task is None:
            self._known, self._known_s = (found,), time.monotonic()
        return found

    def follow(self, tell: Callable[[_Shown], None], fail: Callable[[str], None] | None = None) -> Callable[[], None]:
        """Call ``tell`` with it whenever it has changed, until what is returned is called.

        ``fail`` is told why it cannot be read, and an empty text when it can be again.
        """
        mark = object()
        self._followers[mark] = tell, fail
        if self._task is None:
            self._known, self._fault = None, ""  # so that who comes first is told, whatever was known before
            self._task = asyncio.create_task(self._keep_looking(), name="topic")
        if self._known is not None:
            _call(tell, self._known[0])
        if self._fault and fail is not None:
            _call(fail, self._fault)

        def leave() -> None:
            self._followers.pop(mark, None)
            if not self._followers and self._task is not None:
                self._task.cancel()
                self._task = None

        return leave

    async def aclose(self) -> None:
        """Stop looking."""
        self._followers.clear()
        for task in filter(None, (self._task, self._reading)):
            task.cancel()
            with suppress(asyncio.CancelledError, EscapementError):
                await task
        self._task = None

    async def _once(self) -> _Shown:
        """Read it; who asks meanwhile gets the same."""
        return await asyncio.shield(self._begun())

    def _begun(self) -> asyncio.Task[_Shown]:
        if self._reading is None:
            self._reading = asyncio.create_task(self._look(), name="reading")
            self._reading.add_done_callback(self._has_read)
        return self._reading

    async def _look(self) -> _Shown:
        return await self._read()

    def _has_read(self, task: asyncio.Task[_Shown]) -> None:
        self._reading = None
        if not task.cancelled():
            task.exception()  # who waits for it is told

    async def _keep_looking(self) -> None:
        while True:
            self.rung.clear()
            reading = self._begun()
            await asyncio.wait((reading,), timeout=_SLOW_S)
            if not reading.done():
                self._fail(f"it has not been read for {_SLOW_S:g} s")
            try:
                found = await asyncio.shield(reading)
            except EscapementError as error:
                self._fail(str(error))
            except Exception:  # else what is shown would grow old without a word
                if not self._fault:
                    log.exception("not_read")
                self._fail("it cannot be read; the dashboard's log says why")
            else:
                self._fail("")
                if self._known is None or self._known[0] != found:
                    self._known = (found,)
                    for tell, _ in list(self._followers.values()):
                        _call(tell, found)
            await asyncio.sleep(_REST_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.rung.wait(), self._poll_s)
                await asyncio.sleep(_LATER_S)

    def _fail(self, words: str) -> None:
        if words == self._fault:
            return
        self._fault = words
        if words:
            log.warning("not_read", reason=words)
        for _, fail in list(self._followers.values()):
            if fail is not None:
                _call(fail, words)


def _call(tell: Callable[[_Shown], None], found: _Shown) -> None:
    try:
        tell(found)
    except Exception:  # one browser's page must not silence the others
        log.exception("page_failed")


def _contract_of(payload: str) -> str:
    """Return the contract whose growing bars are told."""
    try:
        return str(orjson.loads(payload)["contract_id"])
    except (KeyError, TypeError, ValueError):
        return ""


class Hub:
    """All topics that are followed, by key, and the doorbell that wakes them."""

    def __init__(self, doorbell: Doorbell) -> None:
        self._doorbell = doorbell
        self._topics: dict[Hashable, Topic[Any]] = {}
        self._listening: asyncio.Task[None] | None = None

    def topic(
        self,
        key: Hashable,
        read: Callable[[], Awaitable[_Shown]],
        bells: frozenset[str] = frozenset(),
        poll_s: float = 5.0,
    ) -> Topic[_Shown]:
        """Return the topic of a key; see ``Topic``."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="doorbell")
        for each in [each for each, topic in self._topics.items() if topic.is_forgotten]:
            del self._topics[each]
        return self._topics.setdefault(key, Topic(read, bells, poll_s))

    async def aclose(self) -> None:
        """Stop listening and looking."""
        for topic in self._topics.values():
            await topic.aclose()
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError, EscapementError):
                await self._listening

    async def _listen(self) -> None:
        """Listen, also when the database refused for a while; pages look now and then without."""
        while True:
            try:
                await self._doorbell.listen(self._hear)
            except StorageError as error:
                log.error("bells_unheard", reason=str(error))  # noqa: TRY400 - the message says it all
            await asyncio.sleep(_RETRY_S)

    def _hear(self, channel: str, payload: str) -> None:
        if channel == FORMING:
            payload = _contract_of(payload)
        for topic in self._topics.values():
            if not channel or channel in topic.bells or f"{channel} {payload}" in topic.bells:
                topic.rung.set()
