"""How orders are made and looked after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from escapement.core.execution import Sizing
from escapement.errors import InvalidInput
from escapement.model import Contract

Foreign = Literal["adopt", "leave", "flatten"]


@dataclass(frozen=True, slots=True)
class DealParams:
    """How orders are made and looked after.

    ``stop_ticks``, ``target_ticks``: their distance from the entry, by product code, ``*`` for all others.
    ``venue_brackets``: stop and target go with the entry where the account allows it. ``foreign``: what becomes of
    orders and positions of others. ``fee``: per contract and side. ``bracket_grace_s``: how long the venue's legs may
    take; ``effect_s``: how long anything may take to show; ``lookup_s``: how long an order whose answer was lost is
    looked for; ``protect_s``: how long a position may lack its stop before it is closed.
    """

    stop_ticks: Mapping[str, int]
    target_ticks: Mapping[str, int] = field(default_factory=dict)
    sizing: Sizing = field(default_factory=Sizing)
    venue_brackets: bool = True
    foreign: Foreign = "leave"
    fee: Decimal = Decimal("0.61")
    bracket_grace_s: float = 2.0
    effect_s: float = 1.5
    lookup_s: float = 5.0
    protect_s: float = 10.0

    def stop_of(self, product: str) -> int | None:
        """Return the distance of a product's stop, in ticks."""
        return self.stop_ticks.get(product, self.stop_ticks.get("*"))

    def target_of(self, product: str) -> int | None:
        """Return the distance of a product's target, in ticks; None without one."""
        return self.target_ticks.get(product, self.target_ticks.get("*"))


def product_of(contract: Contract) -> str:
    """Return a contract's product code, such as MES, from the venue's symbol (``F.US.MES``).

    Raises:
        InvalidInput: the symbol has no such form.
    """
    code = contract.symbol_id.rpartition(".")[2]
    if not code:
        raise InvalidInput(f"contract {contract.contract_id}: symbol {contract.symbol_id!r} names no product")
    return code
