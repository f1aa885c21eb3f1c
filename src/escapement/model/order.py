"""Orders and what comes of them. The numbers of the enums are the gateway's."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum

import msgspec

from escapement.errors import InvalidInput


class OrderType(IntEnum):
    """How an order is priced; the venue takes no stop-limit orders."""

    UNKNOWN = 0
    LIMIT = 1
    MARKET = 2
    STOP_LIMIT = 3
    STOP = 4
    TRAILING_STOP = 5
    JOIN_BID = 6
    JOIN_ASK = 7


class OrderSide(IntEnum):
    """Buy or sell."""

    BUY = 0
    SELL = 1


class OrderStatus(IntEnum):
    """Where an order stands; ``SUSPENDED`` is a bracket's leg that waits for its entry to fill."""

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
    """A stop or target that is placed when its entry fills; ``ticks`` from the fill, signed as the venue signs them."""

    ticks: int
    type: OrderType

    def __post_init__(self) -> None:
        if self.ticks == 0:
            raise InvalidInput("bracket ticks is 0; name the distance from the fill in ticks")


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order to place. Prices in points, ``size`` in contracts; ``custom_tag`` is unique within the account.

    Raises:
        InvalidInput: a price that the type needs is missing, one it does not know is given, or the size is below 1.
    """

    account_id: int
    contract_id: str
    type: OrderType
    side: OrderSide
    size: int
    limit_price: float | None = None
    stop_price: float | None = None
    trail_price: float | None = None
    custom_tag: str | None = None
    stop_loss: Bracket | None = None
    take_profit: Bracket | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InvalidInput(f"order size {self.size} is not positive; name how many contracts")
        if self.type in {OrderType.UNKNOWN, OrderType.STOP_LIMIT}:
            raise InvalidInput(f"order type {self.type.name} is not offered by the venue")
        needed = {OrderType.LIMIT: "limit_price", OrderType.STOP: "stop_price", OrderType.TRAILING_STOP: "trail_price"}
        for field in ("limit_price", "stop_price", "trail_price"):
            given = getattr(self, field) is not None
            if given != (needed.get(self.type) == field):
                raise InvalidInput(
                    f"order of type {self.type.name}: {field} {'is not known' if given else 'is missing'}"
                )


# Why no dataclasses: see Signal.
class Order(msgspec.Struct, frozen=True, gc=False):
    """An order as the venue knows it. Times nanoseconds UTC, prices points, sizes contracts.

    ``trail_price`` is read back as a distance in points. A bracket's legs carry ``parent_id``, and the target
    ``linked_id``, the id of its stop.
    """

    order_id: int
    account_id: int
    contract_id: str
    created_ns: int
    updated_ns: int | None
    status: OrderStatus
    type: OrderType
    side: OrderSide
    size: int
    filled_size: int = 0
    filled_price: float | None = None
    limit_price: float | None = None
    stop_price: float | None = None
    trail_price: float | None = None
    custom_tag: str | None = None
    parent_id: int | None = None
    linked_id: int | None = None


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One execution, the venue's half-turn trade. ``profit`` in account money is None for an opening one.

    ``voided``: the venue took it back.
    """

    fill_id: int
    account_id: int
    contract_id: str
    order_id: int
    at_ns: int
    side: OrderSide
    size: int
    price: float
    fees: Decimal
    profit: Decimal | None
    voided: bool
