"""Orders as the simulated venue keeps them, and how the gateway shows them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from enum import IntEnum
from typing import Any, Self

from escapement.model import PriceGrid
from escapement.simulator.fills import Side
from escapement.simulator.wire import stamp


class OrderType(IntEnum):
    """The gateway's numbers."""

    UNKNOWN = 0
    LIMIT = 1
    MARKET = 2
    STOP_LIMIT = 3
    STOP = 4
    TRAILING_STOP = 5
    JOIN_BID = 6
    JOIN_ASK = 7


class OrderStatus(IntEnum):
    """The gateway's numbers; 8 is a bracket leg whose entry has not filled."""

    NONE = 0
    OPEN = 1
    FILLED = 2
    CANCELLED = 3
    EXPIRED = 4
    REJECTED = 5
    PENDING = 6
    PENDING_CANCELLATION = 7
    SUSPENDED = 8


@dataclass(frozen=True, slots=True)
class Bracket:
    """A leg wanted with an entry: ``ticks`` from the fill, signed or not, and the leg's order type."""

    ticks: int
    type: OrderType


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What ``Order/place`` asks for; prices in points."""

    account_id: int
    contract_id: str
    type: int
    side: int
    size: int
    limit_price: float | None = None
    stop_price: float | None = None
    trail_price: float | None = None
    custom_tag: str | None = None
    stop_loss: Bracket | None = None
    take_profit: Bracket | None = None


@dataclass(slots=True)
class Order:
    """One order; prices in ticks, times in nanoseconds UTC.

    ``queued`` is the volume ahead of it at its limit, ``cost`` the sum of its fills in ticks times contracts,
    ``bracket_ticks`` a suspended leg's distance from the entry's fill, ``sibling_id`` the other leg. ``closes``: it
    closes a position, and trades no more than is still held.
    """

    order_id: int
    account_id: int
    contract_id: str
    created_ns: int
    updated_ns: int
    type: OrderType
    side: Side
    size: int
    status: OrderStatus = OrderStatus.PENDING
    limit: int | None = None
    stop: int | None = None
    trail: int | None = None
    custom_tag: str | None = None
    parent_id: int | None = None
    sibling_id: int | None = None
    bracket_ticks: int | None = None
    is_target: bool = False
    queued: int = 0
    filled: int = 0
    cost: int = 0
    closes: bool = False

    @property
    def remaining(self) -> int:
        """Contracts still to trade."""
        return self.size - self.filled

    @property
    def is_working(self) -> bool:
        """Whether the order can still trade."""
        return self.status in {OrderStatus.OPEN, OrderStatus.PENDING, OrderStatus.SUSPENDED}

    def plain(self) -> dict[str, Any]:
        """Return the order as plain data."""
        return asdict(self)

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Self:
        """Return the order that ``plain`` told of."""
        own = {field.name: data[field.name] for field in fields(cls) if field.name in data}
        own |= {"type": OrderType(own["type"]), "side": Side(own["side"]), "status": OrderStatus(own["status"])}
        return cls(**own)


def order_json(order: Order, grid: PriceGrid, symbol_id: str) -> dict[str, object]:
    """Return an order in the gateway's fields and their order, nulls included."""

    def price(ticks: int | None) -> float | None:
        return None if ticks is None else grid.price(ticks)

    trail = None if order.trail is None else order.side.sign * order.trail
    return {
        "id": order.order_id, "accountId": order.account_id, "contractId": order.contract_id, "symbolId": symbol_id,
        "creationTimestamp": stamp(order.created_ns), "updateTimestamp": stamp(order.updated_ns),
        "status": int(order.status), "type": int(order.type), "side": int(order.side), "size": order.size,
        "limitPrice": price(order.limit), "stopPrice": price(order.stop), "fillVolume": order.filled,
        "filledPrice": grid.mean(order.cost, order.filled) if order.filled else None, "customTag": order.custom_tag,
        "trailDistance": trail, "trailPrice": price(trail), "parentOrderId": order.parent_id,
        # The venue links the target to the stop and not the other way round.
        "linkedOrderId": order.sibling_id if order.is_target else None,
    }  # fmt: skip
