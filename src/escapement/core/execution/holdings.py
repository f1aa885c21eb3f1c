"""Fills of one contract to its open lots, round trips and profit.

Lots close first in, first out, as futures accounts are settled. Prices are whole ticks, money is Decimal.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, replace
from decimal import Decimal

from msgspec import structs

from escapement.model import Contract, Fill, OrderSide, PriceGrid


@dataclass(frozen=True, slots=True)
class Lot:
    """Contracts that one fill opened and that are still held: ``size`` is negative when short, ``fees`` are its own.

    ``order_id`` is the order that opened it; 0 for what was held before the account's fills were known.
    """

    size: int
    ticks: int
    opened_ns: int
    order_id: int
    fees: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Contracts opened by one fill and closed by another; ``size`` is negative for a short one.

    ``fees`` are those of both sides. ``ticks`` is the profit in ticks of all its contracts, ``money`` in account money
    before fees.
    """

    contract_id: str
    size: int
    entry_ticks: int
    exit_ticks: int
    opened_ns: int
    closed_ns: int
    entry_order_id: int
    exit_order_id: int
    fees: Decimal
    ticks: int
    money: Decimal


class Holding:
    """What an account holds of a contract and what it made of it, by its fills.

    The same fills give the same holding in whatever order they come, twice or late; a voided fill is as if it had never
    been.
    """

    def __init__(self, contract: Contract, seed: tuple[Lot, ...] = ()) -> None:
        self.contract = contract
        self.grid = PriceGrid(contract.tick_size)
        self.faults: dict[int, str] = {}
        self._seed = seed
        self._fills: dict[int, Fill] = {}
        self._order: list[tuple[int, int]] = []
        self._begin()

    def _begin(self) -> None:
        self.lots: list[Lot] = list(self._seed)
        self.trips: list[RoundTrip] = []
        self.ticks = 0
        self.fees = Decimal(0)

    @property
    def net(self) -> int:
        """Contracts held; negative when short."""
        return sum(lot.size for lot in self.lots)

    @property
    def money(self) -> Decimal:
        """What closed lots made, before fees."""
        return self.ticks * self.contract.tick_value

    @property
    def fills(self) -> list[Fill]:
        """All fills, oldest first, voided ones too."""
        return [self._fills[fill_id] for _, fill_id in self._order]

    def has(self, fill_id: int) -> bool:
        """Whether a fill was told of, voided or not."""
        return fill_id in self._fills

    def correct(self, lot: Lot) -> None:
        """Let contracts be held, or no more, that no fill tells of; ``lot`` is what is held besides, or too little."""
        left, sign = abs(lot.size), 1 if lot.size > 0 else -1
        while left and self.lots and self.lots[0].size * sign < 0:
            count = min(left, abs(self.lots[0].size))
            first = self.lots.pop(0)
            if count < abs(first.size):
                self.lots.insert(0, replace(first, size=first.size + sign * count))
            left -= count
        if left:
            self.lots.append(replace(lot, size=sign * left))

    def see(self, fill: Fill) -> bool:
        """Take note of a fill; return whether that changed anything."""
        known = self._fills.get(fill.fill_id)
        if known is None:
            self._fills[fill.fill_id] = fill
            place = fill.at_ns, fill.fill_id
            is_last = not self._order or place > self._order[-1]
            insort(self._order, place)
            if is_last:
                self._apply(fill)
            else:
                self._fold()
            return True
        if _content(known) != _content(fill):
            self.faults[fill.fill_id] = f"fill {fill.fill_id} was told of with different contents"
            kept = min(known, fill, key=_content)
        else:
            kept = known
        merged = structs.replace(kept, voided=known.voided or fill.voided)
        if merged == known:
            return False
        self._fills[fill.fill_id] = merged
        self._order.remove((known.at_ns, known.fill_id))
        insort(self._order, (merged.at_ns, merged.fill_id))
        self._fold()
        return True

    def _fold(self) -> None:
        self._begin()
        for _, fill_id in self._order:
            self._apply(self._fills[fill_id])

    def _apply(self, fill: Fill) -> None:
        if fill.voided:
            return
        sign = 1 if fill.side is OrderSide.BUY else -1
        ticks = self.grid.nearest(fill.price)
        left = fill.size
        while left and self.lots and self.lots[0].size * sign < 0:
            left -= self._close(fill, sign, ticks, left)
        if left:
            self.lots.append(Lot(sign * left, ticks, fill.at_ns, fill.order_id, _share(fill, fill.size - left, left)))
        self.fees += fill.fees

    def _close(self, fill: Fill, sign: int, ticks: int, left: int) -> int:
        lot = self.lots[0]
        count = min(left, abs(lot.size))
        closed = -sign * count
        lot_fees = lot.fees * count / abs(lot.size)
        made = closed * (ticks - lot.ticks)
        self.trips.append(
            RoundTrip(
                self.contract.contract_id, closed, lot.ticks, ticks, lot.opened_ns, fill.at_ns, lot.order_id,
                fill.order_id, lot_fees + _share(fill, fill.size - left, count), made, made * self.contract.tick_value,
            )
        )  # fmt: skip
        self.ticks += made
        if count == abs(lot.size):
            self.lots.pop(0)
        else:
            self.lots[0] = replace(lot, size=lot.size - closed, fees=lot.fees - lot_fees)
        return count


def _share(fill: Fill, done: int, count: int) -> Decimal:
    """Return the fees of ``count`` of a fill's contracts, after ``done`` of them; all shares make up the whole."""
    return fill.fees * (done + count) / fill.size - fill.fees * done / fill.size


def _content(fill: Fill) -> tuple[object, ...]:
    # Not the profit: the venue works it out anew when another fill is voided.
    return fill.contract_id, fill.order_id, fill.at_ns, int(fill.side), fill.size, fill.price, fill.fees
