"""The venue's rate limits: so many calls in any window of so many seconds."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from escapement.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``calls`` in any ``seconds``."""

    calls: int
    seconds: float

    def __post_init__(self) -> None:
        if self.calls < 1 or self.seconds <= 0:
            raise InvalidInput(f"rate limit {self.calls} calls in {self.seconds} s; both must be positive")


# Source: the venue's documentation; copies of it differ between 30 and 50 bar requests, so the smaller is the default.
BARS_LIMIT = RateLimit(30, 30)
GENERAL_LIMIT = RateLimit(200, 60)


class Turnstile:
    """Lets callers through in order, never more than the limit in any window.

    A token bucket would let twice the limit through in one window (a full bucket, then its refill), which a venue that
    counts by sliding window answers with 429.
    """

    def __init__(self, limit: RateLimit, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._passed: deque[float] = deque(maxlen=limit.calls)
        self._order, self._urgent = asyncio.Lock(), asyncio.Lock()

    async def wait_turn(self, *, keep: int = 0) -> None:
        """Return when one more call is allowed, and count it.

        Args:
            keep: how many calls are left to those who keep none; they need not wait for those who do.
        """
        async with self._order if keep else self._urgent:
            while (wait := self._wait(self._limit.calls - keep)) > 0:  # noqa: ASYNC110 - it is time that is waited for
                await asyncio.sleep(wait)
            self._passed.append(self._clock())

    def _wait(self, most: int) -> float:
        """Return how long to wait until fewer than ``most`` calls lie in the window."""
        if len(self._passed) < most:
            return 0.0
        return self._passed[len(self._passed) - most] + self._limit.seconds - self._clock()
