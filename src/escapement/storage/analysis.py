"""Signals and where each analyzer stands, in PostgreSQL.

Every commit names the step it builds on, and changes nothing of an instance that is no longer at that step: of two
services at work on the same instances one is first with each stretch of bars, and the other reads where things stand.
Commits follow one another under a lock, so that ``signal_id`` grows in the order in which signals can be seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from escapement.core.analysis import Advance, AnalyzerKey, Instance, Progress, StoredBar
from escapement.model import Bar, BarSource, Timeframe, TimeframeUnit
from escapement.moments import datetime_from_ns, ns_from_datetime
from escapement.storage import queries
from escapement.storage.database import DBHandler
from escapement.storage.failures import translated

_OPEN = queries.load("open_instances")
_INSTANCES = queries.load("instances")
_BARS_AFTER = queries.load("bars_after")
_COMMIT = queries.load("commit_readings")
_LINK = queries.load("link_superseded")
_REWIND = queries.load("rewind_instance")
_CHANGED = queries.load("changed_instances")
_REVISED = queries.load("revised_series")
_NEWEST_REVISION = queries.load("newest_revision")
_NOTE_FAULT = queries.load("note_fault")
_TRACKED = queries.load("tracked_series")
_SIGNALS = queries.load("signals")
_LOCK = "SELECT pg_advisory_xact_lock(6022140761)"
_WITHOUT_JIT = "SET LOCAL jit = off"
# Checkpoints before so many intervals are kept at each tenth of them only: repairs come within hours, downloads of
# history can afford to read a thousand bars more.
_FINE_INTERVALS, _COARSE = 20, 10

Series = tuple[str, Timeframe]


@dataclass(frozen=True, slots=True)
class KeptSignal:
    """A stored signal; times in nanoseconds UTC. See the table ``detected_signals`` for what the fields mean."""

    signal_id: int
    key: AnalyzerKey
    signal_type: str
    bar_start_ns: int
    trigger_start_ns: int
    known_at_ns: int
    price: float
    rule: str
    trigger_whole: bool
    stored_ns: int
    superseded_ns: int | None
    superseded_by: int | None


class AnalysisStore:
    """The database as the analysis service sees it; every method raises StorageError."""

    def __init__(self, database: DBHandler) -> None:
        self._database = database
        self._pool = database.pool

    async def open(self, keys: Sequence[AnalyzerKey]) -> list[Instance]:
        """Return where these instances stand; what was not there yet begins before the first bar."""
        columns = _key_columns(keys)
        with translated():
            await self._pool.execute(_OPEN, *columns)
            rows = await self._pool.fetch(_INSTANCES, *columns)
        return [_instance(row) for row in rows]

    async def bars_after(self, asked: Sequence[tuple[Series, int | None, int]]) -> list[list[StoredBar]]:
        """Return of each series the bars after a label (None: all), oldest first, at most so many."""
        columns = (
            [contract_id for (contract_id, _), _, _ in asked],
            [int(timeframe.unit) for (_, timeframe), _, _ in asked],
            [timeframe.value for (_, timeframe), _, _ in asked],
            [_moment(after_ns) for _, after_ns, _ in asked],
            [most for _, _, most in asked],
        )
        with translated():
            rows = await self._pool.fetch(_BARS_AFTER, *columns)
        found: list[list[StoredBar]] = [[] for _ in asked]
        for row in rows:
            place = row["place"] - 1
            found[place].append(StoredBar(_bar(asked[place][0], row), row["revision"]))
        return found

    async def commit(self, advances: Sequence[Advance], interval: int) -> set[int]:
        """Store what instances read, in one transaction.

        Args:
            advances: of different instances.
            interval: how many bars lie between two checkpoints.

        Returns:
            The ids of the instances that were still at their step; of others nothing was stored.
        """
        arguments = (*_reading_columns(advances), *_checkpoint_columns(advances), *_signal_columns(advances),
                     _FINE_INTERVALS * interval, _COARSE * interval)  # fmt: skip
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(_LOCK)
                row = await connection.fetchrow(_COMMIT, *arguments)
                if row["gone"]:
                    await connection.execute(_LINK, row["gone"])
        heard = [each.instance.key for each in advances if row["gone"] or each.reading.signals]
        self._database.ring("detected_signals", [f"{key.contract_id} {key.timeframe}" for key in heard])
        return set(row["moved"])

    async def changed(self, instance_ids: Sequence[int], newest: int | None = None) -> dict[int, int | None]:
        """Find instances whose stored bars are not those they read: bars were revised, or came in behind.

        Args:
            instance_ids: where to look.
            newest: at how many of the newest bars; None looks at all.

        Returns:
            By id the label of the checkpoint before the first difference; None where there is none before it.
        """
        with translated():
            async with self._pool.acquire() as connection, connection.transaction(readonly=True):
                await connection.execute(_WITHOUT_JIT)  # it would take longer than the query
                rows = await connection.fetch(_CHANGED, instance_ids, newest)
        return {row["instance_id"]: _ns(row["after"]) for row in rows}

    async def rewind(self, instance: Instance, to_ns: int | None) -> None:
        """Put an instance back to its checkpoint at that label, or to before its first bar; unless it moved."""
        with translated():
            await self._pool.execute(_REWIND, instance.instance_id, instance.step, _moment(to_ns))

    async def revised_since(self, revision_id: int) -> tuple[int, set[Series]]:
        """Return the newest revision's id, and the series with revisions above ``revision_id``."""
        with translated():
            rows = await self._pool.fetch(_REVISED, revision_id)
        return max([revision_id, *(row["newest"] for row in rows)]), {_series(row) for row in rows}

    async def newest_revision(self) -> int:
        """Return the newest revision's id, 0 before the first."""
        with translated():
            return int(await self._pool.fetchval(_NEWEST_REVISION))

    async def note_fault(self, instance: Instance, why: str) -> None:
        """Take note why an instance stands still."""
        with translated():
            await self._pool.execute(_NOTE_FAULT, instance.instance_id, instance.step, why.replace("\0", ""))

    async def tracked(self) -> list[Series]:
        """Return the series that ingestion or downloads keep."""
        with translated():
            return [_series(row) for row in await self._pool.fetch(_TRACKED)]

    async def signals(
        self,
        *,
        contracts: Sequence[str] | None = None,
        timeframes: Sequence[Timeframe] | None = None,
        analyzers: Sequence[str] | None = None,
        signal_types: Sequence[str] | None = None,
        from_ns: int | None = None,
        to_ns: int | None = None,
        superseded: bool = False,
        most: int | None = None,
    ) -> list[KeptSignal]:
        """Return the newest signals known in ``[from_ns, to_ns)``, oldest of them first; None asks for all."""
        names = None if timeframes is None else [str(each) for each in timeframes]
        with translated():
            rows = await self._pool.fetch(
                _SIGNALS, contracts, names, analyzers, signal_types, _moment(from_ns), _moment(to_ns), superseded, most
            )
        return [kept_signal(row) for row in rows]


def _key_columns(keys: Sequence[AnalyzerKey]) -> tuple[list[object], ...]:
    return (
        [key.analyzer for key in keys],
        [key.version for key in keys],
        [key.params for key in keys],
        [key.contract_id for key in keys],
        [str(key.timeframe) for key in keys],
    )


def _reading_columns(advances: Sequence[Advance]) -> tuple[list[object], ...]:
    progresses = [each.reading.progress for each in advances]
    return (
        [each.instance.instance_id for each in advances],
        [each.instance.step for each in advances],
        [_moment(each.judged_after_ns) for each in advances],
        [_moment(progress.at_ns) for progress in progresses],
        [_moment(each.first_ns) for each in advances],
        [progress.bars for progress in progresses],
        [progress.revisions for progress in progresses],
        [progress.state for progress in progresses],
    )


def _checkpoint_columns(advances: Sequence[Advance]) -> tuple[list[object], ...]:
    marks = [(each.instance.instance_id, mark) for each in advances for mark in each.reading.checkpoints]
    return (
        [instance_id for instance_id, _ in marks],
        [_moment(mark.at_ns) for _, mark in marks],
        [mark.bars for _, mark in marks],
        [mark.revisions for _, mark in marks],
        [mark.state for _, mark in marks],
    )


def _signal_columns(advances: Sequence[Advance]) -> tuple[list[object], ...]:
    found = [
        (each.instance.instance_id, found.signal, found.trigger_whole)
        for each in advances
        for found in each.reading.signals
        if each.judged_after_ns is None or found.signal.trigger_start_ns > each.judged_after_ns
    ]
    found.sort(key=lambda each: each[1].known_at_ns)
    return (
        [instance_id for instance_id, _, _ in found],
        [datetime_from_ns(signal.bar_start_ns) for _, signal, _ in found],
        [datetime_from_ns(signal.trigger_start_ns) for _, signal, _ in found],
        [datetime_from_ns(signal.known_at_ns) for _, signal, _ in found],
        [signal.signal_type for _, signal, _ in found],
        [float(signal.price) for _, signal, _ in found],
        [signal.rule for _, signal, _ in found],
        [whole for _, _, whole in found],
    )


def _instance(row: asyncpg.Record) -> Instance:
    progress = Progress(_ns(row["last_processed_timestamp"]), row["bars"], row["revisions"], row["state"])
    return Instance(row["instance_id"], _key(row), progress, _ns(row["first_timestamp"]), row["step"], row["fault"])


def _key(row: Mapping[str, Any]) -> AnalyzerKey:
    return AnalyzerKey(
        row["analyzer_id"],
        row["analyzer_version"],
        row["params"],
        row["contract_id"],
        Timeframe.parse(row["timeframe"]),
    )


def kept_signal(row: Mapping[str, Any]) -> KeptSignal:
    """Return the signal of a row of ``detected_signals``."""
    return KeptSignal(
        row["signal_id"], _key(row), row["signal_type"], ns_from_datetime(row["timestamp"]),
        ns_from_datetime(row["trigger_timestamp"]), ns_from_datetime(row["known_at"]), row["signal_price"], row["rule"],
        row["trigger_whole"], ns_from_datetime(row["stored_at"]), _ns(row["superseded_at"]), row["superseded_by"],
    )  # fmt: skip


def _bar(series: Series, row: asyncpg.Record) -> Bar:
    return Bar(
        *series, ns_from_datetime(row["timestamp"]), ns_from_datetime(row["ends_at"]),
        row["open"], row["high"], row["low"], row["close"], row["volume"], row["whole"], BarSource(row["source"]),
    )  # fmt: skip


def _series(row: asyncpg.Record) -> Series:
    return row["contract_id"], Timeframe(TimeframeUnit(row["timeframe_unit"]), row["timeframe_value"])


def _moment(at_ns: int | None) -> datetime | None:
    return None if at_ns is None else datetime_from_ns(at_ns)


def _ns(moment: datetime | None) -> int | None:
    return None if moment is None else ns_from_datetime(moment)
