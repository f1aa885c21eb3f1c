"""The market hub's wire format: SignalR records and ProjectX payloads to model values.

The venue sends trades as lists, sometimes as one object, with null entries and unknown fields; quotes come sparse.
Source: payloads recorded from live hubs, and the SignalR JSON hub protocol.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from escapement.errors import FeedProtocolError, InvalidInput
from escapement.model import AggressorSide, Trade
from escapement.moments import ns_from_iso

RECORD_SEPARATOR = b"\x1e"
INVOCATION, COMPLETION, PING, CLOSE = 1, 3, 6, 7
_NO_ARGUMENTS = msgspec.Raw(b"null")
_SIDES = {0: AggressorSide.BUY, 1: AggressorSide.SELL}
_REMEMBERED = 4_096
_UTC = ("+00:00", "Z")
_NS_PER_DIGIT = [int(10.0 ** (9 - digits)) for digits in range(10)]


class Record(msgspec.Struct, rename="camel"):
    """One SignalR record; ``arguments`` stay bytes until their target is known."""

    type: int
    target: str | None = None
    arguments: msgspec.Raw = _NO_ARGUMENTS
    invocation_id: str | None = None
    error: str | None = None
    allow_reconnect: bool | None = None


class _WireTrade(msgspec.Struct, rename="camel"):
    price: float
    timestamp: str
    volume: int
    type: int | None = None


class _WireQuote(msgspec.Struct, rename="camel"):
    timestamp: str | None = None
    last_updated: str | None = None


_record = msgspec.json.Decoder(Record)
_trades = msgspec.json.Decoder(tuple[str, list[_WireTrade | None] | _WireTrade | None])
_quote = msgspec.json.Decoder(tuple[str, _WireQuote | None])


def records(frame: bytes) -> Iterator[Record | FeedProtocolError]:
    """Yield the records of one WebSocket message; one that cannot be read as the error that says why."""
    for part in frame.split(RECORD_SEPARATOR):
        if part:
            try:
                yield _record.decode(part)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                yield FeedProtocolError(f"record of {len(part)} bytes cannot be read: {error}")


def record(message: dict[str, object]) -> str:
    """Return the text of one record to send."""
    return msgspec.json.encode(message).decode() + "\x1e"


class MarketCodec:
    """Reads the payloads of the market hub. It remembers recent seconds, because trades share them."""

    def __init__(self) -> None:
        self._seconds: dict[str, int] = {}

    def trades(self, arguments: msgspec.Raw) -> tuple[Trade, ...]:
        """Read the arguments of ``GatewayTrade``: contract id, and a list of trades or one.

        Raises:
            FeedProtocolError: they cannot be read, or a time has no zone; the message names the field.
        """
        try:
            contract_id, wire = _trades.decode(arguments)
            listed = wire if isinstance(wire, list) else (wire,)
            return tuple(
                [
                    Trade(
                        contract_id, self._time(trade.timestamp), trade.price, trade.volume,
                        AggressorSide.NONE if trade.type is None else _SIDES.get(trade.type, AggressorSide.NONE),
                    )
                    for trade in listed
                    if trade is not None
                ]
            )  # fmt: skip
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidInput, OverflowError) as error:
            raise FeedProtocolError(f"GatewayTrade cannot be read: {error}") from None

    def quote_time(self, arguments: msgspec.Raw) -> tuple[str, int] | None:
        """Read from the arguments of ``GatewayQuote`` the contract id and the venue's time; None when it says none.

        Raises:
            FeedProtocolError: they cannot be read, or the time has no zone.
        """
        try:
            contract_id, quote = _quote.decode(arguments)
            text = None if quote is None else quote.last_updated or quote.timestamp
            return None if text is None else (contract_id, self._time(text))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidInput, OverflowError) as error:
            raise FeedProtocolError(f"GatewayQuote cannot be read: {error}") from None

    def _time(self, text: str) -> int:
        """Return nanoseconds UTC. The usual form in UTC is taken apart, several times quicker than reading it whole.

        Raises:
            InvalidInput: no ISO 8601 time, or no zone.
        """
        second = self._seconds.get(text[:19])
        if second is None:
            second = ns_from_iso(text[:19] + "Z")
            if len(self._seconds) >= _REMEMBERED:
                self._seconds.clear()
            self._seconds[text[:19]] = second
        digits = text[20:-6] if text.endswith("+00:00") else text[20:-1]
        if digits.isdecimal() and digits.isascii() and len(digits) <= 9 and text[19] == "." and text.endswith(_UTC):
            return second + int(digits) * _NS_PER_DIGIT[len(digits)]
        return ns_from_iso(text)
