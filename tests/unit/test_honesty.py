"""The honesty check finds planted faults, and only those."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from msgspec.structs import force_setattr

from escapement.analyzers import HonestyReport, available_analyzers, check_honesty
from escapement.analyzers.honesty import Fault
from escapement.core.analysis import Analyzer
from escapement.errors import InvalidInput
from escapement.model import Bar, Signal, Timeframe

HOUR = Timeframe.parse("1h")


def wandering(count: int) -> list[Bar]:
    chance = random.Random(3)
    bars, close = [], 20_000
    for n in range(count):
        opened = close + chance.choice((-1, 0, 1))
        high, low = opened + chance.randint(0, 8), opened - chance.randint(0, 8)
        close = chance.randint(low, high)
        bars.append(Bar("X", HOUR, n * 10, n * 10 + 10, opened / 4, high / 4, low / 4, close / 4, 1))
    return bars


BARS = wandering(300)


class Honest:
    """Signals each close above the one before."""

    name: ClassVar[str] = "planted"
    version: ClassVar[int] = 1
    params_type: ClassVar[type[Any]] = object
    warm_up_bars = 1

    def __init__(self) -> None:
        self.close: float | None = None
        self.count = 0

    def is_signal(self, bar: Bar) -> bool:
        return self.close is not None and bar.close > self.close

    def push(self, bar: Bar, /) -> Sequence[Signal]:
        self.count += 1
        found = [self.signal(bar)] if self.is_signal(bar) else []
        self.close = bar.close
        return found

    def signal(self, bar: Bar) -> Signal:
        return Signal("planted", "X", HOUR, "up", bar.start_ns, bar.start_ns, bar.end_ns, bar.close, "R")

    def advance(self, to_ns: int, /) -> Sequence[Signal]:  # noqa: ARG002 - the protocol's
        return ()

    def snapshot(self) -> dict[str, Any]:
        return {"close": self.close}

    def restore(self, state: Mapping[str, Any], /) -> None:
        self.close = state["close"]


class PeeksAtTheCaller(Honest):
    """Finds the list that is being read, and the next bar in it."""

    def is_signal(self, bar: Bar) -> bool:
        frame = sys._getframe()
        while frame.f_back is not None:
            frame = frame.f_back
            bars = frame.f_locals.get("bars")
            if isinstance(bars, list) and bar in bars:
                here = bars.index(bar)
                return here + 1 < len(bars) and bars[here + 1].close > bar.close
        return False


class ReadsAFile(Honest):
    def is_signal(self, bar: Bar) -> bool:  # noqa: ARG002 - as the one it replaces
        try:
            with Path("bars_of_tomorrow.csv").open() as file:
                return bool(file.read())
        except OSError:
            return False


class ChangesEarlierSignals(Honest):
    """Moves the last signal to a better price once it knows one."""

    last: Signal | None = None

    def push(self, bar: Bar, /) -> Sequence[Signal]:
        if self.last is not None and bar.low < self.last.price:
            force_setattr(self.last, "price", bar.low)
        found = super().push(bar)
        self.last = found[0] if found else self.last
        return found


class MarksTheNextBar(Honest):
    def signal(self, bar: Bar) -> Signal:
        return Signal("planted", "X", HOUR, "up", bar.start_ns + 10, bar.start_ns, bar.end_ns, bar.close, "R")


class BackdatesItself(Honest):
    def signal(self, bar: Bar) -> Signal:
        return Signal("planted", "X", HOUR, "up", bar.start_ns, bar.start_ns - 10, bar.end_ns - 10, bar.close, "R")


class RemembersInItsClass(Honest):
    seen: ClassVar[list[int]] = []

    def is_signal(self, bar: Bar) -> bool:
        self.seen.append(bar.start_ns)
        return super().is_signal(bar) and len(self.seen) > 50


class RollsDice(Honest):
    def is_signal(self, bar: Bar) -> bool:  # noqa: ARG002 - as the one it replaces
        return random.random() < 0.5


class ForgetsToSave(Honest):
    def is_signal(self, bar: Bar) -> bool:
        return super().is_signal(bar) and self.count % 7 == 0


class CannotBeSaved(Honest):
    def snapshot(self) -> dict[str, Any]:
        return {"close": object()}


class Stumbles(Honest):
    def is_signal(self, bar: Bar) -> bool:  # noqa: ARG002 - as the one it replaces
        if self.count == 17:
            raise InvalidInput("seventeen")
        return False


class NeedsMoreThanItSays(Honest):
    """Signals new highs of all it has read."""

    warm_up_bars = 5
    highest = 0.0

    def is_signal(self, bar: Bar) -> bool:
        is_new = bar.high > self.highest
        self.highest = max(self.highest, bar.high)
        return is_new

    def snapshot(self) -> dict[str, Any]:
        return {"close": self.close, "highest": self.highest}

    def restore(self, state: Mapping[str, Any], /) -> None:
        super().restore(state)
        self.highest = state["highest"]


def checked(create: Callable[[], Analyzer], bars: Sequence[Bar] = BARS) -> HonestyReport:
    return check_honesty(create, bars)


def test_an_honest_analyzer_is_found_honest() -> None:
    report = checked(Honest)
    assert report.is_honest
    assert len(report.proved) == 5
    assert report.signals > 50


PLANTED = [
    (PeeksAtTheCaller, Fault.LOOK_AHEAD, "it says"),
    (ReadsAFile, Fault.LOOK_AHEAD, "open bars_of_tomorrow.csv"),
    (ChangesEarlierSignals, Fault.LOOK_AHEAD, "was changed later"),
    (MarksTheNextBar, Fault.LOOK_AHEAD, "has not been pushed yet"),
    (BackdatesItself, Fault.LOOK_AHEAD, "another bar than the one pushed"),
    (RemembersInItsClass, Fault.HIDDEN_STATE, "a second analyzer"),
    (RollsDice, Fault.HIDDEN_STATE, "a second analyzer"),
    (ForgetsToSave, Fault.HIDDEN_STATE, "saved and restored before"),
    (CannotBeSaved, Fault.FAILURE, "saving and restoring raised TypeError"),
    (Stumbles, Fault.FAILURE, "it raised InvalidInput('seventeen')"),
    (NeedsMoreThanItSays, Fault.SHORT_WARM_UP, "5 bars of warm-up"),
]


@pytest.mark.parametrize(("planted", "fault", "detail"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_fault_is_found_and_named(planted: type[Honest], fault: Fault, detail: str) -> None:
    report = checked(planted)
    assert report.finding is not None
    assert report.finding.fault == fault
    assert detail in report.finding.detail
    assert not report.is_honest


def test_the_first_bar_that_differs_is_named() -> None:
    finding = checked(Stumbles).finding
    assert finding is not None
    assert (finding.bar_number, finding.bar_start_ns) == (17, 160)
    assert str(finding).startswith("failure at bar 17 (1970-01-01T00:00:00.00000016Z): ")

    changed = checked(ForgetsToSave).finding
    assert changed is not None
    rising = [n for n in range(2, len(BARS) + 1) if BARS[n - 1].close > BARS[n - 2].close]
    assert changed.bar_number == next(n for n in rising if n % 7 == 0)


def test_a_list_handed_out_and_changed_later_is_found() -> None:
    class KeepsWriting(Honest):
        def __init__(self) -> None:
            super().__init__()
            self.all: list[Signal] = []

        def push(self, bar: Bar, /) -> Sequence[Signal]:
            self.all += super().push(bar)
            return self.all

    finding = checked(KeepsWriting).finding
    assert finding is not None
    assert finding.fault == Fault.LOOK_AHEAD


def test_a_file_too_short_for_the_warm_up_proves_nothing_about_it() -> None:
    report = checked(NeedsMoreThanItSays, BARS[:5])
    assert report.finding is None
    assert "it needs 5 bars and the file has 5" in report.unproved[0]
    assert not report.is_honest


@pytest.mark.parametrize("plugin", available_analyzers()[0], ids=lambda plugin: plugin.name)
def test_all_built_in_analyzers_are_honest(plugin: Any) -> None:
    report = check_honesty(lambda: plugin.create(plugin.params_type()), wandering(900))
    assert report.is_honest, report
    assert report.signals > 10
