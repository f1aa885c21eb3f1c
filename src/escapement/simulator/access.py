"""Who may call the simulated venue, and how often."""

from __future__ import annotations

import base64
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson

_MOST_TOKENS = 10_000


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``calls`` in any ``seconds``."""

    calls: int
    seconds: float


class RateWindow:
    """Counts calls in a sliding window. Whether the venue's window slides is not known."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._calls: deque[float] = deque()

    def admits(self, now_s: float) -> bool:
        """Count a call and return whether it is within the limit; refused calls do not count."""
        while self._calls and self._calls[0] <= now_s - self._limit.seconds:
            self._calls.popleft()
        if len(self._calls) >= self._limit.calls:
            return False
        self._calls.append(now_s)
        return True


class Tokens:
    """Session tokens in the form of JWTs; a new one leaves older ones valid, as at the venue.

    Args:
        lifetime_s: how long a token is good for.
        clock: real time in seconds since 1970, because clients compare it with the ``exp`` they read.
    """

    def __init__(self, lifetime_s: float, clock: Callable[[], float]) -> None:
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._valid: dict[str, tuple[str, float]] = {}

    def issue(self, user: str) -> str:
        """Return a new token for a user."""
        expires = self._clock() + self._lifetime_s
        claims = {"sub": user, "jti": secrets.token_hex(8), "exp": int(expires) if self._lifetime_s >= 60 else expires}
        token = f"{_base64({'alg': 'HS256', 'typ': 'JWT'})}.{_base64(claims)}.{secrets.token_urlsafe(32)}"
        if len(self._valid) >= _MOST_TOKENS:
            del self._valid[next(iter(self._valid))]
        self._valid[token] = user, expires
        return token

    def user_of(self, token: str) -> str | None:
        """Return whose valid token this is."""
        user, expires = self._valid.get(token, (None, 0.0))
        return user if expires > self._clock() else None

    def forget(self, token: str) -> None:
        """Make one token invalid."""
        self._valid.pop(token, None)

    def expire_all(self) -> None:
        """Make every token given out so far invalid."""
        self._valid.clear()


def _base64(value: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=").decode()
