"""One print on the tape."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# More contracts than ever traded in a day; what says more is broken, and would not fit a database's integer.
MOST_VOLUME = 10**12


class AggressorSide(StrEnum):
    """Which side crossed the spread."""

    BUY = "buy"
    SELL = "sell"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Trade:
    """One print on the tape of one contract.

    ``at_ns`` is the venue's time in nanoseconds since 1970-01-01 UTC, ``price`` in points exactly as quoted, ``volume``
    in contracts. The venue gives trades no id, so two equal trades are two trades. Values are checked where trades
    enter an aggregator, not here, so that a refusal can hand the trade back as it came.
    """

    contract_id: str
    at_ns: int
    price: float
    volume: int
    aggressor: AggressorSide = AggressorSide.NONE
