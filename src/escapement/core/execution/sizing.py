"""How many contracts an entry has."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from escapement.errors import InvalidInput
from escapement.model import Contract


@dataclass(frozen=True, slots=True)
class Sizing:
    """A fixed number of ``contracts``, or as many as lose at most ``money`` at their stop; never more than ``most``.

    Raises:
        InvalidInput: neither or both are named, or a number is not positive.
    """

    contracts: int | None = 1
    money: Decimal | None = None
    most: int = 1

    def __post_init__(self) -> None:
        if (self.contracts is None) == (self.money is None):
            raise InvalidInput("sizing: name either contracts or money to risk on a trade, not both")
        for name in ("contracts", "money", "most"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InvalidInput(f"sizing.{name} {value} is not positive")

    @property
    def largest(self) -> int:
        """The most contracts an entry may come to."""
        return self.most if self.contracts is None else min(self.contracts, self.most)


def size_of(sizing: Sizing, contract: Contract, stop_ticks: int, slippage_ticks: int, fee: Decimal) -> int:
    """Return how many contracts to enter with; 0 when one contract alone would risk too much.

    Args:
        sizing: the rule.
        contract: what is traded.
        stop_ticks: distance of the stop.
        slippage_ticks: what a stop may cost beyond its price.
        fee: per contract and side, in account money.
    """
    if sizing.contracts is not None:
        return min(sizing.contracts, sizing.most)
    each = (stop_ticks + slippage_ticks) * contract.tick_value + 2 * fee
    return min(int((sizing.money or 0) // each), sizing.most)
