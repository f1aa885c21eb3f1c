"""Market time that one thing after another happens in, some seconds behind the market.

What trades live acts a moment after the market did, and how long that moment is differs each time. An account whose
fills are only estimated can do better: its market is held back until the decisions on what came before have been taken,
each call arrives a fixed time after what caused it, and nothing happens before all that follows from the last thing was
done. So the same market gives the same orders and fills each time, and those that a backtest gives.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from enum import IntEnum
from typing import Final

import structlog

from escapement.model import NS_PER_SECOND, Trade
from escapement.ports import FeedEvent, TradeFeed, TradesReceived, VenueTime

log = structlog.get_logger(service="execute")

_MOST_AHEAD: Final = 200_000
_BEAT_S: Final = 0.25


class Kind(IntEnum):
    """What happens first of that which happens at the same time; trades come after all of it."""

    CLOCK = 0
    CALL = 1
    DECISION = 2


class Pace:
    """Holds the market back, and lets everything happen in order of market time.

    Args:
        delay_s: how long after it was received a trade happens, in our seconds.
        edge_after: returns the first moment after another at which something is to do although nobody trades.
        wall_ns: the market's time while nothing is heard; None when only what is heard tells it.
    """

    def __init__(
        self, delay_s: float, edge_after: Callable[[int], int | None], wall_ns: Callable[[], int] | None = None
    ) -> None:
        self.is_quiet: Callable[[], bool] = lambda: True
        self.look: Callable[[bool], Awaitable[None]] = _nothing
        self._delay_s = delay_s
        self._edge_after = edge_after
        self._wall_ns = wall_ns
        self._now_ns = 0
        self._ahead: list[tuple[int, int, FeedEvent]] = []  # by time: contracts overtake each other on the way
        self._arrivals: deque[tuple[float, int]] = deque()
        self._happened: set[int] = set()
        self._newest_ns = 0
        self._due: list[tuple[int, Kind, int, int, Callable[[], Awaitable[None]]]] = []
        self._count = 0
        self._calls = 0
        self._edge_ns: int | None = None
        self._is_ending = False
        self._kick = asyncio.Event()
        self._space = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def calls(self) -> int:
        """How many calls have not arrived yet."""
        return self._calls

    def now_ns(self) -> int:
        """Return the time, nanoseconds UTC; 0 before anything was heard."""
        return self._now_ns

    def hear(self, at_ns: int) -> None:
        """Take note of a time that the venue told; only what has happened tells it here."""

    def resume(self, now_ns: int, ahead: Iterable[Trade]) -> None:
        """Go on at a moment, with trades that were received and did not happen before the last end."""
        self._now_ns = now_ns
        for trade in ahead:  # decisions on them may still be to come
            self._push(time.monotonic(), TradesReceived((trade,), 0))

    def ahead(self) -> list[Trade]:
        """Return the trades that were received and have not happened."""
        return [
            trade for _, _, event in sorted(self._ahead, key=_first_two) if isinstance(event, TradesReceived)
            for trade in event.trades
        ]  # fmt: skip

    def at(self, at_ns: int, kind: Kind, act: Callable[[], Awaitable[None]], place: int = 0) -> None:
        """Have something done at a moment, or at once when that has passed; of one kind and moment by ``place``."""
        self._count += 1
        self._calls += kind is Kind.CALL
        heapq.heappush(self._due, (at_ns, kind, place, self._count, act))
        self._kick.set()

    def stir(self) -> None:
        """Say that ``is_quiet`` may have another answer."""
        self._changed.set()

    async def follow(self, feed: TradeFeed) -> AsyncIterator[FeedEvent]:
        """Yield what a feed tells, a trade a time, when it happens; whoever takes the next has dealt with the last."""
        reader = asyncio.create_task(self._read(feed))
        reader.add_done_callback(lambda _: self._kick.set())
        try:
            while not reader.done():
                await self._quieten()
                await self._advance(self._now_ns)
                if not await self._is_time():
                    continue
                await self._advance(self._ahead[0][0])
                _, number, event = heapq.heappop(self._ahead)
                self._happened.add(number)
                self._space.set()
                yield event
                if isinstance(event, TradesReceived):
                    await self._settle()
            await reader  # raises what ended it
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader

    async def finish(self) -> None:
        """Return when every call has arrived and what followed was done."""
        self._is_ending = True
        self._kick.set()
        while self._calls or not self.is_quiet():
            self._changed.clear()
            await self._changed.wait()

    async def _read(self, feed: TradeFeed) -> None:
        async for event in feed.events():
            now_s = time.monotonic()
            if isinstance(event, TradesReceived):
                for trade in event.trades:
                    self._push(now_s, TradesReceived((trade,), event.received_ns))
            else:
                self._push(now_s, event)
            self._kick.set()
            while len(self._ahead) > _MOST_AHEAD:
                self._space.clear()
                await self._space.wait()

    def _push(self, received_s: float, event: FeedEvent) -> None:
        match event:
            case TradesReceived():
                at_ns = event.trades[0].at_ns
            case VenueTime():
                at_ns = event.at_ns
            case _:
                at_ns = self._newest_ns
        self._newest_ns = max(self._newest_ns, at_ns)
        self._count += 1
        heapq.heappush(self._ahead, (at_ns, self._count, event))
        self._arrivals.append((received_s, self._count))

    async def _is_time(self) -> bool:
        """Wait for what is next; return whether that is what the feed told."""
        self._kick.clear()
        if self._due and self._due[0][0] <= self._now_ns:
            return False
        if self._is_ending and self._calls:
            arrival_ns = min(each[0] for each in self._due if each[1] is Kind.CALL)
            if self._ahead and self._ahead[0][0] <= arrival_ns:
                return True
            await self._advance(arrival_ns)
            return False
        while self._arrivals and self._arrivals[0][1] in self._happened:
            self._happened.remove(self._arrivals.popleft()[1])
        if self._arrivals:
            wait_s = self._arrivals[0][0] + self._delay_s - time.monotonic()
            if wait_s <= 0 or len(self._ahead) > _MOST_AHEAD:
                return True
        else:
            wait_s = _BEAT_S
            if self._wall_ns is not None and self._now_ns:
                await self._advance(self._wall_ns() - int(self._delay_s * NS_PER_SECOND))
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._kick.wait()
        return False

    async def _advance(self, to_ns: int) -> None:
        """Let time pass up to a moment, and all happen that is due till then."""
        while True:
            if self._now_ns and self._edge_ns is None:
                self._edge_ns = self._edge_after(self._now_ns)
                if self._edge_ns is not None:
                    self.at(self._edge_ns, Kind.CLOCK, self._edge)
            if not self._due or self._due[0][0] > to_ns:
                break
            at_ns, kind, _, _, act = heapq.heappop(self._due)
            if kind is Kind.DECISION and at_ns < self._now_ns:
                log.warning("decision_late", seconds=round((self._now_ns - at_ns) / NS_PER_SECOND, 3))
            self._now_ns = max(self._now_ns, at_ns)
            await act()
            self._calls -= kind is Kind.CALL
            await self._settle(at_edge=kind is Kind.CLOCK)
        self._now_ns = max(self._now_ns, to_ns)

    async def _edge(self) -> None:
        self._edge_ns = None

    async def _settle(self, *, at_edge: bool = False) -> None:
        """Let all be done that follows from what happened, and look at the limits."""
        await self._quieten()
        await self.look(at_edge)
        await self._quieten()
        self._changed.set()

    async def _quieten(self) -> None:
        while not self.is_quiet():
            self._changed.clear()
            await self._changed.wait()


async def _nothing(at_edge: bool) -> None:  # noqa: FBT001 - as it is called
    del at_edge


def _first_two(ahead: tuple[int, int, FeedEvent]) -> tuple[int, int]:
    return ahead[:2]
