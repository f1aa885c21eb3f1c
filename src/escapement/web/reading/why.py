"""Why something was decided, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


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

    ``refused_by``: the first rule that did not stand, empty when all did.
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
