"""What an analyzer says about a bar."""

from __future__ import annotations

import msgspec

from escapement.model.timeframe import Timeframe

UPTREND_START = "uptrendStart"
DOWNTREND_START = "downtrendStart"


# A frozen dataclass takes 1.3 us to make, this 0.1 us, and trend starts make one every third bar. Signals refer to
# nothing that could refer to them, so the garbage collector need not know them.
class Signal(msgspec.Struct, frozen=True, gc=False):
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
