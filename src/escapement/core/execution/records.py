"""What is kept of execution between two runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from escapement.core.execution.holdings import Lot
from escapement.core.execution.steps import Standing
from escapement.core.execution.tags import Role, decision_of, role_of
from escapement.model import Order, OrderRequest, OrderSide, OrderType

INTENDED, LAPSED = "intended", "lapsed"


@dataclass(frozen=True, slots=True)
class Wish:
    """The position wished of a contract by its newest decision, ``direction`` long, short or flat.

    ``standing`` is where its entry stands, ``known_at_ns`` (UTC) when anyone could have decided so.
    """

    contract_id: str
    decision_id: str
    number: int
    direction: int
    known_at_ns: int
    data_complete: bool
    standing: Standing = Standing.WAITING


@dataclass(frozen=True, slots=True)
class KeptAccount:
    """An account as it was kept; see the table ``execution_accounts`` for what the fields mean."""

    account: str
    account_id: int
    mode: str
    since_ns: int
    start_balance: Decimal
    held_before: Mapping[str, tuple[Lot, ...]]
    last_decision_number: int = 0
    blocked: str = ""
    blocked_until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class OrderNote:
    """An order as it is written down; ``status`` in words. See the table ``orders``."""

    key: str
    venue_order_id: int | None
    contract_id: str
    decision_id: str | None
    role: Role
    type: OrderType
    side: OrderSide
    size: int
    limit_price: float | None
    stop_price: float | None
    status: str
    filled_size: int = 0
    filled_price: float | None = None
    refusal: str = ""
    created_ns: int | None = None
    intended_ns: int | None = None
    accepted_ns: int | None = None

    @classmethod
    def of(cls, order: Order, refusal: str = "") -> OrderNote:
        """Return what there is to write down of an order at the venue."""
        return cls(
            order.custom_tag or f"#{order.order_id}", order.order_id, order.contract_id, decision_of(order.custom_tag),
            role_of(order.custom_tag), order.type, order.side, order.size, order.limit_price, order.stop_price,
            order.status.name.lower(), order.filled_size, order.filled_price, refusal, order.created_ns,
        )  # fmt: skip

    @classmethod
    def intended(cls, request: OrderRequest, decision_id: str | None) -> OrderNote:
        """Return what there is to write down of an order before it is sent; it has a custom tag."""
        return cls(
            request.custom_tag or "", None, request.contract_id, decision_id, role_of(request.custom_tag), request.type,
            request.side, request.size, request.limit_price, request.stop_price, INTENDED,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class HoldingNote:
    """What is held of a contract, as it is written down. See the table ``positions``."""

    contract_id: str
    net: int
    foreign_net: int
    average_price: float | None
    protected: int
    made: Decimal
    tick_size: Decimal
    tick_value: Decimal
    account: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the venue and our book differed, and what was done about it."""

    kind: str
    subject: str
    ours: str
    venues: str
    action: str


@dataclass(frozen=True, slots=True)
class AccountDay:
    """Where an account stood on a trading day; money after fees. See the table ``account_snapshots``."""

    trade_date: date
    start_balance: Decimal
    balance: Decimal
    highest_balance: Decimal
    equity: Decimal
    highest_equity: Decimal


@dataclass(frozen=True, slots=True)
class KillSwitch:
    """Whether all trading is stopped, why, by whom, and since when (nanoseconds UTC)."""

    killed: bool = False
    reason: str = ""
    by: str = ""
    at_ns: int = 0
