"""Trend starts: the bars at which up- and downtrends began, each known some bars later, at its trigger bar.

Each bar is one step; docs/analyzers.md gives the rules in words.

1. A pending low that was undercut earlier is dropped         ``_include``
2. Containment in the range of a pending bar begins or ends   ``_is_held_back``
3. Does the pending low become an uptrend start?              ``_uptrend_rule``
4. Does the pending high become a downtrend start?            ``_downtrend_rule``
5. The confirmed starts, and those they force                 ``_confirm_uptrend``, ``_confirm_downtrend``
6. New pending starts                                         ``_find_pending``

The rules speak of "some bar between". Nothing is searched for: each pending start carries the highest and the lowest
bar since its own, and the lowest or highest bar between the last confirmed start and itself, taken from the running
extreme at the moment it became pending. A bar's record is shared by all who refer to it and remembers which starts
were told of it, so repeats are dropped without a list of what was told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar, Final

from escapement.core.analysis.analyzer import check_version
from escapement.core.analysis.pending import Pending, Seen, read_pending, read_seen
from escapement.errors import InvalidInput
from escapement.model import DOWNTREND_START, UPTREND_START, Bar, Signal

_NAME: Final = "trend_starts"
_VERSION: Final = 1
_EXHAUSTION_BARS: Final = 6
_CONTAINED_BARS: Final = 5  # after so many bars inside the box signals are held back
_NO_PEAK: Final = Seen(0, 0, 0.0, inf, -inf, 0.0, 0.0)  # neither undercut nor exceeded by any bar


@dataclass(frozen=True)
class TrendStartsParams:
    """Trend starts have no parameters; the rules fix every number."""


class TrendStarts:
    """Finds trend starts in the bars of one contract and timeframe; constant time and memory per bar."""

    name: ClassVar[str] = _NAME
    version: ClassVar[int] = _VERSION
    params_type: ClassVar[type[Any]] = TrendStartsParams

    __slots__ = (
        "_box_high", "_box_low", "_box_since", "_extreme", "_extreme_replaced", "_high", "_last", "_last_is_up", "_low",
        "_prev",
    )  # fmt: skip

    def __init__(self, params: TrendStartsParams | None = None) -> None:  # noqa: ARG002 - every analyzer is made alike
        self._prev: Seen | None = None
        self._low: Pending | None = None
        self._high: Pending | None = None
        self._last: int = 0  # number of the last confirmed bar, 0 when there is none
        self._last_is_up: bool = False
        # Highest bar since a last uptrend start, or lowest since a last downtrend start; and which it was before.
        self._extreme: Seen | None = None
        self._extreme_replaced: Seen | None = None
        self._box_since: int = 0  # 0 while not contained
        self._box_high: float = 0.0
        self._box_low: float = 0.0

    @property
    def warm_up_bars(self) -> int:
        """A measured number: in principle a pending high waits as long as it takes; see docs/analyzers.md."""
        return 500

    def push(self, bar: Bar, /) -> Sequence[Signal]:
        """Take the next bar; return the starts it confirms, each with its forced one before it."""
        prev = self._prev
        if prev is None:
            self._prev = Seen(1, bar.start_ns, bar.open, bar.high, bar.low, bar.close, bar.high)
            return ()
        self._prev = cur = Seen(prev.number + 1, bar.start_ns, bar.open, bar.high, bar.low, bar.close, prev.high)
        self._include(prev)
        low, high = self._low, self._high
        uptrend = downtrend = ""
        if not self._is_held_back(cur):
            if low is not None:
                uptrend = _uptrend_rule(cur, prev, low, _NO_PEAK if high is None else high.seen)
            if high is not None:
                downtrend = _downtrend_rule(cur, prev, high)
        told: list[Signal] = []
        if uptrend and low is not None:
            self._confirm_uptrend(bar, cur, uptrend, low, told)
        if downtrend and high is not None:
            self._confirm_downtrend(bar, downtrend, high, told)
        if not self._box_since or self._box_since == cur.number:
            self._find_pending(cur, prev, is_up=uptrend != "", is_down=downtrend != "")
        return told or ()

    def advance(self, to_ns: int, /) -> Sequence[Signal]:  # noqa: ARG002 - the protocol's; time alone reveals no start
        """Return nothing: only a bar reveals a start."""
        return ()

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain JSON data; records of bars are listed once and referred to by number."""
        seen: dict[int, Seen] = {}

        def number(of: Seen | None) -> int:
            if of is None:
                return 0
            seen[of.number] = of
            return of.number

        state = {
            "analyzer": _NAME,
            "version": _VERSION,
            "prev": number(self._prev),
            "low": None if self._low is None else [number(each) for each in self._low.bars()],
            "high": None if self._high is None else [number(each) for each in self._high.bars()],
            "last": self._last,
            "last_is_up": self._last_is_up,
            "extreme": number(self._extreme),
            "extreme_replaced": number(self._extreme_replaced),
            "box": [self._box_since, self._box_high, self._box_low],
        }
        return {**state, "bars": [each.fields() for each in seen.values()]}

    def restore(self, state: Mapping[str, Any], /) -> None:
        """Continue from a snapshot.

        Raises:
            InvalidInput: it is of another version or spoilt; nothing has changed.
        """
        check_version(state, _NAME, _VERSION)
        try:
            seen: dict[int, Seen | None] = {0: None}
            for fields in state["bars"]:
                each = read_seen(fields)
                seen[each.number] = each
            prev = seen[state["prev"]]
            low, high = (read_pending(state[side], seen) for side in ("low", "high"))
            extreme, extreme_replaced = seen[state["extreme"]], seen[state["extreme_replaced"]]
            last, is_up = int(state["last"]), bool(state["last_is_up"])
            since, box_high, box_low = state["box"]
            box = int(since), float(box_high), float(box_low)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput(f"saved state of {_NAME} is spoilt ({error!r}); do without it") from None
        self._prev = prev
        self._low, self._high = low, high
        self._extreme, self._extreme_replaced = extreme, extreme_replaced
        self._last, self._last_is_up = last, is_up
        self._box_since, self._box_high, self._box_low = box

    def _include(self, prev: Seen) -> None:
        high = self._high
        if high is not None:
            lowest, highest = high.lowest, high.highest
            if lowest is None or highest is None or prev.low < lowest.low or prev.high > highest.high:
                high.include(prev)
        low = self._low
        if low is not None:
            lowest, highest = low.lowest, low.highest
            if lowest is not None and lowest.low < low.seen.low:
                self._low = None
            elif lowest is None or highest is None or prev.low < lowest.low or prev.high > highest.high:
                low.include(prev)
        if self._last:
            extreme = self._extreme
            if extreme is None or (prev.high > extreme.high if self._last_is_up else prev.low < extreme.low):
                self._extreme_replaced = extreme
                self._extreme = prev

    def _is_held_back(self, cur: Seen) -> bool:
        if self._box_since and (cur.high > self._box_high or cur.low < self._box_low):
            self._box_since = 0
        if not self._box_since:
            reference = self._high or self._low
            if reference is not None and cur.high <= reference.seen.high and cur.low >= reference.seen.low:
                self._box_since = cur.number
                self._box_high, self._box_low = reference.seen.high, reference.seen.low
            return False
        return cur.number > self._box_since + _CONTAINED_BARS

    def _confirm_uptrend(self, bar: Bar, cur: Seen, rule: str, low: Pending, told: list[Signal]) -> None:
        if self._last_is_up and self._last < low.seen.number and low.between is not None:
            _tell(bar, low.between, DOWNTREND_START, f"FORCED_by_CUS_{rule}", told)
        _tell(bar, low.seen, UPTREND_START, rule, told)
        self._last, self._last_is_up = low.seen.number, True
        self._extreme = low.highest
        self._low = None
        if rule == "HigherHighLowerLowDownClose":
            if self._may_be_high(cur):
                self._high = Pending(cur, None if self._high is None else self._high.lowest)
        elif rule != "EngulfingUpPDSLowBreak" and cur.high <= low.seen.high and self._may_be_high(low.seen):
            self._high = Pending(low.seen, low.lowest_from_high, low.highest, low.lowest)

    def _confirm_downtrend(self, bar: Bar, rule: str, high: Pending, told: list[Signal]) -> None:
        is_after = 0 < self._last < high.seen.number
        if is_after and not self._last_is_up and high.between is not None:
            _tell(bar, high.between, UPTREND_START, f"FORCED_by_CDS_{rule}", told)
        _tell(bar, high.seen, DOWNTREND_START, rule, told)
        self._last, self._last_is_up = high.seen.number, False
        self._extreme = high.lowest
        if self._low is not None and self._low.seen.number < high.seen.number:
            self._low = None
        if self._high is high:
            self._high = None

    def _find_pending(self, cur: Seen, prev: Seen, *, is_up: bool, is_down: bool) -> None:
        is_higher = cur.high > prev.high
        if not is_down:
            if not is_higher:
                if self._may_be_high(prev):
                    self._high = Pending(prev, None if self._last_is_up else self._extreme_before(prev))
            elif cur.close < cur.open and self._may_be_high(cur):
                self._high = Pending(cur, None if self._last_is_up else self._extreme)
                return
        if is_up or (self._low is not None and prev.low >= self._low.seen.low):
            return
        if cur.low >= prev.low or (is_higher and cur.close < cur.open):
            self._low = Pending(prev, self._extreme_before(prev) if self._last_is_up else None)
            if self._high is not None:
                self._low.lowest_from_high = self._high.lowest_before(prev)

    def _extreme_before(self, prev: Seen) -> Seen | None:
        return self._extreme_replaced if self._extreme is prev else self._extreme

    def _may_be_high(self, seen: Seen) -> bool:
        return seen.high >= seen.high_before and (self._high is None or seen.high > self._high.seen.high)


def _uptrend_rule(cur: Seen, prev: Seen, low: Pending, peak: Seen) -> str:
    """Return the name of the first rule that confirms the pending low; ``peak`` is the bar of the pending high."""
    is_undercut = cur.low < peak.low
    is_lower = cur.low < prev.low
    is_stronger = cur.close > prev.close
    if is_lower and cur.high < prev.high and cur.close < prev.close and not is_undercut:
        if cur.number - low.seen.number <= _EXHAUSTION_BARS:
            return "EXHAUSTION_REVERSAL"
    elif is_undercut and is_stronger and cur.high <= peak.high and peak.number > low.seen.number:
        return "LowUndercutHighRespect"
    elif is_lower and cur.high > prev.high:
        if cur.close < cur.open:
            return "HigherHighLowerLowDownClose"
        if is_undercut and is_stronger and cur.close > cur.open:
            return "EngulfingUpPDSLowBreak"
    if is_stronger and cur.close > cur.open and cur.high > peak.high and peak.number > low.seen.number:
        is_failed = low.lowest is not None and low.lowest.low < low.seen.low
        return "" if is_failed else "BreakoutAfterFailedLowV2"
    return ""


def _downtrend_rule(cur: Seen, prev: Seen, high: Pending) -> str:
    """Return the name of the first rule that confirms the pending high."""
    peak = high.seen
    if high.highest is None or high.highest.high <= peak.high:
        rule = _unbroken_rule(cur, prev, peak, is_pulled_back=high.lowest is not None and high.lowest.low <= peak.low)
        if rule:
            return rule
    if peak.number == prev.number and cur.high > peak.high and cur.low < peak.low and cur.close > peak.close:
        return "OutsideBarStrongerClose_H"
    return ""


def _unbroken_rule(cur: Seen, prev: Seen, peak: Seen, *, is_pulled_back: bool) -> str:
    """Return the first rule that holds, of those for a pending high that no bar has exceeded before this one."""
    is_higher = cur.high > prev.high
    if cur.close > prev.close:
        if is_higher and cur.low < prev.low and cur.low < peak.open:
            return "LowThenHigherClose_vs_PDSOpen"
        if is_higher and is_pulled_back and cur.low < peak.low:
            return "RallyLowBreaksPeakLow_A"
        if is_pulled_back and cur.low >= prev.low and cur.high > peak.high:
            return "NewHighWeakAdvance_B"
        if is_higher and cur.low > prev.low and prev.low < peak.low:
            return "HigherOHLCAfterLowBreak_G"
    elif is_higher and prev.low < peak.low and cur.close < prev.close and cur.close < cur.open:
        return "FailedRallyAfterLowBreak_F"
    return ""


def _tell(bar: Bar, marked: Seen, signal_type: str, rule: str, told: list[Signal]) -> None:
    is_uptrend = signal_type == UPTREND_START
    if marked.is_uptrend_told if is_uptrend else marked.is_downtrend_told:
        return
    if is_uptrend:
        marked.is_uptrend_told = True
    else:
        marked.is_downtrend_told = True
    price = marked.low if is_uptrend else marked.high
    told.append(
        Signal(
            _NAME, bar.contract_id, bar.timeframe, signal_type, marked.start_ns, bar.start_ns, bar.end_ns, price, rule
        )
    )
