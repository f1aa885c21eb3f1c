"""The market hub as a feed of trades."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import structlog

from escapement.errors import FeedProtocolError
from escapement.model import Trade
from escapement.ports import FeedEvent, FeedLive, FeedLost, FrameSink, TradesReceived, VenueTime
from escapement.projectx.codec import MarketCodec
from escapement.projectx.hub import HubConnection, HubLive, HubLost, HubParams, HubRecords, Subscription
from escapement.projectx.rest import GatewayClient

log = structlog.get_logger(service="feed", hub="market")

_BAD_LOGGED = 100


@dataclass(frozen=True, slots=True)
class FeedStatistics:
    """Counts since the start; ``bad_records`` could not be read and were skipped."""

    connections: int
    messages: int
    records: int
    trades: int
    bad_records: int


class MarketFeed:
    """Trades of some contracts, and the venue's time as their quotes tell it.

    Args:
        client: open; gives tokens.
        hub_url: the market hub, with http or https.
        contract_ids: which contracts to subscribe to.
        params: timings of the connection.
        recorder: gets every frame as it comes.
    """

    def __init__(
        self,
        client: GatewayClient,
        hub_url: str,
        contract_ids: Sequence[str],
        *,
        params: HubParams | None = None,
        recorder: FrameSink | None = None,
    ) -> None:
        subscriptions = [
            Subscription(method, (contract_id,))
            for method in ("SubscribeContractQuotes", "SubscribeContractTrades")
            for contract_id in contract_ids
        ]
        self._hub = HubConnection(
            client, hub_url, subscriptions, params or HubParams(), name="market", recorder=recorder
        )
        self._codec = MarketCodec()
        self._trades = 0
        self._bad = 0

    async def events(self) -> AsyncIterator[FeedEvent]:
        """Yield trades, venue time and the state of the connection, in order of arrival, until ``aclose``.

        Raises:
            GatewayRefused: the venue does not accept the credentials.
        """
        async for event in self._hub.events():
            match event:
                case HubRecords():
                    for fact in self._read(event):
                        yield fact
                case HubLive():
                    yield FeedLive(event.generation, event.received_ns)
                case HubLost():
                    yield FeedLost(event.generation, event.cause, event.received_ns)

    async def renew(self, cause: str) -> None:
        """Give up the connection, for ``cause``, and make another."""
        await self._hub.renew(cause)

    async def aclose(self) -> None:
        """End ``events`` in good order."""
        await self._hub.aclose()

    def statistics(self) -> FeedStatistics:
        """Return the counts so far."""
        hub = self._hub.statistics
        return FeedStatistics(hub.connections, hub.messages, hub.records, self._trades, hub.bad_records + self._bad)

    def _read(self, event: HubRecords) -> list[FeedEvent]:
        facts: list[FeedEvent] = []
        trades: list[Trade] = []  # of one message together, whatever their contracts
        for record in event.records:
            try:
                if record.target == "GatewayTrade":
                    read = self._codec.trades(record.arguments)
                    self._trades += len(read)
                    trades += read
                elif record.target == "GatewayQuote":
                    quote = self._codec.quote_time(record.arguments)
                    if quote is not None:
                        _flush(trades, facts, event.received_ns)
                        facts.append(VenueTime(*quote, event.received_ns))
            except FeedProtocolError as error:
                _flush(trades, facts, event.received_ns)
                facts += self._report(error, event, lost=record.target == "GatewayTrade")
        _flush(trades, facts, event.received_ns)
        return facts

    def _report(self, error: FeedProtocolError, event: HubRecords, *, lost: bool) -> list[FeedEvent]:
        self._bad += 1
        if self._bad <= _BAD_LOGGED or self._bad % 1_000 == 0:
            log.warning("record_bad", reason=str(error), count=self._bad)
        if not lost:
            return []
        return [
            FeedLost(event.generation, "a trade could not be read", event.received_ns),
            FeedLive(event.generation, event.received_ns),
        ]


def _flush(trades: list[Trade], facts: list[FeedEvent], received_ns: int) -> None:
    if trades:
        facts.append(TradesReceived(tuple(trades), received_ns))
        trades.clear()
