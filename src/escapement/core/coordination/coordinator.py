"""Signals of one contract to decisions, one moment after the other.

All signals that became known at the same time are one moment, and are weighed together:

1. each voice takes in what it says now                                     ``Voices.take``
2. for each direction said now, every entry rule says whether it wishes it; the first that does speaks   ``_Wish``
3. the voices that oppose are looked at                                     ``_Wish``
4. a wish against the position or from flat has to pass every gate          ``_Wish``
5. of two opposite wishes that still stand one is left, or none             ``_settle_rivals``
6. what is left changes the position, or an exit rule ends it               ``_decide``

Signals that come when their moment has passed change what the voices say, and no decision. What was made of a signal is
told when somebody reads it: rules are pure, so that those whose answer was not needed can still be asked then.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from escapement.core.coordination.rules import Conflict, OppositeSignal, PassThrough
from escapement.core.coordination.saved import read_signal, write_signal
from escapement.core.coordination.view import Entry, EntryRule, Gate, Told, Verdict, View, statement
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
    Timeframe,
)

_VERSION: Final = 1
_as_json: Final = json.JSONEncoder(separators=(",", ":")).encode
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


class _Wish:
    """A direction, what the rules say of it, and what is left of it."""

    __slots__ = (
        "_rules", "_told", "confidence", "decision", "direction", "exits", "rival", "spoken", "stands", "view",
    )  # fmt: skip

    def __init__(self, rules: Rules, view: View, direction: int) -> None:
        self._rules, self.view, self.direction = rules, view, direction
        self.exits: Sequence[Verdict] = ()
        self.spoken: Verdict | None = None
        self.stands: bool = False
        self.confidence: float = 0.0
        self.rival: Verdict | None = None
        self.decision: Decision | None = None
        self._told: tuple[Verdict, ...] | None = None

    def ask(self) -> None:
        """Ask those rules on which a decision hangs."""
        self.exits = self._exits()
        self.spoken = next((each for each in self._entries() if each.stands), None)
        if self.spoken is not None:
            conflict, gates = self._objections()
            self.stands = conflict.stands and all(gate.stands for gate in gates)
            self.confidence = self.spoken.confidence * conflict.confidence

    def _entries(self) -> Sequence[Verdict]:
        return _numbered([rule.propose(self.view, self.direction) for rule in self._rules.entries])

    def _exits(self) -> Sequence[Verdict]:
        return _numbered([rule.propose(self.view, self.direction) for rule in self._rules.exits])

    def _objections(self) -> tuple[Verdict, Sequence[Verdict]]:
        """Ask those that oppose and, where the position would change, every gate."""
        gates = () if self.view.position == self.direction else self._rules.gates
        return (
            self._rules.conflict.judge(self.view, self.direction),
            _numbered([gate.judge(self.view, self.direction) for gate in gates]),
        )

    def verdicts(self) -> tuple[Verdict, ...]:
        """Return what every rule says of it, also those that were not asked for the decision, and what came of it."""
        if self._told is None:
            conflict, gates = self._objections()
            rivals = () if self.rival is None else (self.rival,)
            self._told = (*self._entries(), conflict, *gates, *rivals, *self._exits(), _conclusion(self))
        return self._told


class Remark:
    """What was made of a signal: what each rule said, and the decision it belongs to, if any."""

    __slots__ = ("_said", "decision", "heard")

    def __init__(self, heard: HeardSignal, said: _Wish | Verdict, decision: Decision | None) -> None:
        self.heard, self.decision = heard, decision
        self._said = said

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What each rule said, and what came of it."""
        return (self._said,) if isinstance(self._said, Verdict) else self._said.verdicts()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remark) and self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self.heard)

    def __repr__(self) -> str:
        return f"Remark{self._fields()}"

    def _fields(self) -> tuple[object, ...]:
        return self.heard, self.verdicts, self.decision


class Coordinator:
    """Weighs the signals of one contract; ``calendar`` tells which session a moment belongs to."""

    def __init__(self, contract_id: str, rules: Rules, calendar: SessionCalendar) -> None:
        self._contract_id = contract_id
        self._rules = rules
        self._calendar = calendar
        # Nothing is decided at a moment at which nothing in one of these speaks.
        self._scopes = {rule.scope for rule in (*rules.entries, *rules.exits)}
        self._voices = Voices()
        self._pending: dict[int, list[HeardSignal]] = {}
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
        return self._voices.all()

    def push(self, heard: HeardSignal, /) -> Sequence[Remark]:
        """Take a signal; return what was made of it at once, which is something for late signals only.

        Raises:
            InvalidInput: the signal is of another contract; nothing has changed.
        """
        if heard.signal.contract_id != self._contract_id:
            raise InvalidInput(f"signal of {heard.signal.contract_id} was given to {self._contract_id}'s coordinator")
        if self._at_ns is None or heard.signal.known_at_ns > self._at_ns:
            self._pending.setdefault(heard.signal.known_at_ns, []).append(heard)
            return ()
        self._voices.take(heard)
        return (Remark(heard, _late(heard), None),)

    def advance(self, to_ns: int, /) -> Sequence[Remark]:
        """Decide every moment up to and including ``to_ns`` (UTC), oldest first; return a remark for each signal."""
        remarks: list[Remark] = []
        for moment_ns in sorted(each for each in self._pending if each <= to_ns):
            remarks += self._weigh(moment_ns, _once_each(self._pending.pop(moment_ns)))
            self._at_ns = moment_ns
        self._at_ns = to_ns if self._at_ns is None else max(self._at_ns, to_ns)
        return remarks

    def retract(self, key: VoiceKey, left: Sequence[HeardSignal]) -> None:
        """Let a voice say only what is ``left`` of its newest statements: others no longer hold. Decisions stay."""
        self._voices.retract(key, left)

    def keep_only(self, keys: Iterable[VoiceKey]) -> None:
        """Forget the voices of analyzers that are not among these."""
        self._voices.keep_only(keys)

    def _weigh(self, at_ns: int, heard: Sequence[HeardSignal]) -> list[Remark]:
        for each in heard:
            self._voices.take(each)
        view = View(at_ns, self._voices.all(), self._position, self._decided_ns, self._entries, self._trade_date(at_ns))
        said = sorted({voice.direction for voice in view.now})
        wishes = {direction: _Wish(self._rules, view, direction) for direction in said}
        decision = None
        if any(scope.holds(voice) for voice in view.now for scope in self._scopes):
            decision = self._decide(view, wishes, heard)
        reasons = () if decision is None else {each.identity for each in decision.because}
        return [
            Remark(
                each, wishes.get(each.direction) or _nothing_said(each),
                decision if reasons and each.identity in reasons else None,
            )
            for each in heard
        ]  # fmt: skip

    def _trade_date(self, at_ns: int) -> date | None:
        # A bar that ends with its session became known in that session.
        found = self._calendar.locate(at_ns - 1)
        return None if found is None else found[1].trade_date

    @staticmethod
    def _settle_rivals(view: View, one: _Wish, other: _Wish) -> None:
        """Let at most one of two opposite wishes stand: that of the larger timeframe that speaks now."""
        largest = {
            wish.direction: max(voice.timeframe for voice in view.now if voice.direction == wish.direction)
            for wish in (one, other)
        }
        for wish in (one, other):
            mine, theirs = largest[wish.direction], largest[-wish.direction]
            wish.stands = mine > theirs
            wish.rival = _rival(wish, mine, theirs)

    def _decide(self, view: View, wishes: Mapping[int, _Wish], heard: Sequence[HeardSignal]) -> Decision | None:
        for wish in wishes.values():
            wish.ask()
        if len(wishes) == 2 and all(wish.stands for wish in wishes.values()):
            self._settle_rivals(view, wishes[LONG], wishes[SHORT])
        chosen = next((wish for wish in wishes.values() if wish.stands), None)
        exits = [verdict for wish in wishes.values() for verdict in wish.exits if verdict.stands]
        if chosen is not None and chosen.spoken is not None and (chosen.direction != view.position or not exits):
            action = self._action(view.position, chosen.direction)
            rule, because, confidence = chosen.spoken.rule, chosen.spoken.because, chosen.confidence
        elif exits:  # before holding on: who names an exit wants out
            action, rule, because, confidence = Action.EXIT, exits[0].rule, exits[0].because, 1.0
        else:
            return None
        # Bars that end together end with the same trade; should they not, the smallest is nearest to it.
        price = min(heard, key=lambda each: each.timeframe).price
        decision = self._decision(view, action, rule, because, confidence, price)
        for wish in wishes.values():
            wish.decision = decision
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
        digest = hashlib.sha256(_as_json(inputs).encode()).hexdigest()[:32]
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
            # A copy: views of the past keep theirs.
            self._entries = {**self._entries, decision.direction: Entry(decision.known_at_ns, view.trade_date)}

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
                write_signal(heard)
                for moment_ns in sorted(self._pending)
                for heard in _once_each(self._pending[moment_ns])
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
            self._pending.setdefault(each.signal.known_at_ns, []).append(each)
        self._entries, self._at_ns, self._decided_ns = entries, at_ns, decided_ns
        self._position = FLAT if position is None else position


def _once_each(moment: list[HeardSignal]) -> list[HeardSignal]:
    """Return the signals of a moment in an order that does not depend on how they came, each as it came last."""
    if len(moment) == 1:
        return moment
    by_identity = {each.identity: each for each in moment}
    return [by_identity[identity] for identity in sorted(by_identity)]


def _numbered(verdicts: list[Verdict]) -> list[Verdict]:
    """Tell rules of the same kind apart: the second cooldown is ``cooldown 2``."""
    if len(verdicts) < 2 or len({each.rule for each in verdicts}) == len(verdicts):
        return verdicts
    seen: Counter[str] = Counter()
    found = []
    for verdict in verdicts:
        seen[verdict.rule] += 1
        number = seen[verdict.rule]
        found.append(verdict if number == 1 else verdict.renamed(f"{verdict.rule} {number}"))
    return found


def _rival(wish: _Wish, mine: Timeframe, theirs: Timeframe) -> Verdict:
    """Say which of two opposite wishes is on the larger timeframe."""

    def tell() -> Told:
        opposite = direction_name(-wish.direction)
        words = f"{opposite} is wished at the same moment, on {theirs}; this wish is on {mine}"
        return words, {"direction": direction_name(wish.direction), "mine": str(mine), "theirs": str(theirs)}

    return Verdict("rivals", tell, stands=mine > theirs)


def _conclusion(wish: _Wish) -> Verdict:
    """Say what came of a wish."""
    decision, position = wish.decision, wish.view.position

    def tell() -> Told:
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
        return words, values

    return Verdict("decision", tell, stands=decision is not None)


def _in_words(action: Action, position: int) -> str:
    if action is Action.REVERSE:
        return f"reverse from {direction_name(position)} to {direction_name(-position)}"
    if action is Action.HOLD:
        return f"hold {direction_name(position)}"
    if action is Action.EXIT:
        return f"exit {direction_name(position)}"
    return action.value.replace("_", " ")


def _nothing_said(heard: HeardSignal) -> Verdict:
    def tell() -> Told:
        signal = heard.signal
        values = {"direction": direction_name(heard.direction), "signal_type": signal.signal_type}
        if heard.direction == FLAT:
            return f"{signal.signal_type}: {_SAYS_NOTHING}", values
        words = f"{signal.analyzer} on {signal.timeframe} said something later, or the opposite, at the same moment"
        return words, values

    return Verdict("direction", tell, stands=False)


def _late(heard: HeardSignal) -> Verdict:
    words = "it came when its moment was decided; what it says counts from now on, and no decision changes"
    return Verdict("late", lambda: (words, {"direction": direction_name(heard.direction)}), stands=False)
