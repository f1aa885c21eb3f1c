"""What rules look at, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any, ClassVar, Final, Protocol

from escapement.core.coordination.voices import Scope, Voice
from escapement.model import FLAT, Timeframe

Told = tuple[str, Mapping[str, Any]]
Sides = tuple[list[Timeframe], list[Timeframe], list[Voice]]
_EVER: Final = -(1 << 63)
_NO_ENTRIES: Final[Mapping[int, Entry]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Entry:
    """When a position was decided, and in which session; ``trade_date`` is None where the calendar knows none."""

    at_ns: int
    trade_date: date | None


class View:
    """One contract at one moment, which nobody changes.

    ``voices``: what every analyzer said last, this moment included; ``now``: those of them that say a direction at this
    very moment. ``position``: the position wished so far. ``decided_ns``: when the last decision that changed it was
    known, None before the first. ``entries``: the last decision to be long and the last to be short. ``trade_date``: of
    the session that the moment belongs to. Times are nanoseconds UTC.
    """

    __slots__ = ("at_ns", "decided_ns", "entries", "now", "position", "trade_date", "voices")

    def __init__(
        self, at_ns: int, voices: tuple[Voice, ...], position: int = FLAT, decided_ns: int | None = None,
        entries: Mapping[int, Entry] = _NO_ENTRIES, trade_date: date | None = None,
    ) -> None:  # fmt: skip
        self.at_ns, self.voices, self.position = at_ns, voices, position
        self.decided_ns, self.entries, self.trade_date = decided_ns, entries, trade_date
        self.now = [voice for voice in voices if voice.last.signal.known_at_ns >= at_ns and voice.direction != FLAT]

    def heard(self, scope: Scope, within_ns: int | None = None) -> list[Voice]:
        """Return the voices in scope that say a direction and spoke at most so long ago."""
        earliest_ns = _EVER if within_ns is None else self.at_ns - within_ns
        return [
            voice for voice in self.voices
            if voice.direction != FLAT and voice.last.signal.known_at_ns >= earliest_ns and scope.holds(voice)
        ]  # fmt: skip

    def fresh(self, scope: Scope, direction: int) -> list[Voice]:
        """Return the voices in scope that said ``direction`` at this very moment."""
        return [voice for voice in self.now if voice.direction == direction and scope.holds(voice)]

    def on(self, timeframe: Timeframe, analyzers: tuple[str, ...], within_ns: int | None = None) -> list[Voice]:
        """Return the voices of a timeframe that spoke last; none when they contradict one another."""
        newest: list[Voice] = []
        newest_ns = _EVER if within_ns is None else self.at_ns - within_ns
        for voice in self.voices:
            signal = voice.last.signal
            if signal.timeframe == timeframe and signal.known_at_ns >= newest_ns and voice.direction != FLAT:
                if analyzers and signal.analyzer not in analyzers:
                    continue
                if signal.known_at_ns > newest_ns:
                    newest, newest_ns = [], signal.known_at_ns
                newest.append(voice)
        return newest if len({voice.direction for voice in newest}) == 1 else []

    def sides(
        self, timeframes: Iterable[Timeframe], analyzers: tuple[str, ...], within_ns: int | None, direction: int
    ) -> Sides:
        """Return the timeframes that say ``direction``, those that do not, and the voices of the former."""
        agreeing: list[Timeframe] = []
        others: list[Timeframe] = []
        because: list[Voice] = []
        for timeframe in sorted(timeframes, reverse=True):
            voices = self.on(timeframe, analyzers, within_ns)
            if voices and voices[0].direction == direction:
                agreeing.append(timeframe)
                because += voices
            else:
                others.append(timeframe)
        return agreeing, others, because


class Verdict:
    """What a rule says of going a direction.

    ``words`` says it with the same numbers as ``values``, the values compared as plain JSON data. Both are written when
    somebody reads them, for most are never read. Where it stands, ``confidence`` (0 to 1) is what the rule leaves of it
    and ``because`` are the voices that speak for it.

    Args:
        rule: the name of the rule.
        tell: writes words and values; what it tells of must not change any more.
        stands: whether the rule is for it.
        confidence: see above.
        because: see above.
    """

    __slots__ = ("_tell", "_told", "because", "confidence", "rule", "stands")

    def __init__(
        self, rule: str, tell: Callable[[], Told], *, stands: bool, confidence: float = 1.0,
        because: tuple[Voice, ...] = (),
    ) -> None:  # fmt: skip
        self.rule, self.stands, self.confidence, self.because = rule, stands, confidence, because
        self._tell = tell
        self._told: Told | None = None

    @property
    def words(self) -> str:
        """The verdict in words."""
        return self._written()[0]

    @property
    def values(self) -> Mapping[str, Any]:
        """What was compared, as plain JSON data."""
        return self._written()[1]

    def renamed(self, rule: str) -> Verdict:
        """Return the same as said by a rule of another name."""
        return Verdict(rule, self._tell, stands=self.stands, confidence=self.confidence, because=self.because)

    def _written(self) -> Told:
        if self._told is None:
            self._told = self._tell()
        return self._told

    def _fields(self) -> tuple[object, ...]:
        return self.rule, self.words, self.values, self.stands, self.confidence, self.because

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Verdict) and self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash((self.rule, self.stands))

    def __repr__(self) -> str:
        return f"Verdict{self._fields()}"


class EntryRule(Protocol):
    """Wishes a position."""

    name: ClassVar[str]

    @property
    def scope(self) -> Scope:
        """The voices of which one has to speak now; else whatever it is asked it wishes nothing."""
        ...

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
