"""What passes between coordinators and where they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from escapement.core.coordination.voices import VoiceKey
from escapement.model import HeardSignal


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a coordinator stands with a contract, as committed; ``state`` is its snapshot as JSON, None at first.

    ``last_signal_id``: up to which number signals were looked at. ``at_ns``: the moment weighed last (UTC), None before
    the first. ``step`` counts what was committed; who commits must name it.
    """

    last_signal_id: int
    at_ns: int | None
    state: str | None
    step: int


@dataclass(frozen=True, slots=True)
class Given:
    """What a coordinator is to weigh next, all of one moment of the store.

    ``on_time``: signals of the moments to weigh. ``complete``: whether all trades up to there are known to be in the
    bars, and all analyzers have read them. ``late``: signals of moments that are past. ``left``: of voices that said
    what no longer holds, what is left of it. ``last_signal_id``: up to which number signals will have been looked at
    then. ``more``: whether there is more to read at once. ``waits``: what the next signals wait for, empty when there
    are none.
    """

    standing: Standing
    complete: bool
    on_time: tuple[HeardSignal, ...]
    late: tuple[HeardSignal, ...]
    left: Mapping[VoiceKey, tuple[HeardSignal, ...]]
    last_signal_id: int
    more: bool
    waits: str
