"""What the simulated venue says about its contracts."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from escapement.model import Contract

_MONTHS = {
    "F": "January", "G": "February", "H": "March", "J": "April", "K": "May", "M": "June", "N": "July", "Q": "August",
    "U": "September", "V": "October", "X": "November", "Z": "December",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Product:
    root: str
    description: str
    tick_size: str
    tick_value: str


# Source: the exchange's contract specifications; codes are the venue's.
_PRODUCTS = {
    "EP": _Product("ES", "E-Mini S&P 500", "0.25", "12.50"),
    "MES": _Product("MES", "Micro E-mini S&P 500", "0.25", "1.25"),
    "ENQ": _Product("NQ", "E-mini NASDAQ-100", "0.25", "5.00"),
    "MNQ": _Product("MNQ", "Micro E-mini Nasdaq-100", "0.25", "0.50"),
    "RTY": _Product("RTY", "E-mini Russell 2000", "0.10", "5.00"),
    "M2K": _Product("M2K", "Micro E-mini Russell 2000", "0.10", "0.50"),
    "YM": _Product("YM", "E-mini Dow ($5)", "1", "5.00"),
    "MYM": _Product("MYM", "Micro E-mini Dow", "1", "0.50"),
    "CLE": _Product("CL", "Crude Light Oil", "0.01", "10.00"),
    "MCLE": _Product("MCL", "Micro Crude Oil", "0.01", "1.00"),
    "GCE": _Product("GC", "Gold", "0.10", "10.00"),
    "MGC": _Product("MGC", "Micro Gold", "0.10", "1.00"),
    "EU6": _Product("6E", "Euro FX", "0.00005", "6.25"),
    "TYA": _Product("ZN", "10-Year T-Note", "0.015625", "15.625"),
}
_UNKNOWN = _Product("", "Simulated contract", "0.01", "1.00")


def contract_facts(contract_id: str) -> Contract:
    """Return the facts of a contract; of a product that is not known, invented ones with a tick of 0.01 points."""
    parts = contract_id.split(".")
    code, expiry = (parts[3], parts[4]) if len(parts) == 5 else (contract_id, "")
    product = _PRODUCTS.get(code, _UNKNOWN)
    month = f": {_MONTHS[expiry[0]]} 20{expiry[1:]}" if expiry[:1] in _MONTHS and expiry[1:].isdigit() else ""
    return Contract(
        contract_id=contract_id,
        name=f"{product.root or code}{expiry[:1]}{expiry[-1:]}",
        description=f"{product.description}{month}",
        tick_size=Decimal(product.tick_size),
        tick_value=Decimal(product.tick_value),
        active=True,
        symbol_id=f"F.US.{code}",
    )
