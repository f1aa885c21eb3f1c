"""Redis Pub/Sub as the doorbell between processes, in place of LISTEN and NOTIFY.

It only says that tables changed. What changed stands in the tables, which every service also looks at by itself every
few seconds: while Redis is away everything takes that much longer, and nothing is lost. A writer never waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

import structlog
from pydantic import SecretStr

from escapement.errors import ConfigurationError, not_installed

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = structlog.get_logger(service="bus")

_MOST_WAITING = 10_000
_TIMEOUT_S = 2.0
_RETRY_S = 1.0
_CHECK_S = 5.0
_LAST_WORD_S = 1.0


class RedisBus:
    """A connection to Redis for ringing, and one for each that listens; use it with ``async with``.

    Args:
        url: ``redis://user:password@host:port/0``, or ``rediss://`` for TLS; appears in no log and no error.
        prefix: what the channels' names begin with, so that databases which share a Redis do not wake one another.

    Raises:
        ConfigurationError: the package redis is not there, or the URL cannot be read.
    """

    def __init__(self, url: SecretStr, prefix: str) -> None:
        self._url = url
        self._prefix = prefix
        self._waiting: dict[tuple[str, str], None] = {}
        self._rung = asyncio.Event()
        self._is_away = False
        self._redis = self._connect()
        self._telling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._telling = asyncio.create_task(self._tell())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)
        if self._waiting and not self._is_away:
            await self._publish(_LAST_WORD_S)
        await self._redis.aclose()

    def ring(self, channel: str, payloads: Iterable[str]) -> None:
        """Have everyone who listens to a channel told, soon; the same is told once, and too much is dropped."""
        for payload in payloads:
            if len(self._waiting) < _MOST_WAITING:
                self._waiting[channel, payload] = None
        self._rung.set()

    async def listen(self, channels: Sequence[str], hear: Callable[[str, str], None]) -> None:
        """Call ``hear`` with channel and payload until cancelled, and with two empty texts when listening begins."""
        from redis import RedisError  # noqa: PLC0415 - an optional package

        while True:
            redis = self._connect()
            try:
                await self._listen_once(redis, channels, hear)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("doorbell_lost", reason=_words(error))
            finally:
                await redis.aclose()
            await asyncio.sleep(_RETRY_S)

    async def _listen_once(self, redis: Redis, channels: Sequence[str], hear: Callable[[str, str], None]) -> None:
        async with redis.pubsub() as heard:
            await heard.subscribe(*(self._prefix + channel for channel in channels))
            left, was_asked = len(channels), False
            while True:
                message = await heard.get_message(timeout=_CHECK_S)
                if message is None and was_asked:
                    raise TimeoutError("the connection has fallen silent")
                was_asked = message is None
                if message is None:
                    # A connection whose other end is gone without a word is found by asking, on this very connection.
                    await asyncio.wait_for(heard.ping(), _TIMEOUT_S)
                elif message["type"] == "subscribe":
                    left -= 1
                    if not left:  # anything may have happened before
                        hear("", "")
                elif message["type"] == "message":
                    hear(message["channel"].decode().removeprefix(self._prefix), message["data"].decode())

    async def _tell(self) -> None:
        while True:
            await self._rung.wait()
            self._rung.clear()
            if not await self._publish(_TIMEOUT_S):
                await asyncio.sleep(_RETRY_S)

    async def _publish(self, within_s: float) -> bool:
        """Publish what waits; return False when Redis does not answer, and what waited is dropped."""
        from redis import RedisError  # noqa: PLC0415 - an optional package

        rung, self._waiting = list(self._waiting), {}
        try:
            async with asyncio.timeout(within_s), self._redis.pipeline(transaction=False) as pipeline:
                for channel, payload in rung:
                    pipeline.publish(self._prefix + channel, payload)
                await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            if not self._is_away:
                log.warning("bus_away", reason=_words(error))
            self._is_away = True
            return False
        if self._is_away:
            log.info("bus_back")
        self._is_away = False
        return True

    def _connect(self) -> Redis:
        try:
            from redis.asyncio import Redis  # noqa: PLC0415 - an optional package
            from redis.asyncio.retry import Retry  # noqa: PLC0415
            from redis.backoff import NoBackoff  # noqa: PLC0415
        except ImportError:
            raise not_installed("redis speaks to bus.redis_url", "redis", "leave the setting out") from None
        try:
            # It tries nothing again by itself, so that whoever listens knows that he was deaf for a while.
            return Redis.from_url(
                self._url.get_secret_value(), socket_connect_timeout=_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
            )
        except ValueError:
            raise ConfigurationError("bus.redis_url cannot be read; write redis://user:password@host:port/0") from None


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
