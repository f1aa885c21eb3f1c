"""Carries messages to one channel by Apprise, which speaks to Telegram, Discord, e-mail and a hundred others.

Apprise blocks, and whoever it speaks to may hang, so each message is sent in a thread that nobody waits for longer than
the time that was given; there is never more than one thread a channel.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import apprise
from pydantic import SecretStr

from escapement.errors import ConfigurationError
from escapement.services.announce import Message


class Postman:
    """Sends to one channel.

    Args:
        name: of the channel, for messages.
        url: Apprise's address of it.
        timeout_s: how long sending one message may take.

    Raises:
        ConfigurationError: Apprise does not know what the URL means.
    """

    def __init__(self, name: str, url: SecretStr, timeout_s: float) -> None:
        self.name = name
        self._timeout_s = timeout_s
        self._target = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Escapement", secure_logging=True))
        self._thread: threading.Thread | None = None
        # Whatever is wrong with it, its own words may hold the secret.
        if not self._target.add(url.get_secret_value()):
            raise ConfigurationError(
                f"notify.channels.{name} is no address that Apprise knows; see docs/notifications.md for examples"
            )

    async def send(self, message: Message, picture: Path | None = None) -> str:
        """Send a message; return why it may not have arrived, empty when it did."""
        if self._thread is not None and self._thread.is_alive():
            return "the message before still hangs"
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bool] = loop.create_future()

        def settle(*, arrived: bool) -> None:
            if not answer.done():
                answer.set_result(arrived)

        def deliver() -> None:
            kind = apprise.NotifyType.WARNING if message.urgent else apprise.NotifyType.INFO
            attach = None if picture is None else str(picture)
            # Named as plain text, so that what a channel takes for markup is escaped.
            plain = apprise.NotifyFormat.TEXT
            arrived = bool(self._target.notify(message.text, message.title, kind, body_format=plain, attach=attach))
            if not loop.is_closed():
                loop.call_soon_threadsafe(lambda: settle(arrived=arrived))

        self._thread = threading.Thread(target=deliver, name=f"notify {self.name}", daemon=True)
        self._thread.start()
        try:
            async with asyncio.timeout(self._timeout_s):
                return "" if await answer else "the channel refused it or does not answer"
        except TimeoutError:
            return f"it took longer than {self._timeout_s:g} s"
