"""The objects in REST answers and user-hub records, to model values; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from escapement.errors import GatewayProtocolError, InvalidInput
from escapement.model import (
    Account,
    Bar,
    Contract,
    Fill,
    Order,
    OrderSide,
    OrderStatus,
    OrderType,
    Position,
    SessionCalendar,
    Timeframe,
)
from escapement.moments import ns_from_iso

Item = Mapping[str, Any]
Value = TypeVar("Value")

_SHORT = 2


def read_one(endpoint: str, item: object, reader: Callable[[Item], Value]) -> Value:
    """Read one object.

    Raises:
        GatewayProtocolError: a field is missing or has an impossible value; both are named.
    """
    if not isinstance(item, Mapping):
        raise GatewayProtocolError(f"{endpoint}: the answer has {type(item).__name__} in place of an object")
    try:
        return reader(item)
    except KeyError as error:
        raise GatewayProtocolError(f"{endpoint}: field {error} is missing") from None
    except (ValueError, TypeError, ArithmeticError, InvalidInput) as error:
        raise GatewayProtocolError(f"{endpoint}: a field has an impossible value: {error}") from None


def read_all(endpoint: str, items: object, reader: Callable[[Item], Value]) -> list[Value]:
    """Read a list of objects; null is an empty list.

    Raises:
        GatewayProtocolError: it is no list, or one of its objects cannot be read.
    """
    if items is None:
        return []
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise GatewayProtocolError(f"{endpoint}: the answer has {type(items).__name__} in place of a list")
    return [read_one(endpoint, item, reader) for item in items]


def account(item: Item) -> Account:
    """Read an account."""
    return Account(
        int(item["id"]), str(item["name"]), _money(item["balance"]), bool(item["canTrade"]), bool(item["isVisible"]),
        bool(item.get("simulated", False)),
    )  # fmt: skip


def contract(item: Item) -> Contract:
    """Read a contract."""
    return Contract(
        contract_id=str(item["id"]), name=str(item["name"]), description=str(item["description"]),
        tick_size=_money(item["tickSize"]), tick_value=_money(item["tickValue"]),
        active=bool(item["activeContract"]), symbol_id=str(item["symbolId"]),
    )  # fmt: skip


def order(item: Item) -> Order:
    """Read an order."""
    updated = item.get("updateTimestamp")
    return Order(
        order_id=int(item["id"]), account_id=int(item["accountId"]), contract_id=str(item["contractId"]),
        created_ns=ns_from_iso(item["creationTimestamp"]), updated_ns=None if updated is None else ns_from_iso(updated),
        status=OrderStatus(item["status"]), type=OrderType(item["type"]), side=OrderSide(item["side"]),
        size=int(item["size"]), filled_size=int(item.get("fillVolume") or 0), filled_price=_price(item, "filledPrice"),
        limit_price=_price(item, "limitPrice"), stop_price=_price(item, "stopPrice"),
        trail_price=_price(item, "trailPrice"), custom_tag=item.get("customTag"),
        parent_id=item.get("parentOrderId"), linked_id=item.get("linkedOrderId"),
    )  # fmt: skip


def position(item: Item) -> Position:
    """Read a position; the venue gives the size without a sign and the direction beside it."""
    size = int(item["size"])
    return Position(
        int(item["accountId"]), str(item["contractId"]), ns_from_iso(item["creationTimestamp"]),
        -size if item["type"] == _SHORT else size, float(item["averagePrice"]),
    )  # fmt: skip


def fill(item: Item) -> Fill:
    """Read a half-turn trade."""
    profit = item.get("profitAndLoss")
    return Fill(
        int(item["id"]), int(item["accountId"]), str(item["contractId"]), int(item["orderId"]),
        ns_from_iso(item["creationTimestamp"]), OrderSide(item["side"]), int(item["size"]), float(item["price"]),
        _money(item["fees"]) + _money(item.get("commissions") or 0), None if profit is None else _money(profit),
        bool(item.get("voided", False)),
    )  # fmt: skip


def bar_reader(
    contract_id: str, timeframe: Timeframe, calendar: SessionCalendar
) -> Callable[[Item], tuple[int, Bar | None]]:
    """Return a reader of that contract's bars with their timestamps; the calendar tells when each ends.

    Of a time at which the market is closed by the calendar there is no bar: trades of then are left out everywhere.
    """

    def bar(item: Item) -> tuple[int, Bar | None]:
        start_ns = ns_from_iso(item["t"])
        interval = calendar.interval_labelled(timeframe, start_ns)
        if interval is None and timeframe.is_intraday and not calendar.is_open(start_ns):
            return start_ns, None
        if interval is None:
            raise InvalidInput(f"t {item['t']!r} begins no {timeframe} bar of calendar {calendar.name}")
        return start_ns, Bar(
            contract_id, timeframe, start_ns, interval.end_ns,
            float(item["o"]), float(item["h"]), float(item["l"]), float(item["c"]), int(item["v"]),
        )  # fmt: skip

    return bar


def _price(item: Item, name: str) -> float | None:
    value = item.get(name)
    return None if value is None else float(value)


def _money(value: object) -> Decimal:
    return Decimal(str(value))
