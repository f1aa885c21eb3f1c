"""What an analyzer says about a bar."""

from __future__ import annotations

from dataclasses import dataclass

from escapement.model.timeframe import Timeframe

UPTREND_START = "uptrendStart"
DOWNTREND_START = "downtrendStart"


@dataclass(frozen=True, slots=True)
class Signal:
    """A statement about one bar (the marked bar), known from a later or the same bar (the trigger bar) on.

    ``bar_start_ns`` and ``trigger_start_ns`` are the labels of the two bars (``Bar.start_ns``); ``known_at_ns`` is the
    end of the trigger bar, the earliest moment at which anyone could act on the signal. All are nanoseconds since
    1970-01-01 UTC. ``price`` is in points as quoted. ``signal_type`` is ``uptrendStart``, ``downtrendStart`` or a name
    the analyzer chose; ``rule`` says why. Nothing in a signal depends on where reading began.
    """

    analyzer: str
    contract_id: str
    timeframe: Timeframe
    signal_type: str
    bar_start_ns: int
    trigger_start_ns: int
    known_at_ns: int
    price: float
    rule: str
