"""What the coordinator wishes, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from escapement.model.signal import Signal
from escapement.model.timeframe import Timeframe

LONG, SHORT, FLAT = 1, -1, 0


class Action(StrEnum):
    """What shall become of the position."""

    ENTER_LONG = "enter_long"
    ENTER_SHORT = "enter_short"
    EXIT = "exit"
    REVERSE = "reverse"
    HOLD = "hold"


SignalIdentity = tuple[str, str, int, str, str, int, int, int, float, str]


class HeardSignal(msgspec.Struct, frozen=True, gc=False):  # see Signal for why
    """A stored signal as coordination hears it.

    ``version`` and ``params`` are the analyzer's, ``price`` is the last price when the signal became known (the close
    of its trigger bar), in points, ``direction`` what its type says: LONG, SHORT or FLAT for nothing. ``signal_id`` is
    its number in the store, which tells nothing of time.
    """

    signal: Signal
    version: int
    params: str
    price: float
    direction: int
    signal_id: int = 0

    @property
    def identity(self) -> SignalIdentity:
        """What makes it this signal, wherever and however often it is stored; sorts by time first within a series."""
        signal = self.signal
        return (
            str(signal.timeframe), signal.analyzer, self.version, self.params, signal.signal_type, signal.bar_start_ns,
            signal.trigger_start_ns, signal.known_at_ns, signal.price, signal.rule,
        )  # fmt: skip

    @property
    def timeframe(self) -> Timeframe:
        """The timeframe of its bars."""
        return self.signal.timeframe


@dataclass(frozen=True, slots=True)
class Decision:
    """A wish about the position in a contract.

    ``direction`` is the position wished from now on: LONG, SHORT or FLAT. ``confidence`` lies in 0 to 1. ``price`` is
    the last price (points) at ``known_at_ns`` (UTC), the earliest moment at which anyone could have decided so; an
    order would be filled later and elsewhere. ``because`` are the signals that led to it, ``rule`` names what spoke,
    ``words`` says it. ``decision_id`` is made of the inputs, so that whoever decides again comes to the same one.
    """

    decision_id: str
    coordinator: str
    contract_id: str
    action: Action
    direction: int
    confidence: float
    price: float
    known_at_ns: int
    rule: str
    words: str
    because: tuple[HeardSignal, ...]
