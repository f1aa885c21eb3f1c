"""Why something was decided, and why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from escapement import wiring
from escapement.errors import ConfigurationError
from escapement.model import Action
from escapement.settings import Settings
from escapement.storage import DBHandler
from escapement.storage.analysis import KeptSignal, kept_signal
from escapement.storage.coordination import CoordinationStore, KeptDecision, Note
from escapement.storage.execution import ExecutionStore
from escapement.storage.viewing import Row, ViewStore
from escapement.web.reading.moments import moment, moment_or_none

_MOST_CHECKS = 20


@dataclass(frozen=True, slots=True)
class DecisionShown:
    """A decision; ``direction`` is the position wished from then on, ``words`` why. Times UTC, price in points."""

    decision_id: str
    number: int
    coordinator: str
    contract_id: str
    action: str
    direction: int
    confidence: float
    price: float
    known_at: datetime
    decided_at: datetime
    rule: str
    words: str
    data_complete: bool


@dataclass(frozen=True, slots=True)
class SignalShown:
    """A signal; ``bar`` is the start of the bar it marks, ``trigger`` of that which revealed it."""

    signal_id: int
    contract_id: str
    analyzer: str
    timeframe: str
    signal_type: str
    price: float
    bar: datetime
    trigger: datetime
    known_at: datetime
    rule: str
    superseded_at: datetime | None
    superseded_by: int | None


@dataclass(frozen=True, slots=True)
class VerdictShown:
    """What a rule said, with the values it compared."""

    rule: str
    stands: bool
    words: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NoteShown:
    """A line of the decision log: what became of a signal. ``decision_id`` is None when it led to nothing.

    ``refused_by``: the first rule that did not stand, empty where it led to a decision or all did.
    """

    coordinator: str
    contract_id: str
    known_at: datetime
    signal: SignalShown
    verdicts: tuple[VerdictShown, ...]
    decision_id: str | None
    refused_by: str


@dataclass(frozen=True, slots=True)
class CheckShown:
    """What a risk check said of an entry."""

    code: str
    passed: bool
    words: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EntryShown:
    """What risk said of the entry of a decision."""

    account: str
    at: datetime
    size: int
    approved: bool
    words: str
    checks: tuple[CheckShown, ...]


@dataclass(frozen=True, slots=True)
class Why:
    """A decision, the signals that led to it, what each rule said, and what risk said of its entry on each account."""

    decision: DecisionShown
    signals: tuple[SignalShown, ...]
    verdicts: tuple[VerdictShown, ...]
    entries: tuple[EntryShown, ...]


@dataclass(frozen=True, slots=True)
class WhyNot:
    """A signal and what each coordinator made of it; ``unheard`` says why no rule was asked, empty when one was."""

    signal: SignalShown
    notes: tuple[NoteShown, ...]
    unheard: str


@dataclass(frozen=True, slots=True)
class Choices:
    """What the decision log can be filtered by."""

    contracts: tuple[str, ...]
    coordinators: tuple[str, ...]
    rules: tuple[str, ...]
    actions: tuple[str, ...]


async def why(database: DBHandler, decision_id: str) -> Why | None:
    """Return what led to a decision; None when it is not known.

    Raises:
        StorageError: the database does not answer.
    """
    store = CoordinationStore(database)
    found = [each for each in await store.decisions(beginning=decision_id, most=2) if each.decision_id == decision_id]
    if not found:
        return None
    notes = await store.notes(decision_id=decision_id)
    checks = await ExecutionStore(database).risk_checks(None, _MOST_CHECKS, decision_id=decision_id)
    return Why(
        decision_shown(found[0]), tuple(map(signal_shown, await store.signals(decision_id=decision_id))),
        _verdicts(notes[0].verdicts) if notes else (), tuple(map(_entry, checks)),
    )  # fmt: skip


async def why_not(settings: Settings, database: DBHandler, signal_id: int) -> WhyNot | None:
    """Return what became of a signal; None when it is not known.

    Raises:
        StorageError: the database does not answer.
    """
    store = CoordinationStore(database)
    signals = await store.signals(signal_ids=[signal_id])
    if not signals:
        return None
    notes = await store.notes(signal_id=signal_id)
    try:
        unheard = "" if notes else await wiring.unheard(settings, database, signals[0])
    except ConfigurationError as error:  # the settings of this program are not those of the coordinator
        unheard = str(error)
    shown = signal_shown(signals[0])
    return WhyNot(shown, tuple(_noted(each, shown) for each in notes), unheard)


async def choices(views: ViewStore) -> Choices:
    """Return what the decision log can be filtered by.

    Raises:
        StorageError: the database does not answer.
    """
    found = await views.choices()
    return Choices(
        tuple(found["contracts"]), tuple(found["coordinators"]), tuple(found["rules"]), tuple(map(str, Action))
    )


def decision_shown(each: KeptDecision) -> DecisionShown:
    """Return a stored decision as it is shown."""
    return DecisionShown(
        each.decision_id, each.number, each.coordinator, each.contract_id, str(each.action), each.direction,
        each.confidence, each.price, moment(each.known_at_ns), moment(each.decided_ns), each.rule, each.words,
        each.data_complete,
    )  # fmt: skip


def signal_shown(each: KeptSignal) -> SignalShown:
    """Return a stored signal as it is shown."""
    return SignalShown(
        each.signal_id, each.key.contract_id, each.key.analyzer, str(each.key.timeframe), each.signal_type, each.price,
        moment(each.bar_start_ns), moment(each.trigger_start_ns), moment(each.known_at_ns), each.rule,
        moment_or_none(each.superseded_ns), each.superseded_by,
    )  # fmt: skip


def note_shown(row: Row) -> NoteShown:
    """Return a line of the decision log as it is shown."""
    signal = signal_shown(kept_signal(row))
    return _note(row["coordinator_id"], signal, orjson.loads(row["verdicts"]), row["decision_id"])


def _noted(each: Note, signal: SignalShown) -> NoteShown:
    return _note(each.coordinator, signal, each.verdicts, each.decision_id)


def _note(
    coordinator: str, signal: SignalShown, said: Sequence[Mapping[str, Any]], decision_id: str | None
) -> NoteShown:
    verdicts = _verdicts(said)
    refused_by = "" if decision_id else next((each.rule for each in verdicts if not each.stands), "")
    return NoteShown(coordinator, signal.contract_id, signal.known_at, signal, verdicts, decision_id, refused_by)


def _verdicts(said: Sequence[Mapping[str, Any]]) -> tuple[VerdictShown, ...]:
    return tuple(VerdictShown(each["rule"], each["stands"], each["words"], each["values"]) for each in said)


def _entry(row: Mapping[str, Any]) -> EntryShown:
    checks = tuple(CheckShown(each["code"], each["passed"], each["words"], each["values"]) for each in row["checks"])
    return EntryShown(row["account"], row["at"], row["size"], row["approved"], row["words"], checks)
