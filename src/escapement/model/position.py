"""What an account holds of a contract."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """What an account holds of one contract: ``net`` contracts, negative when short, at ``average_price`` points."""

    account_id: int
    contract_id: str
    opened_ns: int
    net: int
    average_price: float
