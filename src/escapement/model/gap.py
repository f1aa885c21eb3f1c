"""What of the market was observed, and when trades may have been missed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from escapement.model.bar import BarSource


class GapCause(StrEnum):
    """Why trades of a stretch may be missing from the bars."""

    START = "start"  # the bars in progress when ingestion first began
    RESTART = "restart"  # ingestion was stopped in good order
    CRASH = "crash"  # ingestion ended without a word
    DISCONNECT = "disconnect"  # the connection was lost
    FREEZE = "freeze"  # the connection stood, and nothing came
    BAD_RECORD = "bad record"  # a record could not be read
    LATE = "late trade"  # a trade came after its bar was completed
    REFUSED = "refused trade"  # a trade could not be used
    DISAGREEMENT = "disagreement"  # the venue's own bar differs from ours
    MISSED = "missed"  # the venue has a bar where we have none


@dataclass(frozen=True, slots=True)
class Gap:
    """Trades of a contract in ``[begins_ns, ends_ns)`` (UTC) may be missing; ``ends_ns`` is None while it lasts."""

    contract_id: str
    begins_ns: int
    ends_ns: int | None
    cause: GapCause
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Every trade of ``[begins_ns, ends_ns)`` (UTC) is in the bars of the smallest timeframe.

    ``source``: LIVE when the trades were heard, HISTORY when the venue's bars tell.
    """

    contract_id: str
    begins_ns: int
    ends_ns: int
    source: BarSource
