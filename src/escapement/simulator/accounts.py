"""Accounts of the simulated venue: balance, positions and half-turn trades.

Positions close first in, first out, so that every profit is a whole number of ticks. Money is Decimal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from decimal import Decimal
from typing import Any, Literal, Self

from escapement.model import Contract, PriceGrid
from escapement.simulator.fills import Side
from escapement.simulator.wire import stamp


@dataclass(frozen=True, slots=True)
class AccountSpec:
    """An account as it begins.

    ``user`` owns it. ``commission`` and ``fees`` are money per contract and side. ``margin``: money that has to be
    there per contract of a new position. ``bracket_mode`` ``position`` refuses brackets on orders; ``follower`` and a
    live account (``simulated`` False) refuse cancelling.
    """

    account_id: int
    name: str
    user: str
    balance: Decimal = Decimal(50_000)
    can_trade: bool = True
    visible: bool = True
    simulated: bool = True
    follower: bool = False
    bracket_mode: Literal["auto_oco", "position"] = "auto_oco"
    commission: Decimal = Decimal("0.25")
    fees: Decimal = Decimal("0.36")
    margin: Decimal = Decimal(0)


@dataclass(slots=True)
class HalfTrade:
    """One fill, or the part of one that only opens or only closes; ``profit`` is None for an opening half-turn."""

    trade_id: int
    account_id: int
    contract_id: str
    at_ns: int
    ticks: int
    profit: Decimal | None
    fees: Decimal
    commissions: Decimal
    side: Side
    size: int
    order_id: int
    voided: bool = False

    def plain(self) -> dict[str, Any]:
        """Return the trade as plain data."""
        profit = None if self.profit is None else str(self.profit)
        return asdict(self) | {"profit": profit, "fees": str(self.fees), "commissions": str(self.commissions)}

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Self:
        """Return the trade that ``plain`` told of."""
        own = {each.name: data[each.name] for each in fields(cls)}
        own["profit"] = None if own["profit"] is None else Decimal(own["profit"])
        own |= {"fees": Decimal(own["fees"]), "commissions": Decimal(own["commissions"]), "side": Side(own["side"])}
        return cls(**own)


@dataclass(slots=True)
class Position:
    """What an account holds of a contract: ``lots`` of signed size at a price in ticks, oldest first."""

    position_id: int
    contract_id: str
    created_ns: int
    lots: list[tuple[int, int]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Contracts held; negative when short."""
        return sum(size for size, _ in self.lots)

    @property
    def cost(self) -> int:
        """Sum of price times size in ticks."""
        return sum(size * ticks for size, ticks in self.lots)

    def close(self, size: int, ticks: int) -> int:
        """Take ``size`` contracts off at a price; return the profit in ticks."""
        profit = 0
        while size:
            held, paid = self.lots[0]
            sign = 1 if held > 0 else -1
            taken = min(size, abs(held))
            profit += sign * taken * (ticks - paid)
            size -= taken
            if taken == abs(held):
                self.lots.pop(0)
            else:
                self.lots[0] = held - sign * taken, paid
        return profit


class Account:
    """One account; fills change it, and voiding a fill makes it as if that had never been."""

    def __init__(self, spec: AccountSpec) -> None:
        self.spec = spec
        self.balance = spec.balance
        self.positions: dict[str, Position] = {}
        self.trades: list[HalfTrade] = []
        self._costs: dict[int, tuple[Decimal, Decimal]] = {}

    def fill(
        self, contract: Contract, side: Side, size: int, ticks: int, at_ns: int, order_id: int, ids: Iterator[int]
    ) -> list[HalfTrade]:
        """Book a fill; return its half-turns: the part that closes, then the part that opens."""
        closing = self._closing(contract.contract_id, side, size)
        booked = []
        for part in (closing, size - closing):
            if part:
                trade = HalfTrade(
                    next(ids), self.spec.account_id, contract.contract_id, at_ns, ticks, None,
                    *self._costs_of(part), side, part, order_id,
                )  # fmt: skip
                self._apply(trade, contract, ids)
                self.trades.append(trade)
                booked.append(trade)
        return booked

    def void(self, trade: HalfTrade, contracts: Mapping[str, Contract], ids: Iterator[int]) -> None:
        """Mark a trade as voided and work out balance and positions anew from the others."""
        trade.voided = True
        self.balance = self.spec.balance
        before, self.positions = self.positions, {}
        for each in self.trades:
            if not each.voided:
                each.profit = None
                self._apply(each, contracts[each.contract_id], ids)
        for contract_id, position in self.positions.items():
            if contract_id in before:
                position.position_id = before[contract_id].position_id

    def _costs_of(self, size: int) -> tuple[Decimal, Decimal]:
        """Return fees and commissions of so many contracts; equal ones are one object, for there are many trades."""
        if size not in self._costs:
            self._costs[size] = self.spec.fees * size, self.spec.commission * size
        return self._costs[size]

    def _closing(self, contract_id: str, side: Side, size: int) -> int:
        position = self.positions.get(contract_id)
        held = 0 if position is None else -side.sign * position.size
        return min(size, max(0, held))

    def _apply(self, trade: HalfTrade, contract: Contract, ids: Iterator[int]) -> None:
        closing = self._closing(trade.contract_id, trade.side, trade.size)
        if closing:
            position = self.positions[trade.contract_id]
            trade.profit = position.close(closing, trade.ticks) * contract.tick_value
            self.balance += trade.profit
            if not position.lots:
                del self.positions[trade.contract_id]
        if trade.size > closing:
            if trade.contract_id not in self.positions:
                self.positions[trade.contract_id] = Position(next(ids), trade.contract_id, trade.at_ns)
            opened = trade.side.sign * (trade.size - closing)
            self.positions[trade.contract_id].lots.append((opened, trade.ticks))
        self.balance -= trade.fees + trade.commissions

    def plain(self) -> dict[str, Any]:
        """Return what has become of the account as plain data."""
        return {
            "balance": str(self.balance),
            "positions": [asdict(position) for position in self.positions.values()],
            "trades": [trade.plain() for trade in self.trades],
        }

    def restore(self, data: dict[str, Any]) -> None:
        """Become what ``plain`` told of."""
        self.balance = Decimal(data["balance"])
        self.positions = {
            each["contract_id"]: Position(
                each["position_id"], each["contract_id"], each["created_ns"], [(lot[0], lot[1]) for lot in each["lots"]]
            )
            for each in data["positions"]
        }
        self.trades = [HalfTrade.from_plain(each) for each in data["trades"]]


def account_json(account: Account) -> dict[str, object]:
    """Return an account in the gateway's fields."""
    spec = account.spec
    return {
        "id": spec.account_id, "name": spec.name, "balance": float(account.balance), "canTrade": spec.can_trade,
        "isVisible": spec.visible, "simulated": spec.simulated,
    }  # fmt: skip


def position_json(account_id: int, position: Position, grid: PriceGrid, name: str) -> dict[str, object]:
    """Return a position in the gateway's fields; size is positive, type 1 is long and 2 short."""
    return {
        "id": position.position_id, "accountId": account_id, "contractId": position.contract_id,
        "contractDisplayName": name, "creationTimestamp": stamp(position.created_ns),
        "type": 1 if position.size > 0 else 2, "size": abs(position.size),
        "averagePrice": grid.mean(position.cost, position.size),
    }  # fmt: skip


def trade_json(trade: HalfTrade, grid: PriceGrid) -> dict[str, object]:
    """Return a half-turn in the gateway's fields."""
    return {
        "id": trade.trade_id, "accountId": trade.account_id, "contractId": trade.contract_id,
        "creationTimestamp": stamp(trade.at_ns), "price": grid.price(trade.ticks),
        "profitAndLoss": None if trade.profit is None else float(trade.profit), "fees": float(trade.fees),
        "commissions": float(trade.commissions), "side": int(trade.side), "size": trade.size, "voided": trade.voided,
        "orderId": trade.order_id,
    }  # fmt: skip
