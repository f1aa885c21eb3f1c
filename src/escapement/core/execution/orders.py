"""What is known of one order, whatever order its news comes in.

News of an order comes twice (on the stream and by asking), late, and not in order. Here each observation is joined to
what was known: the newest word on size and prices, the largest fill, the status that lies furthest on an order's way.
Joining is commutative, associative and idempotent, so that all who saw the same observations know the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from msgspec import structs

from escapement.model import Order, OrderStatus, OrderType

STOPS: Final = frozenset({OrderType.STOP, OrderType.TRAILING_STOP})
ENDED: Final = frozenset(
    {OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REJECTED}
)  # fmt: skip
# How far on its way an order is. Ends lie behind everything else; which of two contradicting ends counts is settled
# here only so that it is the same one everywhere.
_WAY: Final = (
    OrderStatus.NONE, OrderStatus.PENDING, OrderStatus.SUSPENDED, OrderStatus.OPEN, OrderStatus.PENDING_CANCELLATION,
    OrderStatus.REJECTED, OrderStatus.EXPIRED, OrderStatus.CANCELLED, OrderStatus.FILLED,
)  # fmt: skip
_PLACES: Final = {status: place for place, status in enumerate(_WAY)}
_Identity = tuple[int, str, int, int]


class OrderRecord(NamedTuple):
    """All observations of one order, joined."""

    terms: Order
    fills: Order
    standing: Order
    tag: str
    ends: frozenset[OrderStatus]
    identities: frozenset[_Identity]

    @classmethod
    def of(cls, order: Order) -> OrderRecord:
        """Return what one observation tells."""
        return cls(
            order, order, order, order.custom_tag or "", _ends_of(order.status),
            _identities_of(_identity(order)),
        )  # fmt: skip

    def joined(self, other: OrderRecord) -> OrderRecord:
        """Return what both tell together."""
        return OrderRecord(
            _last(self.terms, other.terms, _time),
            _last(self.fills, other.fills, _fill),
            _last(self.standing, other.standing, _way),
            max(self.tag, other.tag),
            _union(self.ends, other.ends),
            _union(self.identities, other.identities),
        )

    @property
    def order(self) -> Order:
        """The order as it stands by all that is known."""
        if self.terms is self.standing is self.fills and self.tag == (self.terms.custom_tag or ""):
            return self.terms
        return structs.replace(
            self.terms,
            status=self.standing.status,
            filled_size=self.fills.filled_size,
            filled_price=self.fills.filled_price,
            custom_tag=self.tag or None,
        )

    @property
    def faults(self) -> tuple[str, ...]:
        """What observations contradict, in words; empty for an order whose news fits together."""
        order = self.order
        faults = []
        if len(self.ends) > 1:
            faults.append(f"it ended as {' and as '.join(sorted(each.name.lower() for each in self.ends))}")
        if len(self.identities) > 1:
            faults.append("its account, contract, side or type differ between what was told of it")
        if order.status is OrderStatus.FILLED and order.filled_size < order.size:
            faults.append(f"it is filled with {order.filled_size} of {order.size} contracts")
        if order.status is OrderStatus.REJECTED and order.filled_size:
            faults.append(f"it is rejected with {order.filled_size} contracts filled")
        return tuple(faults)


def is_working(order: Order) -> bool:
    """Whether an order can still trade, or wait for that."""
    return order.status not in ENDED


def remaining(order: Order) -> int:
    """Return how many contracts an order can still trade; none when it has ended."""
    return max(0, order.size - order.filled_size) if is_working(order) else 0


# There are millions of orders and few such sets, which they share.
@cache
def _ends_of(status: OrderStatus) -> frozenset[OrderStatus]:
    return frozenset({status}) & ENDED


@lru_cache(maxsize=1_024)
def _identities_of(identity: _Identity) -> frozenset[_Identity]:
    return frozenset({identity})


def _union(one: frozenset[Any], other: frozenset[Any]) -> frozenset[Any]:
    """Return both together, as one of the two where it holds the other."""
    return other if one <= other else one if other <= one else one | other


def _identity(order: Order) -> _Identity:
    return order.account_id, order.contract_id, int(order.side), int(order.type)


def _last(one: Order, other: Order, place: Callable[[Order], tuple[int, int]]) -> Order:
    """Return the observation that counts: the one that lies further on, and of two in one place always the same."""
    here, there = place(one), place(other)
    if here == there:
        return one if _content(one) >= _content(other) else other
    return one if here > there else other


def _time(order: Order) -> tuple[int, int]:
    # An observation without a time is our own, made when the order was accepted.
    return order.updated_ns or 0, _PLACES[order.status]


def _fill(order: Order) -> tuple[int, int]:
    return order.filled_size, order.updated_ns or 0


def _way(order: Order) -> tuple[int, int]:
    return _PLACES[order.status], order.updated_ns or 0


def _content(order: Order) -> tuple[object, ...]:
    """Order observations of the same time by all they say, so that the same one is chosen everywhere."""
    prices = order.limit_price, order.stop_price, order.trail_price, order.filled_price
    return (
        _PLACES[order.status], order.size, order.filled_size, *((each is not None, each or 0.0) for each in prices),
        order.created_ns, order.updated_ns is not None, order.custom_tag or "", order.parent_id or 0,
        order.linked_id or 0, *_identity(order),
    )  # fmt: skip
