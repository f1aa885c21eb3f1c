"""A trading account at the venue."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Account:
    """A trading account as the venue describes it; ``balance`` in account money."""

    account_id: int
    name: str
    balance: Decimal
    can_trade: bool
    visible: bool
    simulated: bool
