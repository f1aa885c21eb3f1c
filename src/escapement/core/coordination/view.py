"""What rules look at, and what they answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import date
from typing import Any, ClassVar, Final, Protocol

from escapement.core.coordination.voices import Scope, Voice
from escapement.model import FLAT, Timeframe

_EVER: Final = -(1 << 63)


@dataclass(frozen=True, slots=True)
class Entry:
    """When a position was decided, and in which session; ``trade_date`` is None where the calendar knows none."""

    at_ns: int
    trade_date: date | None


@dataclass(frozen=True, slots=True)
class View:
    """One contract at one moment.

    ``voices``: what every analyzer said last, this moment included. ``position``: the position wished so far.
    ``decided_ns``: when the last decision that changed it was known, None before the first. ``entries``: the last
    decision to be long and the last to be short. ``trade_date``: of the session that the moment belongs to. Times are
    nanoseconds UTC.
    """

    at_ns: int
    voices: tuple[Voice, ...]
    position: int = FLAT
    decided_ns: int | None = None
    entries: Mapping[int, Entry] = field(default_factory=dict)
    trade_date: date | None = None

    def heard(self, scope: Scope, within_ns: int | None = None) -> list[Voice]:
        """Return the voices in scope that say a direction and spoke at most so long ago."""
        earliest_ns = _EVER if within_ns is None else self.at_ns - within_ns
        return [
            voice for voice in self.voices
            if voice.direction != FLAT and voice.last.signal.known_at_ns >= earliest_ns and scope.holds(voice)
        ]  # fmt: skip

    def fresh(self, scope: Scope, direction: int) -> list[Voice]:
        """Return the voices in scope that said ``direction`` at this very moment."""
        return [voice for voice in self.heard(scope, 0) if voice.direction == direction]

    def on(self, timeframe: Timeframe, analyzers: tuple[str, ...], within_ns: int | None = None) -> list[Voice]:
        """Return the voices of a timeframe that spoke last; none when they contradict one another."""
        voices = self.heard(Scope((timeframe,), analyzers), within_ns)
        newest_ns = max((voice.since_ns for voice in voices), default=0)
        newest = [voice for voice in voices if voice.since_ns == newest_ns]
        return newest if len({voice.direction for voice in newest}) == 1 else []


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says of going a direction.

    ``words`` says it with the same numbers as ``values``, the values compared as plain JSON data. ``confidence`` (0 to
    1) is what the rule leaves of it, ``because`` the voices that speak for it.
    """

    rule: str
    words: str
    values: Mapping[str, Any]
    _: KW_ONLY
    stands: bool
    confidence: float = 1.0
    because: tuple[Voice, ...] = ()


class EntryRule(Protocol):
    """Wishes a position."""

    name: ClassVar[str]

    def propose(self, view: View, direction: int) -> Verdict:
        """Say whether the signals of this moment, with what was said before, wish to go ``direction``."""
        ...


class Gate(Protocol):
    """Lets a wish pass or not."""

    name: ClassVar[str]

    def judge(self, view: View, direction: int) -> Verdict:
        """Say whether a decision to go ``direction`` may be taken now."""
        ...


def statement(voices: Iterable[Voice]) -> str:
    """Write what voices said, such as ``uptrendStart of trend_starts on 1h``."""
    return ", ".join(f"{voice.last.signal.signal_type} of {voice.analyzer} on {voice.timeframe}" for voice in voices)
