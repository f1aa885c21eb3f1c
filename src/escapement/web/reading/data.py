"""Whether the data is complete: each session of each contract, gaps and their repairs, how far the feed is behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import orjson

from escapement.errors import ConfigurationError
from escapement.model import SessionCalendar, Timeframe
from escapement.moments import ns_from_datetime
from escapement.ports import ServiceHealth
from escapement.settings import Settings
from escapement.storage import DBHandler
from escapement.storage.completeness import SessionCompleteness, decided_stretch, steps
from escapement.storage.completeness import completeness as known_of
from escapement.storage.health import ALIVE_S
from escapement.storage.viewing import Row, ViewStore
from escapement.web.reading.moments import market_now_ns, moment

_STATES: Final = "ingest "  # and the contract
_DAYS: Final = 35
_MOST_DAYS: Final = 400
_UNTOLD: Final = timedelta(minutes=1)  # whoever ingests saves how far he is more often


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

    ``behind_s``: seconds between the two, None where either is not known; once nobody tells any more, seconds since
    then. ``is_open``: whether the market trades now; ``is_deaf``: it does, and nobody hears it any more.
    """

    contract_id: str
    heard_to: datetime | None
    told_at: datetime | None
    behind_s: float | None
    is_open: bool
    is_deaf: bool


async def completeness(
    database: DBHandler,
    contract_id: str,
    calendar: SessionCalendar,
    timeframe: Timeframe,
    begin: date | None,
    end: date | None,
) -> Sequence[SessionShown]:
    """Return what is known of each session, by trade date; at most of 400 days before the end.

    Raises:
        StorageError: the database does not answer.
    """
    first, last = (
        None if day is None else ns_from_datetime(datetime.combine(day, time(), UTC)) for day in (begin, end)
    )
    day_ns = ns_from_datetime(datetime(1970, 1, 2, tzinfo=UTC))
    to_ns = (await decided_stretch(database, contract_id, first, None if last is None else last + day_ns))[1]
    from_ns = to_ns - _DAYS * day_ns if first is None else first - day_ns
    from_ns = max(from_ns, to_ns - (_MOST_DAYS + 2) * day_ns)
    if to_ns <= from_ns:
        return []
    await database.set_periods(contract_id, calendar.sessions_of_whole_months(from_ns, to_ns))
    found: list[SessionCompleteness] = []
    for step in steps(calendar, [timeframe], from_ns, to_ns):
        found += await known_of(database, contract_id, *step)
    return [
        _session(each)
        for each in found
        if (begin is None or each.trade_date >= begin) and (end is None or each.trade_date <= end)
    ]


async def feed(
    settings: Settings,
    views: ViewStore,
    services: Sequence[ServiceHealth],
    contracts: Sequence[str],
    calendar_of: Callable[[str], SessionCalendar],
) -> Sequence[FeedShown]:
    """Return how far each contract was heard; ``services`` tell of which there is somebody who hears.

    Raises:
        StorageError: the database does not answer.
    """
    saved = await views.states(_STATES)
    seen: dict[str, int] = {}
    told: dict[str, datetime] = {}
    for row in saved:
        for contract_id, seen_ns in orjson.loads(row["state"]).get("seen", {}).items():
            seen[contract_id], told[contract_id] = int(seen_ns), row["saved_at"]
    listened = {
        contract_id
        for each in services if each.silent_s < ALIVE_S
        for contract_id in each.report.get("feed", {}).get("contracts", ())
    }  # fmt: skip
    found = []
    for contract_id in dict.fromkeys([*contracts, *seen]):
        heard_to = moment(seen[contract_id]) if contract_id in seen else None
        told_at = told.get(contract_id)
        now_ns = market_now_ns(settings, heard_to)
        try:
            is_open = calendar_of(contract_id).is_open(now_ns)
        except ConfigurationError:
            is_open = False  # of a product whose sessions are not known
        behind_s, is_deaf = None, False
        if heard_to is not None and told_at is not None and settings.ingest.clock == "system":
            now = moment(now_ns)
            is_past = contract_id not in contracts and told_at < max(told.values()) - _UNTOLD  # another took its place
            is_deaf = is_open and not is_past and contract_id not in listened and now - told_at > _UNTOLD
            behind_s = max(0.0, ((now if is_deaf else told_at) - heard_to) / timedelta(seconds=1))
        found.append(FeedShown(contract_id, heard_to, told_at, behind_s, is_open, is_deaf))
    return found


def gap_shown(row: Row) -> GapShown:
    """Return a stored gap as it is shown."""
    return GapShown(
        row["contract_id"], row["begins_at"], row["ends_at"], row["cause"], row["detail"], row["state"] == "open",
        row["opened_at"], row["closed_at"], row["attempts"], row["reason"], row["revised"],
    )  # fmt: skip


def _session(each: SessionCompleteness) -> SessionShown:
    return SessionShown(
        each.contract_id, each.trade_date, str(each.timeframe), each.expected, each.live, each.history, each.empty,
        each.unknown, tuple(Stretch(moment(begin_ns), moment(end_ns)) for begin_ns, end_ns in each.stretches),
    )  # fmt: skip
