"""The user hub: what happens to accounts, orders, positions and fills."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
import structlog

from escapement.errors import FeedProtocolError, GatewayProtocolError
from escapement.model import Account, Fill, Order, Position
from escapement.ports import AccountEvent, FeedLive, FeedLost
from escapement.projectx import payloads
from escapement.projectx.codec import Record
from escapement.projectx.hub import HubConnection, HubLive, HubLost, HubParams, HubRecords, Subscription
from escapement.projectx.rest import GatewayClient

log = structlog.get_logger(service="feed", hub="user")

UserEvent = AccountEvent | FeedLive | FeedLost

_READERS: dict[str, Callable[[payloads.Item], Account | Order | Position | Fill]] = {
    "GatewayUserAccount": payloads.account,
    "GatewayUserOrder": payloads.order,
    "GatewayUserPosition": payloads.position,
    "GatewayUserTrade": payloads.fill,
}


class UserFeed:
    """Everything the venue tells about some accounts; nothing is dropped or merged.

    After each ``FeedLive`` ask the gateway for orders, positions and fills: the stream does not repeat what was missed.

    Args:
        client: open; gives tokens.
        hub_url: the user hub, with http or https.
        account_ids: which accounts to listen to.
        params: timings of the connection.
    """

    def __init__(
        self, client: GatewayClient, hub_url: str, account_ids: Sequence[int], *, params: HubParams | None = None
    ) -> None:
        subscriptions = [Subscription("SubscribeAccounts")] + [
            Subscription(method, (account_id,))
            for account_id in account_ids
            for method in ("SubscribeOrders", "SubscribePositions", "SubscribeTrades")
        ]
        self._hub = HubConnection(client, hub_url, subscriptions, params or HubParams(), name="user")
        self.bad_records = 0

    async def events(self) -> AsyncIterator[UserEvent]:
        """Yield what happens, in order of arrival, until ``aclose``.

        Raises:
            GatewayRefused: the venue does not accept the credentials.
        """
        async for event in self._hub.events():
            match event:
                case HubRecords():
                    for record in event.records:
                        for fact in self._read(record, event):
                            yield fact
                case HubLive():
                    yield FeedLive(event.generation, event.received_ns)
                case HubLost():
                    yield FeedLost(event.generation, event.cause, event.received_ns)

    async def aclose(self) -> None:
        """End ``events`` in good order."""
        await self._hub.aclose()

    def _read(self, record: Record, event: HubRecords) -> Sequence[UserEvent]:
        reader = _READERS.get(record.target or "")
        if reader is None:
            return ()
        try:
            return [AccountEvent(read_user(record, reader), event.received_ns)]
        except FeedProtocolError as error:
            self.bad_records += 1
            log.warning("record_bad", reason=str(error), count=self.bad_records)
            # What it told is lost, so whoever listens has to ask.
            return [
                FeedLost(event.generation, "an event could not be read", event.received_ns),
                FeedLive(event.generation, event.received_ns),
            ]


def read_user(
    record: Record, reader: Callable[[payloads.Item], Account | Order | Position | Fill]
) -> Account | Order | Position | Fill:
    """Read the one argument of a user-hub record, wrapped in ``{"action", "data"}`` or bare.

    Raises:
        FeedProtocolError: it cannot be read; the message names the field.
    """
    try:
        arguments = msgspec.json.decode(record.arguments)
        item = arguments[0] if isinstance(arguments, list) and arguments else None
        if isinstance(item, dict) and isinstance(item.get("data"), dict):
            item = item["data"]
        return payloads.read_one(record.target or "", item, reader)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, GatewayProtocolError) as error:
        raise FeedProtocolError(f"{record.target} cannot be read: {error}") from None
