"""One tradable future."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Contract:
    """One tradable future as the venue describes it.

    ``contract_id`` is opaque (``CON.F.US.MES.M25``): resolve it by search, never by taking it apart. ``tick_size`` is
    in points, ``tick_value`` in account money per tick and contract.
    """

    contract_id: str
    name: str
    description: str
    tick_size: Decimal
    tick_value: Decimal
    active: bool
    symbol_id: str
