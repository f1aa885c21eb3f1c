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
    "NKD": _Product("NKD", "Nikkei 225 (USD)", "5", "25.00"),
    "NQM": _Product("QM", "E-mini Crude Oil", "0.025", "12.50"),
    "NGE": _Product("NG", "Natural Gas", "0.001", "10.00"),
    "RBE": _Product("RB", "RBOB Gasoline", "0.0001", "4.20"),
    "HOE": _Product("HO", "Heating Oil", "0.0001", "4.20"),
    "SIE": _Product("SI", "Silver", "0.005", "25.00"),
    "SIL": _Product("SIL", "Micro Silver", "0.005", "5.00"),
    "CPE": _Product("HG", "Copper", "0.0005", "12.50"),
    "MHG": _Product("MHG", "Micro Copper", "0.0005", "1.25"),
    "PLE": _Product("PL", "Platinum", "0.1", "5.00"),
    "EU6": _Product("6E", "Euro FX", "0.00005", "6.25"),
    "M6E": _Product("M6E", "Micro Euro FX", "0.0001", "1.25"),
    "BP6": _Product("6B", "British Pound", "0.0001", "6.25"),
    "M6B": _Product("M6B", "Micro British Pound", "0.0001", "0.625"),
    "DA6": _Product("6A", "Australian Dollar", "0.00005", "5.00"),
    "M6A": _Product("M6A", "Micro Australian Dollar", "0.0001", "1.00"),
    "CA6": _Product("6C", "Canadian Dollar", "0.00005", "5.00"),
    "JY6": _Product("6J", "Japanese Yen", "0.0000005", "6.25"),
    "SF6": _Product("6S", "Swiss Franc", "0.00005", "6.25"),
    "NE6": _Product("6N", "New Zealand Dollar", "0.00005", "5.00"),
    "MX6": _Product("6M", "Mexican Peso", "0.00001", "5.00"),
    "MBT": _Product("MBT", "Micro Bitcoin", "5", "0.50"),
    "GMET": _Product("MET", "Micro Ether", "0.5", "0.05"),
    "TUA": _Product("ZT", "2-Year T-Note", "0.00390625", "7.8125"),
    "FVA": _Product("ZF", "5-Year T-Note", "0.0078125", "7.8125"),
    "TNA": _Product("TN", "Ultra 10-Year T-Note", "0.015625", "15.625"),
    "USA": _Product("ZB", "30-Year T-Bond", "0.03125", "31.25"),
    "ULA": _Product("UB", "Ultra T-Bond", "0.03125", "31.25"),
    "TYA": _Product("ZN", "10-Year T-Note", "0.015625", "15.625"),
}
_BY_ROOT = {product.root: product for product in _PRODUCTS.values()}


def is_known(contract_id: str) -> bool:
    """Whether a contract is of a product whose facts are known."""
    parts = contract_id.split(".")
    code = parts[3] if len(parts) == 5 else contract_id
    return code in _PRODUCTS or code in _BY_ROOT


def contract_facts(
    contract_id: str, *, tick_size: Decimal = Decimal("0.01"), tick_value: Decimal = Decimal(1)
) -> Contract:
    """Return the facts of a contract; of a product that is not known, invented ones with the tick given."""
    parts = contract_id.split(".")
    code, expiry = (parts[3], parts[4]) if len(parts) == 5 else (contract_id, "")
    unknown = _Product("", "Simulated contract", str(tick_size), str(tick_value))
    product = _PRODUCTS.get(code) or _BY_ROOT.get(code) or unknown
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
