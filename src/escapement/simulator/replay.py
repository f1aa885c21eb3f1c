"""Trades on a virtual clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from escapement.errors import InvalidInput
from escapement.model import NS_PER_SECOND, Trade

_MOST_AT_ONCE = 500
_SLEEP_S = 0.25


class VirtualClock:
    """The venue's time. It runs ``speed`` times as quick as ours; without a speed it jumps.

    Raises:
        InvalidInput: the speed is not positive.
    """

    def __init__(self, start_ns: int, speed: float | None) -> None:
        if speed is not None and speed <= 0:
            raise InvalidInput(f"speed {speed} is not positive; use 1 for real time, 60 for a minute a second")
        self.now_ns = start_ns
        self._speed = speed
        self._running = asyncio.Event()
        self._running.set()
        self._anchor_ns = start_ns
        self._anchor_s = time.monotonic()

    def start(self, at_ns: int | None = None) -> None:
        """Let time pass from here, or from a later moment."""
        self.now_ns = max(self.now_ns, at_ns or 0)
        self._anchor_ns, self._anchor_s = self.now_ns, time.monotonic()
        self._running.set()

    def pause(self) -> None:
        """Let time stand still until ``start``."""
        self._running.clear()

    async def pass_until(self, to_ns: int) -> AsyncIterator[int]:
        """Let time pass until ``to_ns``; yield it on the way, at least each quarter of a real second."""
        while self.now_ns < to_ns:
            await self._running.wait()
            if self._speed is None:
                self.now_ns = to_ns
                break
            passed = self._anchor_ns + int((time.monotonic() - self._anchor_s) * self._speed * NS_PER_SECOND)
            self.now_ns = max(self.now_ns, min(passed, to_ns))
            yield self.now_ns
            left_s = (to_ns - self.now_ns) / NS_PER_SECOND / self._speed
            if left_s > 0:
                await asyncio.sleep(min(left_s, _SLEEP_S))

    @property
    def jumps(self) -> bool:
        """Whether time jumps from trade to trade."""
        return self._speed is None


@dataclass(frozen=True, slots=True)
class Moment:
    """The venue's time, and the trades that happened up to it since the moment before."""

    now_ns: int
    trades: tuple[Trade, ...]


async def moments(clock: VirtualClock, trades: Iterable[Trade], end_ns: int) -> AsyncIterator[Moment]:
    """Yield the trades as their time comes, and the passing of time between them; then jump to ``end_ns``.

    Time begins with the first trade: the rest of a session that the data does not cover is not waited for.
    """
    waiting = iter(trades)
    following = next(waiting, None)
    clock.start(None if following is None else following.at_ns)
    while following is not None:
        async for now_ns in clock.pass_until(following.at_ns):
            yield Moment(now_ns, ())
        due: list[Trade] = []
        horizon_ns = following.at_ns + NS_PER_SECOND if clock.jumps else clock.now_ns
        while following is not None and following.at_ns <= horizon_ns and len(due) < _MOST_AT_ONCE:
            due.append(following)
            following = next(waiting, None)
        clock.now_ns = max(clock.now_ns, due[-1].at_ns)
        yield Moment(clock.now_ns, tuple(due))
    clock.now_ns = end_ns
    yield Moment(end_ns, ())
