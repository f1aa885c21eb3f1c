"""The rules of trend starts as they are written, scans and all: slow, and plain to compare with the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Start(NamedTuple):
    trigger: int
    bar: int
    signal_type: str
    rule: str


class Prices(NamedTuple):
    o: float
    h: float
    l: float  # noqa: E741 - the rules' own letter
    c: float


@dataclass
class ReferenceTrends:
    """All bars are kept; numbers are 1-based."""

    bars: Sequence[Prices]

    def __post_init__(self) -> None:
        self.low: int | None = None
        self.high: int | None = None
        self.last: tuple[str, int] | None = None
        self.contained_since: int | None = None
        self.box = (0.0, 0.0)
        self.found: list[Start] = []

    def at(self, number: int) -> Prices:
        return self.bars[number - 1]

    def run(self) -> list[Start]:
        for k in range(2, len(self.bars) + 1):
            self.step(k)
        return self.found

    def set_high(self, x: int) -> bool:
        if x > 1 and self.at(x).h < self.at(x - 1).h:
            return False
        if self.high is None or self.at(x).h > self.at(self.high).h:
            self.high = x
            return True
        return False

    def set_low(self, x: int) -> None:
        if self.low is None or self.at(x).l < self.at(self.low).l:
            self.low = x

    def emit(self, k: int, x: int, signal_type: str, rule: str) -> None:
        if all((start.bar, start.signal_type) != (x, signal_type) for start in self.found):
            self.found.append(Start(k, x, signal_type, rule))

    def step(self, k: int) -> None:
        cur, prev = self.at(k), self.at(k - 1)
        if self.low is not None and any(self.at(j).l < self.at(self.low).l for j in range(self.low + 1, k - 1)):
            self.low = None
        low, high = self.low, self.high
        self.contain(k)
        held = self.contained_since is not None and k > self.contained_since + 5
        up = None if held or low is None else self.uptrend_rule(k, low, high)
        down = None if held or high is None else self.downtrend_rule(k, high)
        if up is not None and low is not None:
            self.apply_uptrend(k, low, up)
        if down is not None and high is not None:
            self.apply_downtrend(k, high, down)
        if self.contained_since is not None and self.contained_since < k:
            return
        if down is None and cur.h > prev.h and cur.c < cur.o and self.set_high(k):
            return
        if down is None and cur.h <= prev.h:
            self.set_high(k - 1)
        if up is None and (cur.l >= prev.l or (cur.h > prev.h and cur.l < prev.l and cur.c < cur.o)):
            self.set_low(k - 1)

    def contain(self, k: int) -> None:
        cur = self.at(k)
        if self.contained_since is not None and not (cur.h <= self.box[0] and cur.l >= self.box[1]):
            self.contained_since = None
        if self.contained_since is None:
            reference = self.high if self.high is not None else self.low
            if reference is not None:
                box = self.at(reference)
                if cur.h <= box.h and cur.l >= box.l:
                    self.contained_since, self.box = k, (box.h, box.l)

    def uptrend_rule(self, k: int, p: int, d: int | None) -> str | None:
        cur, prev, low = self.at(k), self.at(k - 1), self.at(p)
        high = None if d is None else self.at(d)
        later = d is not None and d > p
        rules = {
            "EXHAUSTION_REVERSAL": cur.l < prev.l and cur.h < prev.h and cur.c < prev.c
            and not (high is not None and cur.l < high.l) and k - p <= 6,
            "LowUndercutHighRespect": high is not None and later and cur.l < high.l and cur.h <= high.h
            and cur.c > prev.c,
            "HigherHighLowerLowDownClose": cur.h > prev.h and cur.l < prev.l and cur.c < cur.o,
            "EngulfingUpPDSLowBreak": high is not None and cur.h > prev.h and cur.l < prev.l and cur.c > prev.c
            and cur.c > cur.o and cur.l < high.l,
            "BreakoutAfterFailedLowV2": high is not None and later
            and not any(self.at(j).l < low.l for j in range(p + 1, k)) and cur.h > high.h and cur.c > prev.c
            and cur.c > cur.o,
        }  # fmt: skip
        return next((name for name, holds in rules.items() if holds), None)

    def downtrend_rule(self, k: int, d: int) -> str | None:
        cur, prev, high = self.at(k), self.at(k - 1), self.at(d)
        unbroken = not any(self.at(j).h > high.h for j in range(d + 1, k))
        pulled_back = any(self.at(j).l <= high.l for j in range(d + 1, k))
        rules = {
            "LowThenHigherClose_vs_PDSOpen": cur.l < prev.l and cur.h > prev.h and cur.c > prev.c and unbroken
            and cur.l < high.o,
            "RallyLowBreaksPeakLow_A": pulled_back and cur.h > prev.h and cur.c > prev.c and unbroken
            and cur.l < high.l,
            "NewHighWeakAdvance_B": pulled_back and cur.c > prev.c and cur.l >= prev.l and cur.h > high.h and unbroken,
            "FailedRallyAfterLowBreak_F": unbroken and prev.l < high.l and cur.h > prev.h and cur.c < prev.c
            and cur.c < cur.o,
            "HigherOHLCAfterLowBreak_G": cur.l > prev.l and cur.h > prev.h and cur.c > prev.c and unbroken
            and prev.l < high.l,
            "OutsideBarStrongerClose_H": d == k - 1 and cur.h > high.h and cur.l < high.l and cur.c > high.c,
        }  # fmt: skip
        return next((name for name, holds in rules.items() if holds), None)

    def apply_uptrend(self, k: int, p: int, rule: str) -> None:
        if self.last is not None and self.last[0] == "up" and self.last[1] < p and p - self.last[1] > 1:
            between = range(self.last[1] + 1, p)
            self.emit(k, max(between, key=lambda j: (self.at(j).h, -j)), "downtrendStart", f"FORCED_by_CUS_{rule}")
        self.emit(k, p, "uptrendStart", rule)
        self.last = ("up", p)
        self.low = None
        if rule == "HigherHighLowerLowDownClose":
            self.set_high(k)
        elif rule != "EngulfingUpPDSLowBreak" and self.at(k).h <= self.at(p).h:
            self.set_high(p)

    def apply_downtrend(self, k: int, d: int, rule: str) -> None:
        if self.last is not None and self.last[0] == "down" and self.last[1] < d and d - self.last[1] > 1:
            between = range(self.last[1] + 1, d)
            self.emit(k, min(between, key=lambda j: (self.at(j).l, j)), "uptrendStart", f"FORCED_by_CDS_{rule}")
        self.emit(k, d, "downtrendStart", rule)
        self.last = ("down", d)
        if self.low is not None and self.low < d:
            self.low = None
        if self.high == d:
            self.high = None
