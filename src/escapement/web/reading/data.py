"""Whether the data is complete: each session of each contract, gaps and their repairs, how far the feed is behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True, slots=True)
class Stretch:
    """From ``begin`` to ``end``, UTC."""

    begin: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class SessionShown:
    """How many intervals of a session are known, and how: from live trades, from history, empty, or not at all."""

    contract_id: str
    trade_date: date
    timeframe: str
    expected: int
    live: int
    history: int
    empty: int
    unknown: int
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True)
class GapShown:
    """A stretch in which trades may have been missed (``end`` None: it lasts), and what became of it."""

    contract_id: str
    begin: datetime
    end: datetime | None
    cause: str
    detail: str
    open: bool
    opened_at: datetime
    closed_at: datetime | None
    attempts: int
    reason: str
    revised: int


@dataclass(frozen=True, slots=True)
class FeedShown:
    """How far a contract was heard: ``heard_to`` by the venue's time, ``told_at`` when ingestion told so last.

    ``behind_s``: seconds between the two, None where either is not known; ``is_open``: whether the market trades now.
    """

    contract_id: str
    heard_to: datetime | None
    told_at: datetime | None
    behind_s: float | None
    is_open: bool
