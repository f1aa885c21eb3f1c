"""Trades on a virtual clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from escapement.model import NS_PER_SECOND, Trade

_MOST_AT_ONCE = 500
_SLEEP_S = 0.25
_TICK_S = 0.02


class VirtualClock:
    """The venue's time. It runs ``speed`` times as quick as ours; without a speed it jumps from trade to trade."""

    def __init__(self, start_ns: int, speed: float | None) -> None:
        self.now_ns = start_ns
        self._speed = speed
        self._paused = False
        self._steps = 0
        self._moves = asyncio.Event()
        self._moves.set()
        self._anchor_ns, self._anchor_s = start_ns, time.monotonic()

    @property
    def jumps(self) -> bool:
        """Whether time jumps from trade to trade."""
        return self._speed is None or self._paused

    @property
    def paused(self) -> bool:
        """Whether time stands still."""
        return self._paused

    def start(self, at_ns: int | None = None) -> None:
        """Count time from here, or from a later moment."""
        self.now_ns = max(self.now_ns, at_ns or 0)
        self._anchor_ns, self._anchor_s = self.now_ns, time.monotonic()

    def pause(self) -> None:
        """Let time stand still until ``resume`` or ``step``."""
        self._paused, self._steps = True, 0
        self._moves.clear()

    def resume(self) -> None:
        """Let time run on."""
        self.start()
        self._paused = False
        self._moves.set()

    def step(self, trades: int) -> None:
        """Pause, and go on by so many trades at once."""
        self._paused = True
        self._steps += trades
        self._moves.set()

    def set_speed(self, speed: float | None) -> None:
        """Run at another speed from here."""
        self.start()
        self._speed = speed

    async def leave(self) -> int:
        """Wait until time may move; return how many trades may happen."""
        await self._moves.wait()
        return min(self._steps, _MOST_AT_ONCE) if self._paused else _MOST_AT_ONCE

    def happened(self, trades: int) -> None:
        """Take note that so many trades happened."""
        if self._paused:
            self._steps = max(0, self._steps - trades)
            if not self._steps:
                self._moves.clear()

    async def pass_until(self, to_ns: int) -> AsyncIterator[int]:
        """Let time pass until it is ``to_ns`` or later; yield it on the way, at least each quarter of a real second."""
        while self.now_ns < to_ns:
            await self._moves.wait()
            if self._speed is None or self._paused:
                self.now_ns = to_ns
                return
            passed = int((time.monotonic() - self._anchor_s) * self._speed * NS_PER_SECOND)
            self.now_ns = max(self.now_ns, self._anchor_ns + passed)
            left_s = (to_ns - self.now_ns) / NS_PER_SECOND / self._speed
            if left_s > 0:
                yield self.now_ns
                # Not shorter than a tick, so that a busy market goes out in batches.
                await asyncio.sleep(min(max(left_s, _TICK_S), _SLEEP_S))


@dataclass(frozen=True, slots=True)
class Moment:
    """The venue's time, and the trades that happened up to it since the moment before."""

    now_ns: int
    trades: tuple[Trade, ...]


async def moments(clock: VirtualClock, trades: Iterable[Trade], end_ns: Callable[[], int]) -> AsyncIterator[Moment]:
    """Yield the trades as their time comes, and the passing of time between them; then jump to ``end_ns()``.

    Time begins with the first trade: the rest of a session that the data does not cover is not waited for.
    """
    waiting = iter(trades)
    following = next(waiting, None)
    clock.start(None if following is None else following.at_ns)
    while following is not None:
        async for now_ns in clock.pass_until(following.at_ns):
            yield Moment(now_ns, ())
        most = await clock.leave()
        due: list[Trade] = []
        horizon_ns = following.at_ns + NS_PER_SECOND - 1 if clock.jumps else max(clock.now_ns, following.at_ns)
        while following is not None and following.at_ns <= horizon_ns and len(due) < most:
            due.append(following)
            following = next(waiting, None)
        clock.happened(len(due))
        clock.now_ns = max(clock.now_ns, due[-1].at_ns)
        # With more due than goes at once, it is not yet as late as the clock says.
        told_ns = due[-1].at_ns if following is not None and following.at_ns <= clock.now_ns else clock.now_ns
        yield Moment(told_ns, tuple(due))
    clock.now_ns = max(clock.now_ns, end_ns())
    yield Moment(clock.now_ns, ())
