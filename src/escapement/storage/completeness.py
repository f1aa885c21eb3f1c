"""What is known of each interval in which a contract could trade, and when trades may have been missed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import asyncpg

from escapement.model import NS_PER_SECOND, Gap, GapCause, SessionCalendar, Timeframe
from escapement.moments import datetime_from_ns, ns_from_datetime
from escapement.storage import queries
from escapement.storage.database import DBHandler
from escapement.storage.failures import translated

_BY_SESSION = queries.load("completeness_by_session")
_OBSERVED = queries.load("observed")
_GAP_CONTRACTS = queries.load("gap_contracts")
_GAPS_BETWEEN = queries.load("gaps_between")
# Compiling the query takes far longer than running it, but the planner thinks otherwise.
_WITHOUT_JIT = "SET LOCAL jit = off"
_WEEK_NS = 7 * 86_400 * NS_PER_SECOND
# A bar that has just ended is on its way: its market is quiet, its state is not saved, its transaction runs.
_ON_THE_WAY_NS = 60 * NS_PER_SECOND
_SESSIONS_AT_ONCE = 30


@dataclass(frozen=True, slots=True)
class SessionCompleteness:
    """How much is known of one series in one session; an interval belongs to the session in which it ends.

    ``live`` bars were built from trades as they came, ``history`` bars are the venue's or made of those; ``empty``
    intervals were observed and nothing traded. ``stretches`` are the unknown intervals, joined where they touch, as
    ``[from, to)`` in nanoseconds UTC.
    """

    contract_id: str
    timeframe: Timeframe
    trade_date: date
    expected: int
    live: int
    history: int
    empty: int
    unknown: int
    stretches: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class KeptGap:
    """A gap and what became of it.

    ``attempts`` counts repairs tried, ``reason`` says why the last one failed, ``revised`` is how many bars the repair
    wrote. Times in nanoseconds UTC; ``closed_ns`` is None while the gap is open.
    """

    gap: Gap
    open: bool
    opened_ns: int
    closed_ns: int | None
    attempts: int
    reason: str
    revised: int


async def completeness(
    database: DBHandler, contract_id: str, timeframe: Timeframe, from_ns: int, to_ns: int
) -> list[SessionCompleteness]:
    """Return what is known of the intervals that lie within ``[from_ns, to_ns]`` (UTC), by session, oldest first.

    Intervals follow from the trading periods that are stored; ``DBHandler.set_periods`` stores them.

    Raises:
        StorageError: the database does not answer or refuses.
    """
    series = contract_id, int(timeframe.unit), timeframe.value
    moments = datetime_from_ns(from_ns), datetime_from_ns(to_ns)
    with translated():
        async with database.pool.acquire() as connection, connection.transaction(readonly=True):
            await connection.execute(_WITHOUT_JIT)
            rows = await connection.fetch(_BY_SESSION, *series, *moments)
    return [
        SessionCompleteness(
            contract_id, timeframe, row["trade_date"], row["expected"], row["live"], row["history"], row["empty"],
            row["unknown"],
            tuple((ns_from_datetime(each.lower), ns_from_datetime(each.upper)) for each in row["stretches"] or ()),
        )
        for row in rows
    ]  # fmt: skip


async def observed(database: DBHandler, contract_id: str) -> tuple[int, int] | None:
    """Return the first and the last moment of the contract that was observed, nanoseconds UTC; None without any.

    Raises:
        StorageError: the database does not answer or refuses.
    """
    with translated():
        row = await database.pool.fetchrow(_OBSERVED, contract_id)
    if row is None or row["begins_at"] is None:
        return None
    return ns_from_datetime(row["begins_at"]), ns_from_datetime(row["ends_at"])


async def decided_stretch(
    database: DBHandler, contract_id: str, begin_ns: int | None, end_ns: int | None
) -> tuple[int, int]:
    """Return the stretch to look at (UTC): it ends where intervals are decided at the latest.

    Without a begin it begins a week before its end, or with what was first observed.

    Raises:
        StorageError: the database does not answer or refuses.
    """
    seen = await observed(database, contract_id)
    decided_ns = (ns_from_datetime(datetime.now(UTC)) - _ON_THE_WAY_NS) // NS_PER_SECOND * NS_PER_SECOND
    if seen is not None:
        decided_ns = max(decided_ns, seen[1])  # a simulated market may be ahead of our clock
    end_ns = decided_ns if end_ns is None else min(end_ns, decided_ns)
    if begin_ns is None:
        begin_ns = end_ns - _WEEK_NS
        if seen is not None and seen[0] < end_ns:
            begin_ns = max(begin_ns, seen[0])
    return begin_ns, max(begin_ns, end_ns)


def steps(
    calendar: SessionCalendar, timeframes: Sequence[Timeframe], begin_ns: int, end_ns: int
) -> Iterator[tuple[Timeframe, int, int]]:
    """Divide a long stretch between sessions, so that no query takes long; longer bars are few, and span sessions."""
    sessions = calendar.sessions_between(begin_ns, end_ns)
    for timeframe in timeframes:
        if not timeframe.is_intraday:
            yield timeframe, begin_ns, end_ns
            continue
        for first in range(0, len(sessions), _SESSIONS_AT_ONCE):
            group = sessions[first : first + _SESSIONS_AT_ONCE]
            yield timeframe, max(begin_ns, group[0].open_ns), min(end_ns, group[-1].close_ns)


async def contracts_with_gaps(database: DBHandler) -> list[str]:
    """Return the contracts that have gaps, open or closed, in alphabetical order.

    Raises:
        StorageError: the database does not answer or refuses.
    """
    with translated():
        return [row["contract_id"] for row in await database.pool.fetch(_GAP_CONTRACTS)]


async def gaps_between(
    database: DBHandler, contract_id: str, from_ns: int, to_ns: int, *, only_open: bool = False
) -> list[KeptGap]:
    """Return the contract's gaps that touch ``[from_ns, to_ns)`` (UTC), oldest first.

    Raises:
        StorageError: the database does not answer or refuses.
    """
    moments = datetime_from_ns(from_ns), datetime_from_ns(to_ns)
    with translated():
        rows = await database.pool.fetch(_GAPS_BETWEEN, contract_id, *moments, only_open)
    return [_kept_gap(contract_id, row) for row in rows]


def _kept_gap(contract_id: str, row: asyncpg.Record) -> KeptGap:
    return KeptGap(
        Gap(
            contract_id, ns_from_datetime(row["begins_at"]), _ns_or_none(row["ends_at"]), GapCause(row["cause"]),
            row["detail"],
        ),
        row["state"] == "open", ns_from_datetime(row["opened_at"]), _ns_or_none(row["closed_at"]), row["attempts"],
        row["reason"], row["revised"],
    )  # fmt: skip


def _ns_or_none(moment: datetime | None) -> int | None:
    return None if moment is None else ns_from_datetime(moment)
