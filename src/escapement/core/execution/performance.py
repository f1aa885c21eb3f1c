"""What fills made: profit in ticks, points and money, and what it cost, fill by fill."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from escapement.core.execution.holdings import Holding
from escapement.model import Contract, Fill


@dataclass(frozen=True, slots=True)
class Result:
    """What something made: ``ticks`` and ``points`` over all its contracts, ``money`` before ``fees``."""

    ticks: int = 0
    points: Decimal = Decimal(0)
    money: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)

    @property
    def net(self) -> Decimal:
        """Money after fees: what the account's balance grew by."""
        return self.money - self.fees

    def __add__(self, other: Result) -> Result:
        return Result(
            self.ticks + other.ticks, self.points + other.points, self.money + other.money, self.fees + other.fees
        )


def total(results: Iterable[Result]) -> Result:
    """Return what several made together."""
    return sum(results, Result())


def results(contract: Contract, fills: Sequence[Fill]) -> list[tuple[Fill, Result]]:
    """Return each fill of a contract with what it made, oldest first; voided ones made nothing.

    The profit of a round trip is that of the fill that closes it; fees are each fill's own, as the venue books them.
    """
    holding, found = Holding(contract), []
    for fill in sorted(fills, key=lambda each: (each.at_ns, each.fill_id)):
        ticks, fees = holding.ticks, holding.fees
        holding.see(fill)
        made = holding.ticks - ticks
        found.append((fill, Result(made, made * contract.tick_size, made * contract.tick_value, holding.fees - fees)))
    return found
