"""What each analyzer on each timeframe said last.

A voice is one analyzer instance. Of all that it said the newest counts: what became known last and, of that, what is
said of the latest bar. Two opposite statements of one moment about one bar cancel each other. Taking in a signal is
thus the same in any order and any number of times.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from escapement.core.coordination.saved import read_signal, write_signal
from escapement.model import FLAT, HeardSignal, Timeframe

VoiceKey = tuple[str, str, int, str]


class Voice(NamedTuple):
    """The newest statement of one analyzer instance; ``direction`` is FLAT when it contradicts itself."""

    last: HeardSignal
    direction: int

    @property
    def timeframe(self) -> Timeframe:
        """The timeframe it reads."""
        return self.last.signal.timeframe

    @property
    def analyzer(self) -> str:
        """The analyzer's name."""
        return self.last.signal.analyzer

    @property
    def since_ns(self) -> int:
        """When its statement became known, nanoseconds UTC."""
        return self.last.signal.known_at_ns


class Scope(NamedTuple):
    """Which voices a rule listens to; empty stands for all."""

    timeframes: tuple[Timeframe, ...] = ()
    analyzers: tuple[str, ...] = ()

    def holds(self, voice: Voice) -> bool:
        """Whether the voice counts."""
        signal = voice.last.signal
        return (not self.timeframes or signal.timeframe in self.timeframes) and (
            not self.analyzers or signal.analyzer in self.analyzers
        )


class Voices:
    """The voices of one contract."""

    def __init__(self) -> None:
        # Largest timeframe first, and in an order that does not depend on when they spoke.
        self._by_key: dict[VoiceKey, Voice] = {}

    def all(self) -> tuple[Voice, ...]:
        """Return the voices, largest timeframe first, in an order that does not depend on when they spoke."""
        return tuple(self._by_key.values())

    def take(self, heard: HeardSignal) -> None:
        """Let a voice say something; FLAT signals say nothing."""
        if heard.direction == FLAT:
            return
        key = voice_key(heard)
        known = self._by_key.get(key)
        if known is None:
            self._by_key[key] = Voice(heard, heard.direction)
            self._sort()
        else:
            self._by_key[key] = _newer(known, heard)

    def _sort(self) -> None:
        by_name = sorted(self._by_key.items(), key=lambda item: item[0])
        self._by_key = dict(sorted(by_name, key=lambda item: item[1].timeframe, reverse=True))

    def keep_only(self, keys: Iterable[VoiceKey]) -> None:
        """Forget voices that are not among these (timeframe, analyzer, version, parameters)."""
        kept = set(keys)
        self._by_key = {key: voice for key, voice in self._by_key.items() if key in kept}

    def retract(self, key: VoiceKey, left: Sequence[HeardSignal]) -> None:
        """Let a voice, some of whose statements no longer hold, say only what is ``left`` of its newest ones."""
        self._by_key.pop(key, None)
        for heard in left:
            self.take(heard)

    def snapshot(self) -> list[dict[str, Any]]:
        """Return the voices as plain JSON data."""
        return [{"direction": voice.direction, "last": write_signal(voice.last)} for voice in self.all()]

    def restore(self, contract_id: str, saved: Sequence[dict[str, Any]]) -> None:
        """Take the place of what was said with a snapshot."""
        voices = [Voice(read_signal(contract_id, each["last"]), int(each["direction"])) for each in saved]
        self._by_key = {voice_key(voice.last): voice for voice in voices}
        self._sort()


def _newer(known: Voice, heard: HeardSignal) -> Voice:
    last = known.last
    ours, theirs = last.signal, heard.signal
    if theirs.known_at_ns != ours.known_at_ns:
        return Voice(heard, heard.direction) if theirs.known_at_ns > ours.known_at_ns else known
    if theirs.bar_start_ns != ours.bar_start_ns:
        return Voice(heard, heard.direction) if theirs.bar_start_ns > ours.bar_start_ns else known
    chosen = min(last, heard, key=lambda each: each.identity)
    return Voice(chosen, known.direction if heard.direction == known.direction else FLAT)


def voice_key(heard: HeardSignal) -> VoiceKey:
    """Return which voice says this: timeframe, analyzer, version and parameters."""
    signal = heard.signal
    return str(signal.timeframe), signal.analyzer, heard.version, heard.params
