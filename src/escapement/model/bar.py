"""Open, high, low, close and volume of one interval."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from escapement.model.timeframe import Timeframe


class BarSource(StrEnum):
    """Where a bar comes from."""

    LIVE = "live"  # built from the trades as they came
    HISTORY = "history"  # the venue's own bar
    REBUILT = "rebuilt"  # made of smaller bars after a repair or a download


# A frozen dataclass takes many times as long to make, and refers to nothing that could refer to it either.
class Bar(msgspec.Struct, frozen=True, gc=False):
    """A completed bar of one contract over ``[start, end)``.

    ``start_ns`` is the bar's label: the start of its interval for intraday bars, 00:00 UTC of the trade date for days
    (of the Monday for weeks, of the first for months), as the venue labels them. ``end_ns`` is when the interval ended
    by the session calendar, so the earliest moment at which the bar could be known. Both are nanoseconds since
    1970-01-01 UTC. Prices are points as quoted, ``volume`` is in contracts. ``whole`` is False when part of the
    interval was not observed, so trades may be missing from the bar. ``source`` says where the bar comes from.
    """

    contract_id: str
    timeframe: Timeframe
    start_ns: int
    end_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: int
    whole: bool = True
    source: BarSource = BarSource.LIVE


@dataclass(frozen=True, slots=True)
class FormingBar:
    """What is known so far of a bar whose interval has not ended; never stored, and another type so that it cannot be.

    Fields as in ``Bar``; ``as_of_ns`` is the newest venue time seen when it was read, nanoseconds UTC.
    """

    contract_id: str
    timeframe: Timeframe
    start_ns: int
    end_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: int
    whole: bool
    as_of_ns: int
