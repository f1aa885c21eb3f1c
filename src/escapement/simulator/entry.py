"""Whether the venue accepts an order: the checks of ``Order/place`` and ``Order/modify``, and the prices they yield."""

from __future__ import annotations

from collections.abc import Container

from escapement.model import PriceGrid
from escapement.simulator.fills import Quote, Side
from escapement.simulator.orders import Bracket, Order, OrderRequest, OrderStatus, OrderType

REJECTED = 2
LONGEST_TRAIL_TICKS = 1_000
_POSITION_BRACKETS = "Brackets cannot be used with Position Brackets. You must enable Auto OCO Brackets."
_STOP_TYPES = {OrderType.STOP, OrderType.TRAILING_STOP}


class Objection(Exception):
    """Why the venue refuses; ``code`` is of ``Order/place``."""

    def __init__(self, message: str, code: int = REJECTED) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


def check_request(request: OrderRequest, bracket_mode: str, tags: Container[str], *, signed_ticks: bool) -> None:
    """Check everything about a new order but its prices; ``tags`` are those that its account has used.

    Raises:
        Objection: the venue rejects it.
    """
    if request.size < 1:
        raise Objection("Invalid order size.")
    brackets = [each for each in (request.stop_loss, request.take_profit) if each is not None]
    if brackets and bracket_mode == "position":
        raise Objection(_POSITION_BRACKETS)
    sign = Side(request.side).sign
    _check_bracket(request.stop_loss, _STOP_TYPES, "stop loss", -sign if signed_ticks else 0)
    _check_bracket(request.take_profit, {OrderType.LIMIT}, "take profit", sign if signed_ticks else 0)
    tag = request.custom_tag
    if tag is not None and tag in tags:
        raise Objection("Custom tag already in use.")


def set_prices(order: Order, request: OrderRequest, grid: PriceGrid, quote: Quote | None) -> None:
    """Give a new order the prices its type works with.

    Raises:
        Objection: one is missing, off the tick grid or impossible.
    """
    match order.type:
        case OrderType.LIMIT:
            order.limit = aligned(request.limit_price, grid, "limit")
        case OrderType.STOP:
            order.stop = aligned(request.stop_price, grid, "stop")
        case OrderType.TRAILING_STOP:
            set_trail(order, request.trail_price, grid, quote, longest=LONGEST_TRAIL_TICKS)
        case OrderType.JOIN_BID | OrderType.JOIN_ASK:
            if quote is None:
                raise Objection("Cannot join without a best price.")
            order.limit = quote.bid if order.type is OrderType.JOIN_BID else quote.ask
        case OrderType.MARKET:
            pass
        case _:
            raise Objection("Invalid order type.")


def set_changes(
    order: Order,
    grid: PriceGrid,
    quote: Quote | None,
    *,
    size: int | None,
    limit_price: float | None,
    stop_price: float | None,
    trail_price: float | None,
) -> None:
    """Apply ``Order/modify`` to an order, all of it or nothing; what does not belong to its type is ignored.

    Raises:
        Objection: a value is impossible.
    """
    if size is not None and size <= order.filled:
        raise Objection("Invalid order size.")
    limit, stop = order.limit, order.stop
    if limit_price is not None and order.type is OrderType.LIMIT:
        limit = aligned(limit_price, grid, "limit")
    if stop_price is not None and order.type is OrderType.STOP:
        stop = aligned(stop_price, grid, "stop")
    if trail_price is not None and order.type is OrderType.TRAILING_STOP:
        set_trail(order, trail_price, grid, quote, longest=None)
        stop = order.stop
    order.limit, order.stop = limit, stop
    if size is not None:
        order.size = size


def aligned(price: float | None, grid: PriceGrid, name: str) -> int:
    """Return a price in ticks.

    Raises:
        Objection: it is missing, not positive, or between two ticks.
    """
    if price is None or price <= 0:
        raise Objection(f"Invalid {name} price.")
    ticks = grid.exact(price)
    if ticks is None:
        raise Objection(f"Invalid {name} price. Price is not aligned to tick size.")
    return ticks


def set_trail(
    order: Order, trail_price: float | None, grid: PriceGrid, quote: Quote | None, *, longest: int | None
) -> None:
    """Turn an absolute trail price into a distance from the last price.

    Raises:
        Objection: in the venue's documented words.
    """
    if trail_price is None:
        raise Objection("Trail Distance not set.")
    if quote is None:
        raise Objection("Cannot trail without a last price")
    ticks = grid.exact(trail_price)
    if ticks is None:
        raise Objection("Invalid trail price. Price is not aligned to tick size.")
    distance = abs(quote.last - ticks)
    if distance == 0:
        raise Objection("Trail Distance not set.")
    if longest is not None and distance > longest:
        raise Objection(f"Trail Distance exceeds maximum ({longest})")
    order.trail = distance
    order.stop = quote.last + order.side.sign * distance


def legs_of(entry: Order, request: OrderRequest, first_id: int) -> list[Order]:
    """Return the suspended bracket legs of an entry, stop first, with consecutive ids from ``first_id``."""
    legs: list[Order] = []
    wanted = ((request.stop_loss, "SL", False), (request.take_profit, "TP", True))
    for bracket, suffix, is_target in wanted:
        if bracket is not None:
            legs.append(
                Order(
                    first_id + len(legs), entry.account_id, entry.contract_id, entry.created_ns, entry.created_ns,
                    bracket.type, entry.side.opposite, entry.size, OrderStatus.SUSPENDED, is_target=is_target,
                    custom_tag=None if entry.custom_tag is None else f"{entry.custom_tag}-{suffix}",
                    parent_id=entry.order_id, bracket_ticks=abs(bracket.ticks),
                )
            )  # fmt: skip
    if len(legs) == 2:
        legs[0].sibling_id, legs[1].sibling_id = legs[1].order_id, legs[0].order_id
    return legs


def place_leg(leg: Order, fill_ticks: int) -> None:
    """Give a leg its prices from the fill of its entry."""
    distance = leg.bracket_ticks or 0
    # A leg's own side says where it lies: a selling target above the fill, a selling stop below.
    if leg.is_target:
        leg.limit = fill_ticks - leg.side.sign * distance
    else:
        leg.stop = fill_ticks + leg.side.sign * distance
        leg.trail = distance if leg.type is OrderType.TRAILING_STOP else None


def _check_bracket(bracket: Bracket | None, types: set[OrderType], name: str, sign: int) -> None:
    if bracket is None:
        return
    if bracket.type not in types:
        raise Objection(f"Invalid {name} bracket type.")
    if bracket.ticks == 0 or bracket.ticks * sign < 0:
        raise Objection(f"Invalid {name} bracket ticks.")
