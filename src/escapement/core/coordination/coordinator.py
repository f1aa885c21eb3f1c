"""Signals of one contract to decisions, one moment after the other.

All signals that became known at the same time are one moment, and are weighed together:

1. each voice takes in what it says now                                     ``Voices.take``
2. for each direction said now, every entry rule says whether it wishes it; the first that does speaks   ``_wish``
3. the voices that oppose are looked at                                     ``_wish``
4. a wish against the position or from flat has to pass every gate          ``_wish``
5. of two opposite wishes that still stand one is left, or none             ``_settle_rivals``
6. what is left changes the position, or an exit rule ends it               ``_decide``

Signals that come when their moment has passed change what the voices say, and no decision.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final

from escapement.core.coordination.rules import Conflict, OppositeSignal, PassThrough
from escapement.core.coordination.saved import read_signal, write_signal
from escapement.core.coordination.view import Entry, EntryRule, Gate, Verdict, View, statement
from escapement.core.coordination.voices import Voice, VoiceKey, Voices
from escapement.core.coordination.words import direction_name, figure
from escapement.errors import InvalidInput
from escapement.model import (
    FLAT,
    LONG,
    SHORT,
    Action,
    Decision,
    HeardSignal,
    SessionCalendar,
    SignalIdentity,
    Timeframe,
)

_VERSION: Final = 1
_SAYS_NOTHING: Final = "its type says no direction; coordinator.directions names those that do"


@dataclass(frozen=True)
class Rules:
    """What a coordinator named ``coordinator`` goes by.

    ``entries``: the first that wishes speaks. ``exits``: any ends a position. ``reverses``: whether a wish against the
    position turns it round; else it ends it.

    Raises:
        InvalidInput: there is no entry rule.
    """

    coordinator: str
    entries: tuple[EntryRule, ...]
    conflict: Conflict = field(default_factory=Conflict)
    gates: tuple[Gate, ...] = ()
    exits: tuple[OppositeSignal, ...] = ()
    reverses: bool = True

    def __post_init__(self) -> None:
        if not self.entries:
            raise InvalidInput("entries is empty; name at least one rule, such as pass_through")

    def follows_each(self, timeframe: Timeframe, analyzer: str) -> bool:
        """Whether the position wished is what one analyzer says, where no other one speaks that could oppose it."""
        first = self.entries[0]
        return (
            isinstance(first, PassThrough) and timeframe in (first.timeframes or (timeframe,))
            and analyzer in (first.analyzers or (analyzer,)) and not self.gates and self.reverses
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Remark:
    """What was made of a signal: what each rule said, and the decision it belongs to, if any."""

    heard: HeardSignal
    verdicts: tuple[Verdict, ...]
    decision: Decision | None


@dataclass(slots=True)
class _Wish:
    """A direction, what every rule said of it, and what is left of it."""

    direction: int
    verdicts: list[Verdict]
    because: tuple[Voice, ...] = ()
    rule: str = ""
    confidence: float = 0.0
    stands: bool = False


class Coordinator:
    """Weighs the signals of one contract; ``calendar`` tells which session a moment belongs to."""

    def __init__(self, contract_id: str, rules: Rules, calendar: SessionCalendar) -> None:
        self._contract_id = contract_id
        self._rules = rules
        self._calendar = calendar
        self._voices = Voices()
        self._pending: dict[int, dict[SignalIdentity, HeardSignal]] = {}
        self._at_ns: int | None = None
        self._position = FLAT
        self._decided_ns: int | None = None
        self._entries: dict[int, Entry] = {}

    @property
    def at_ns(self) -> int | None:
        """Up to which moment it has decided (UTC, inclusive); None before the first."""
        return self._at_ns

    @property
    def position(self) -> int:
        """The position wished: LONG, SHORT or FLAT."""
        return self._position

    @property
    def voices(self) -> Sequence[Voice]:
        """What each analyzer said last, largest timeframe first."""
        return tuple(self._voices)

    def push(self, heard: HeardSignal, /) -> Sequence[Remark]:
        """Take a signal; return what was made of it at once, which is something for late signals only.

        Raises:
            InvalidInput: the signal is of another contract; nothing has changed.
        """
        if heard.signal.contract_id != self._contract_id:
            raise InvalidInput(f"signal of {heard.signal.contract_id} was given to {self._contract_id}'s coordinator")
        if self._at_ns is None or heard.signal.known_at_ns > self._at_ns:
            self._pending.setdefault(heard.signal.known_at_ns, {})[heard.identity] = heard
            return ()
        self._voices.take(heard)
        return (Remark(heard, (_late(heard),), None),)

    def advance(self, to_ns: int, /) -> Sequence[Remark]:
        """Decide every moment up to and including ``to_ns`` (UTC), oldest first; return a remark for each signal."""
        remarks: list[Remark] = []
        for moment_ns in sorted(each for each in self._pending if each <= to_ns):
            moment = self._pending.pop(moment_ns)
            remarks += self._weigh(moment_ns, [moment[identity] for identity in sorted(moment)])
            self._at_ns = moment_ns
        self._at_ns = to_ns if self._at_ns is None else max(self._at_ns, to_ns)
        return remarks

    def retract(self, key: VoiceKey, left: Sequence[HeardSignal]) -> None:
        """Let a voice say only what is ``left`` of its newest statements: others no longer hold. Decisions stay."""
        self._voices.retract(key, left)

    def keep_only(self, keys: Iterable[VoiceKey]) -> None:
        """Forget the voices of analyzers that are not among these."""
        self._voices.keep_only(keys)

    def _weigh(self, at_ns: int, heard: Sequence[HeardSignal]) -> Iterator[Remark]:
        for each in heard:
            self._voices.take(each)
        view = View(
            at_ns, tuple(self._voices), self._position, self._decided_ns, dict(self._entries), self._trade_date(at_ns)
        )
        said = {voice.direction for voice in view.voices if voice.since_ns == at_ns} - {FLAT}
        wishes = {direction: self._wish(view, direction) for direction in sorted(said)}
        if len(wishes) == 2 and all(wish.stands for wish in wishes.values()):
            self._settle_rivals(view, wishes[LONG], wishes[SHORT])
        # Bars that end together end with the same trade; should they not, the smallest is nearest to it.
        decision = self._decide(view, wishes, min(heard, key=lambda each: each.timeframe).price)
        reasons = set() if decision is None else {each.identity for each in decision.because}
        for each in heard:
            wish = wishes.get(each.direction)
            verdicts = (_nothing_said(each),) if wish is None else tuple(wish.verdicts)
            yield Remark(each, verdicts, decision if each.identity in reasons else None)

    def _trade_date(self, at_ns: int) -> date | None:
        # A bar that ends with its session became known in that session.
        found = self._calendar.locate(at_ns - 1)
        return None if found is None else found[1].trade_date

    def _wish(self, view: View, direction: int) -> _Wish:
        """Ask every rule about a direction; those that are not needed any more are asked all the same."""
        proposals = [rule.propose(view, direction) for rule in self._rules.entries]
        wish = _Wish(direction, _numbered(proposals))
        spoken = next((each for each in wish.verdicts if each.stands), None)
        conflict = self._rules.conflict.judge(view, direction)
        wish.verdicts.append(conflict)
        wish.stands = spoken is not None and conflict.stands
        if spoken is not None:
            wish.rule, wish.because = spoken.rule, spoken.because
            wish.confidence = spoken.confidence * conflict.confidence
        if view.position != direction:
            gates = _numbered(gate.judge(view, direction) for gate in self._rules.gates)
            wish.verdicts += gates
            wish.stands = wish.stands and all(gate.stands for gate in gates)
        return wish

    @staticmethod
    def _settle_rivals(view: View, one: _Wish, other: _Wish) -> None:
        """Let at most one of two opposite wishes stand: that of the larger timeframe that speaks now."""
        largest = {
            wish.direction: max(voice.timeframe for voice in view.voices
                                if voice.since_ns == view.at_ns and voice.direction == wish.direction)
            for wish in (one, other)
        }  # fmt: skip
        for wish in (one, other):
            mine, theirs = largest[wish.direction], largest[-wish.direction]
            wish.stands = mine > theirs
            words = (
                f"{direction_name(-wish.direction)} is wished at the same moment, on {theirs}; this wish is on {mine}"
            )
            values = {"direction": direction_name(wish.direction), "mine": str(mine), "theirs": str(theirs)}
            wish.verdicts.append(Verdict("rivals", words, values, stands=wish.stands))

    def _decide(self, view: View, wishes: Mapping[int, _Wish], price: float) -> Decision | None:
        chosen = next((wish for wish in wishes.values() if wish.stands), None)
        exits = []
        for direction, wish in wishes.items():
            verdicts = _numbered(rule.propose(view, direction) for rule in self._rules.exits)
            wish.verdicts += verdicts
            exits += [verdict for verdict in verdicts if verdict.stands]
        if chosen is not None and (chosen.direction != view.position or not exits):
            action = self._action(view.position, chosen.direction)
            rule, because, confidence = chosen.rule, chosen.because, chosen.confidence
        elif exits:  # before holding on: who names an exit wants out
            action, rule, because, confidence = Action.EXIT, exits[0].rule, exits[0].because, 1.0
        else:
            _conclude(wishes.values(), view.position, None)
            return None
        decision = self._decision(view, action, rule, because, confidence, price)
        _conclude(wishes.values(), view.position, decision)
        self._remember(decision, view)
        return decision

    def _action(self, position: int, direction: int) -> Action:
        if position == direction:
            return Action.HOLD
        if position == FLAT:
            return Action.ENTER_LONG if direction == LONG else Action.ENTER_SHORT
        return Action.REVERSE if self._rules.reverses else Action.EXIT

    def _decision(
        self, view: View, action: Action, rule: str, because: Sequence[Voice], confidence: float, price: float
    ) -> Decision:
        position = {
            Action.EXIT: FLAT, Action.HOLD: view.position, Action.REVERSE: -view.position,
            Action.ENTER_LONG: LONG, Action.ENTER_SHORT: SHORT,
        }[action]  # fmt: skip
        reasons = tuple(voice.last for voice in because)
        inputs = [
            self._rules.coordinator, self._contract_id, view.at_ns, action, rule, view.position,
            sorted(each.identity for each in reasons),
        ]  # fmt: skip
        digest = hashlib.sha256(json.dumps(inputs, separators=(",", ":")).encode()).hexdigest()[:32]
        words = (
            f"{_in_words(action, view.position)} at {price:.15g} with confidence {figure(confidence)}, "
            f"because of {statement(because)}, by {rule}"
        )
        return Decision(
            digest, self._rules.coordinator, self._contract_id, action, position, confidence, price, view.at_ns, rule,
            words, reasons,
        )  # fmt: skip

    def _remember(self, decision: Decision, view: View) -> None:
        if decision.action is Action.HOLD:
            return
        self._position = decision.direction
        self._decided_ns = decision.known_at_ns
        if decision.direction != FLAT:
            self._entries[decision.direction] = Entry(decision.known_at_ns, view.trade_date)

    def snapshot(self) -> dict[str, Any]:
        """Return everything the future depends on, except the rules, as plain JSON data."""
        return {
            "version": _VERSION,
            "contract_id": self._contract_id,
            "at_ns": self._at_ns,
            "position": self._position,
            "decided_ns": self._decided_ns,
            "entries": [
                [direction, entry.at_ns, None if entry.trade_date is None else entry.trade_date.isoformat()]
                for direction, entry in sorted(self._entries.items())
            ],
            "voices": self._voices.snapshot(),
            "pending": [
                write_signal(self._pending[moment_ns][identity])
                for moment_ns in sorted(self._pending)
                for identity in sorted(self._pending[moment_ns])
            ],
        }

    def restore(self, state: Mapping[str, Any], /) -> None:
        """Continue from a snapshot, with whatever rules this coordinator has.

        Raises:
            InvalidInput: it is of another version or contract, or spoilt; nothing has changed.
        """
        found = state.get("version"), state.get("contract_id")
        if found != (_VERSION, self._contract_id):
            raise InvalidInput(
                f"saved state is of version {found[0]} and {found[1]}, not {_VERSION} and {self._contract_id}"
            )
        voices = Voices()
        try:
            voices.restore(self._contract_id, state["voices"])
            pending = [read_signal(self._contract_id, each) for each in state["pending"]]
            entries = {
                int(direction): Entry(int(at_ns), None if day is None else date.fromisoformat(day))
                for direction, at_ns, day in state["entries"]
            }
            at_ns, position, decided_ns = (
                None if state[name] is None else int(state[name]) for name in ("at_ns", "position", "decided_ns")
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"saved state of {self._contract_id}'s coordinator is spoilt ({error!r})") from None
        self._voices, self._pending = voices, {}
        for each in pending:
            self._pending.setdefault(each.signal.known_at_ns, {})[each.identity] = each
        self._entries, self._at_ns, self._decided_ns = entries, at_ns, decided_ns
        self._position = FLAT if position is None else position


def _numbered(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Tell rules of the same kind apart: the second cooldown is ``cooldown 2``."""
    verdicts = list(verdicts)
    if len({each.rule for each in verdicts}) == len(verdicts):
        return verdicts
    seen: Counter[str] = Counter()
    found = []
    for verdict in verdicts:
        seen[verdict.rule] += 1
        number = seen[verdict.rule]
        found.append(verdict if number == 1 else replace(verdict, rule=f"{verdict.rule} {number}"))
    return found


def _conclude(wishes: Iterable[_Wish], position: int, decision: Decision | None) -> None:
    """Add to what is said of each direction what came of it."""
    for wish in wishes:
        before = direction_name(position)
        if decision is None:
            words = f"no decision; the position stays {before}"
        else:
            words = f"{_in_words(decision.action, position)}; the position was {before}"
        values = {
            "direction": direction_name(wish.direction), "position": before,
            "action": None if decision is None else str(decision.action),
            "confidence": None if decision is None else round(decision.confidence, 4),
        }  # fmt: skip
        wish.verdicts.append(Verdict("decision", words, values, stands=decision is not None))


def _in_words(action: Action, position: int) -> str:
    if action is Action.REVERSE:
        return f"reverse from {direction_name(position)} to {direction_name(-position)}"
    if action is Action.HOLD:
        return f"hold {direction_name(position)}"
    if action is Action.EXIT:
        return f"exit {direction_name(position)}"
    return action.value.replace("_", " ")


def _nothing_said(heard: HeardSignal) -> Verdict:
    values = {"direction": direction_name(heard.direction), "signal_type": heard.signal.signal_type}
    if heard.direction == FLAT:
        return Verdict("direction", f"{heard.signal.signal_type}: {_SAYS_NOTHING}", values, stands=False)
    words = f"{heard.signal.analyzer} on {heard.timeframe} said something later, or the opposite, at the same moment"
    return Verdict("direction", words, values, stands=False)


def _late(heard: HeardSignal) -> Verdict:
    words = "it came when its moment was decided; what it says counts from now on, and no decision changes"
    return Verdict("late", words, {"direction": direction_name(heard.direction)}, stands=False)
