"""When and at what price an order trades against a tape that does not notice it.

Prices here are whole ticks, so that they compare and add exactly. The model sees prints only, so it is careful: market
orders and triggered stops cross the spread and pay slippage; a resting limit order trades in full when the market
trades through its price, and at its price only as much as was printed there beyond the volume queued ahead of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from escapement.errors import InvalidInput
from escapement.model import AggressorSide


class Side(IntEnum):
    """Side of an order as the gateway numbers it: a bid buys, an ask sells."""

    BUY = 0
    SELL = 1

    @property
    def sign(self) -> int:
        """Return 1 for buying, -1 for selling."""
        return 1 - 2 * int(self)

    @property
    def opposite(self) -> Side:
        """Return the other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


@dataclass(frozen=True, slots=True)
class FillModel:
    """How fills are estimated.

    ``spread_ticks`` between bid and ask; with 0 everything trades at the last print. ``slippage_ticks``: what market
    orders and stops pay beyond the quote. ``queue_ahead``: contracts that trade at a limit price before the order does.
    ``most_per_fill``: larger fills come in pieces of so many contracts; None fills at once. ``stops_fill_at``:
    ``print`` fills a stop at the print that triggered it, which shows gaps; ``stop`` at its own price, which suits
    tapes made from bars, whose prints lie far apart though the market passed every price between them.

    Raises:
        InvalidInput: a number is out of range.
    """

    spread_ticks: int = 1
    slippage_ticks: int = 0
    queue_ahead: int = 0
    most_per_fill: int | None = None
    stops_fill_at: str = "print"

    def __post_init__(self) -> None:
        for name, least in (("spread_ticks", 0), ("slippage_ticks", 0), ("queue_ahead", 0)):
            if getattr(self, name) < least:
                raise InvalidInput(f"{name} {getattr(self, name)} is below {least}; use {least} or more")
        if self.most_per_fill is not None and self.most_per_fill < 1:
            raise InvalidInput(f"most_per_fill {self.most_per_fill} is below 1; use 1 or more, or none")
        if self.stops_fill_at not in {"print", "stop"}:
            raise InvalidInput(f"stops_fill_at {self.stops_fill_at!r} is unknown; use print or stop")


@dataclass(slots=True)
class Quote:
    """Best bid, best ask and last price, in ticks."""

    bid: int
    ask: int
    last: int

    def best(self, side: Side) -> int:
        """Return the price at which ``side`` trades at once."""
        return self.ask if side is Side.BUY else self.bid

    def own(self, side: Side) -> int:
        """Return the best price among orders of ``side``."""
        return self.bid if side is Side.BUY else self.ask


def quote_after(quote: Quote | None, last: int, aggressor: AggressorSide, spread: int) -> Quote:
    """Return the quote that a print at ``last`` suggests: buyers print at the ask, sellers at the bid."""
    if aggressor is AggressorSide.BUY or (quote is not None and aggressor is AggressorSide.NONE and last >= quote.ask):
        return Quote(last - spread, last, last)
    if aggressor is AggressorSide.SELL or quote is None or last <= quote.bid:
        return Quote(last, last + spread, last)
    return Quote(quote.bid, quote.ask, last)


def market_price(side: Side, quote: Quote, model: FillModel) -> int:
    """Return where a market order trades now."""
    return quote.best(side) + side.sign * model.slippage_ticks


def crosses(side: Side, limit: int, quote: Quote) -> bool:
    """Whether a limit order would trade at once; it then trades at the quote."""
    return limit >= quote.ask if side is Side.BUY else limit <= quote.bid


def limit_volume(side: Side, limit: int, remaining: int, queued: int, last: int, volume: int) -> tuple[int, int]:
    """Return how much of a resting limit order trades on a print, and the volume still queued ahead of it.

    Args:
        side: of the order.
        limit: its price.
        remaining: contracts still to trade.
        queued: contracts ahead of it at its price.
        last: the print's price.
        volume: the print's volume.
    """
    beyond = (limit - last) * side.sign
    if beyond > 0:
        return remaining, 0
    if beyond < 0:
        return 0, queued
    return min(remaining, max(0, volume - queued)), max(0, queued - volume)


def is_triggered(side: Side, stop: int, last: int) -> bool:
    """Whether a print triggers a stop: a buying stop at or above its price, a selling one at or below."""
    return (last - stop) * side.sign >= 0


def stop_price(side: Side, stop: int, last: int, model: FillModel) -> int:
    """Return where a stop triggered by a print at ``last`` trades."""
    return (stop if model.stops_fill_at == "stop" else last) + side.sign * model.slippage_ticks


def range_price(side: Side, limit: int | None, stop: int | None, low: int, high: int, model: FillModel) -> int | None:
    """Return where an order trades while the market moves between ``low`` and ``high``; None when it does not.

    The way it took is not known, so the careful answer is given: a stop trades wherever its price lies within, a limit
    order only when the market went beyond its price, for at the price itself others may have been before it.
    """
    if stop is not None:
        reached = high >= stop if side is Side.BUY else low <= stop
        return stop + side.sign * model.slippage_ticks if reached else None
    if limit is not None:
        passed = low < limit if side is Side.BUY else high > limit
        return limit if passed else None
    return None


def trailed(side: Side, stop: int, distance: int, last: int) -> int:
    """Return where a trailing stop stands after a print: it follows at its distance and never goes back."""
    candidate = last + side.sign * distance
    return min(stop, candidate) if side is Side.BUY else max(stop, candidate)


def pieces(size: int, model: FillModel) -> list[int]:
    """Return the volumes in which ``size`` contracts fill."""
    most = model.most_per_fill or size
    return [most] * (size // most) + ([size % most] if size % most else [])
