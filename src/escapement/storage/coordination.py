"""Decisions, and where each coordinator stands, in PostgreSQL.

What a coordinator is given is read in one snapshot: the signals, how far the analyzers have got, and up to when the
data is known to be complete. Every commit names the step it builds on, as those of analyzers do; commits follow one
another under a lock, so that ``decision_number`` grows in the order in which decisions can be seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson

from escapement.core.analysis import AnalyzerKey
from escapement.core.coordination import Given, Remark, Standing, VoiceKey
from escapement.model import Action, Decision, HeardSignal, Signal, Timeframe
from escapement.moments import datetime_from_ns, ns_from_datetime
from escapement.storage import queries
from escapement.storage.analysis import KeptSignal, _key_columns, _moment, kept_signal
from escapement.storage.database import DBHandler
from escapement.storage.failures import translated

_OPEN = queries.load("open_coordination")
_STANDING = queries.load("coordination")
_UNREAD = queries.load("unread_bars")
_CHANGED = queries.load("changed_instances")
_PROVEN = queries.load("proven_until")
_WAITING = queries.load("waiting_signals")
_TO_WEIGH = queries.load("signals_to_weigh")
_LEFT = queries.load("left_of_voices")
_COMMIT = queries.load("commit_coordination")
_DECISIONS = queries.load("decisions")
_NOTES = queries.load("decision_notes")
_SIGNALS = queries.load("signals_by_id")
_LOCK = "SELECT pg_advisory_xact_lock(6022140762)"
_WITHOUT_JIT = "SET LOCAL jit = off"
# Of how many of the newest bars it is made sure that analyzers read them as they are stored.
_NEWEST = 300
_GRAIN = timedelta(microseconds=1)
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class KeptDecision:
    """A stored decision; times in nanoseconds UTC. See the table ``decisions`` for what the fields mean."""

    decision_id: str
    number: int
    coordinator: str
    contract_id: str
    action: Action
    direction: int
    confidence: float
    price: float
    known_at_ns: int
    rule: str
    words: str
    data_complete: bool
    decided_ns: int


@dataclass(frozen=True, slots=True)
class Note:
    """What rules said of a signal: ``verdicts`` with ``rule``, ``stands``, ``words`` and ``values``."""

    coordinator: str
    signal_id: int
    contract_id: str
    known_at_ns: int
    verdicts: Sequence[Mapping[str, Any]]
    decision_id: str | None


class CoordinationStore:
    """The database as the coordinator sees it; every method raises StorageError.

    ``directions``: by signal type, 1 for long and -1 for short; others say nothing.
    """

    def __init__(self, database: DBHandler, directions: Mapping[str, int] | None = None) -> None:
        self._database = database
        self._pool = database.pool
        self._directions = directions or {}

    async def open(self, coordinator: str, contract_id: str) -> None:
        """Take note of a coordinator of a contract that was not there yet."""
        with translated():
            await self._pool.execute(_OPEN, coordinator, contract_id)

    async def read(
        self, coordinator: str, contract_id: str, keys: Sequence[AnalyzerKey], *, most: int, patience_s: float
    ) -> Given:
        """Return what to weigh next.

        Args:
            coordinator: its name.
            contract_id: of the gateway.
            keys: the instances of analyzers to listen to, all of this contract.
            most: about how many signals.
            patience_s: how long signals wait for data or analyzers that are not complete.
        """
        with translated():
            async with (
                self._pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                await connection.execute(_WITHOUT_JIT)  # it would take longer than the queries
                return await _Reading(connection, self._directions, coordinator, contract_id, keys).given(
                    most, timedelta(seconds=patience_s)
                )

    async def commit(
        self, coordinator: str, contract_id: str, given: Given, at_ns: int | None, state: str, remarks: Sequence[Remark]
    ) -> bool:
        """Store what came of ``given``, in one transaction; return False when another service was first."""
        decisions = {each.decision.decision_id: each.decision for each in remarks if each.decision is not None}
        arguments = (
            coordinator, contract_id, given.standing.step, given.last_signal_id, _moment(at_ns), state,
            *_decision_columns(list(decisions.values()), complete=given.complete), *_note_columns(remarks),
        )  # fmt: skip
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(_LOCK)
                row = await connection.fetchrow(_COMMIT, *arguments)
        self._database.ring("decisions", [contract_id] if decisions else [])
        return bool(row["moved"])

    async def decisions(
        self,
        *,
        contracts: Sequence[str] | None = None,
        actions: Sequence[str] | None = None,
        from_ns: int | None = None,
        to_ns: int | None = None,
        most: int | None = None,
        beginning: str | None = None,
        coordinator: str | None = None,
        rule: str | None = None,
    ) -> list[KeptDecision]:
        """Return the newest decisions known in ``[from_ns, to_ns)``, oldest of them first; None asks for all.

        ``beginning``: how their ids begin; ``rule``: which spoke.
        """
        with translated():
            rows = await self._pool.fetch(
                _DECISIONS, contracts, actions, _moment(from_ns), _moment(to_ns), most, beginning, coordinator, rule
            )
        return [_kept_decision(row) for row in rows]

    async def notes(self, *, signal_id: int | None = None, decision_id: str | None = None) -> list[Note]:
        """Return what was said of a signal, or of those that led to a decision when they became known."""
        with translated():
            rows = await self._pool.fetch(_NOTES, signal_id, decision_id)
        return [
            Note(
                row["coordinator_id"], row["signal_id"], row["contract_id"], ns_from_datetime(row["known_at"]),
                orjson.loads(row["verdicts"]), row["decision_id"],
            )
            for row in rows
        ]  # fmt: skip

    async def signals(self, *, signal_ids: Sequence[int] = (), decision_id: str | None = None) -> list[KeptSignal]:
        """Return signals by their numbers, and those that led to a decision."""
        with translated():
            return [kept_signal(row) for row in await self._pool.fetch(_SIGNALS, signal_ids, decision_id)]


@dataclass(frozen=True, slots=True)
class _Bound:
    """Up to which moment all is complete (None: nothing waits), and what later signals wait for.

    ``is_stuck``: no analyzer that is behind has moved for a while. ``is_known``: it is known what was observed, and no
    analyzer is at fault.
    """

    until: datetime | None
    waits: str
    is_stuck: bool
    is_known: bool


class _Reading:
    """Reads one snapshot."""

    def __init__(
        self,
        connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record],
        directions: Mapping[str, int],
        coordinator: str,
        contract_id: str,
        keys: Sequence[AnalyzerKey],
    ) -> None:
        self._connection = connection
        self._directions = directions
        self._coordinator = coordinator
        self._contract_id = contract_id
        self._keys = keys

    async def given(self, most: int, patience: timedelta) -> Given:
        """Return what to weigh next."""
        row = await self._connection.fetchrow(_STANDING, self._coordinator, self._contract_id)
        at, now = row["coordinated_to"], row["now"]
        standing = Standing(row["last_processed_signal_id"], _ns(at), row["state"], row["step"])
        instances = await self._connection.fetch(
            _UNREAD, *_key_columns(self._keys), [int(key.timeframe.unit) for key in self._keys],
            [key.timeframe.value for key in self._keys],
        )  # fmt: skip
        ids = [each["instance_id"] for each in instances if each["instance_id"] is not None]
        waiting = await self._connection.fetchrow(_WAITING, self._contract_id, ids, at, most, now - patience)
        bound = await self._bound(at, waiting["first"], instances, now - patience)
        first, overdue, to = waiting["first"], waiting["overdue"], bound.until
        can_go_ahead = to is not None and overdue is not None and bound.is_stuck and overdue > to
        goes_ahead = can_go_ahead and first > to  # not before all is weighed that is complete
        complete = bound.is_known and not goes_ahead
        wanted = (overdue if goes_ahead else to, waiting["enough"])
        to = min((each for each in wanted if each is not None), default=None)
        newest = row["newest_signal_id"] or 0
        found = await self._connection.fetch(
            _TO_WEIGH, self._contract_id, ids, at, to, standing.last_signal_id, newest, most
        )
        late = tuple(self._heard(each) for each in found if each["late"])
        on_time = tuple(self._heard(each) for each in found if not each["late"])
        is_cut = len(late) >= most
        return Given(
            standing, complete, on_time, late, await self._left(), late[-1].signal_id if is_cut else newest,
            is_cut or (bool(on_time) and (can_go_ahead or to == waiting["enough"])), "" if on_time else bound.waits,
        )  # fmt: skip

    async def _left(self) -> dict[VoiceKey, tuple[HeardSignal, ...]]:
        left: dict[VoiceKey, tuple[HeardSignal, ...]] = {}
        for row in await self._connection.fetch(_LEFT, self._coordinator, self._contract_id):
            key = row["timeframe"], row["analyzer_id"], row["analyzer_version"], row["params"]
            left[key] = (*left.get(key, ()), *([] if row["signal_id"] is None else [self._heard(row)]))
        return left

    async def _bound(
        self,
        at: datetime | None,
        first: datetime | None,
        instances: Sequence[asyncpg.Record],
        since: datetime,
    ) -> _Bound:
        if first is None:
            return _Bound(None, "", is_stuck=False, is_known=True)
        sound = [each for each in instances if not each["fault"]]  # who is at fault holds up nobody
        behind = [each for each in sound if each["ends_at"] is not None]
        bounds = [
            (each["ends_at"] - _GRAIN, f"{self._named(each['place'])} has yet to read its bars") for each in behind
        ]
        ids = [each["instance_id"] for each in sound if each["instance_id"] is not None]
        if await self._connection.fetch(_CHANGED, ids, _NEWEST):
            bounds.append((first - _GRAIN, "bars were revised and have yet to be read again"))
        proven = await self._connection.fetchval(_PROVEN, self._contract_id, at, first)
        if proven is not None:
            bounds.append((proven, f"trades after {proven:%Y-%m-%d %H:%M:%S}Z may be missing from the bars"))
        until, waits = min(bounds, default=(_NEVER, ""))
        # An analyzer that moved a moment ago may be catching up with years of bars.
        is_stuck = all(each["updated_at"] is None or each["updated_at"] < since for each in behind)
        is_known = proven is not None and len(sound) == len(instances)
        return _Bound(until, waits if until < first else "", is_stuck=is_stuck, is_known=is_known)

    def _named(self, place: int) -> str:
        key = self._keys[place - 1]
        return f"{key.analyzer} on {key.timeframe}"

    def _heard(self, row: asyncpg.Record) -> HeardSignal:
        signal = Signal(
            row["analyzer_id"], row["contract_id"], Timeframe.parse(row["timeframe"]), row["signal_type"],
            ns_from_datetime(row["timestamp"]), ns_from_datetime(row["trigger_timestamp"]),
            ns_from_datetime(row["known_at"]), row["signal_price"], row["rule"],
        )  # fmt: skip
        direction = self._directions.get(row["signal_type"], 0)
        return HeardSignal(signal, row["analyzer_version"], row["params"], row["price"], direction, row["signal_id"])


def _decision_columns(decisions: Sequence[Decision], *, complete: bool) -> tuple[list[object], ...]:
    reasons = [(each.decision_id, heard.signal_id) for each in decisions for heard in each.because]
    return (
        [each.decision_id for each in decisions],
        [str(each.action) for each in decisions],
        [each.direction for each in decisions],
        [each.confidence for each in decisions],
        [each.price for each in decisions],
        [datetime_from_ns(each.known_at_ns) for each in decisions],
        [each.rule for each in decisions],
        [each.words for each in decisions],
        [complete for _ in decisions],
        [decision_id for decision_id, _ in reasons],
        [signal_id for _, signal_id in reasons],
    )


def _note_columns(remarks: Sequence[Remark]) -> tuple[list[object], ...]:
    return (
        [each.heard.signal_id for each in remarks],
        [datetime_from_ns(each.heard.signal.known_at_ns) for each in remarks],
        [
            orjson.dumps(
                [
                    {"rule": said.rule, "stands": said.stands, "words": said.words, "values": said.values}
                    for said in each.verdicts
                ]
            ).decode()
            for each in remarks
        ],
        [None if each.decision is None else each.decision.decision_id for each in remarks],
    )


def _kept_decision(row: asyncpg.Record) -> KeptDecision:
    return KeptDecision(
        row["decision_id"], row["decision_number"], row["coordinator_id"], row["contract_id"], Action(row["action"]),
        row["direction"], row["confidence"], row["price"], ns_from_datetime(row["known_at"]), row["rule"], row["words"],
        row["data_complete"], ns_from_datetime(row["decided_at"]),
    )  # fmt: skip


def _ns(moment: datetime | None) -> int | None:
    return None if moment is None else ns_from_datetime(moment)
