"""What time it is at the venue."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from escapement.model import NS_PER_SECOND


class MarketClock:
    """Our own clock, or the stream's when a past session is replayed.

    Args:
        kind: ``system`` trusts our clock; ``stream`` the newest time heard.
        speed: how many times as quick as ours the stream's time runs on between what is heard; 0: not at all.
        now_ns: our clock, nanoseconds UTC.
    """

    def __init__(
        self, kind: Literal["system", "stream"], speed: float = 0.0, *, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.is_ours = kind == "system"
        self._speed = 1.0 if self.is_ours else speed
        self._now_ns = now_ns
        self._heard_ns = 0
        self._heard_s = 0.0

    def hear(self, at_ns: int) -> None:
        """Take note of a time that the venue told; what took longest to arrive counts least."""
        if not self.is_ours and at_ns > self.now_ns():
            self._heard_ns = at_ns
            self._heard_s = time.monotonic()

    def now_ns(self) -> int:
        """Return the venue's time, nanoseconds UTC; 0 before anything was heard."""
        if self.is_ours:
            return self._now_ns()
        if not self._speed or not self._heard_ns:
            return self._heard_ns
        return self._heard_ns + int((time.monotonic() - self._heard_s) * self._speed * NS_PER_SECOND)

    @property
    def runs(self) -> bool:
        """Whether time goes on although nothing is heard."""
        return self._speed > 0

    def real_s(self, market_s: float) -> float:
        """Return how many of our seconds ``market_s`` of the venue's take; at least a fiftieth of one."""
        return max(0.02, market_s / self._speed if self._speed else 0.0)
