"""The open bars of one contract on every rung of the ladder.

1. A trade enters an open bar of the lowest rung (``take``; the common case is inlined in ``OHLCBarAggregator.push``).
2. When the watermark passes a bar's end the bar is completed and merged into the open bars it feeds (``complete``).
3. Several bars of one rung can be open while the watermark lags behind the newest trade.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from escapement.core.aggregation.ladder import Rung, fits
from escapement.errors import InvariantViolated
from escapement.model import Bar, FormingBar, Interval, SessionCalendar, Timeframe

LONG_AGO = -(1 << 62)
_MOST_UNOBSERVED = 100


class OpenBar:
    """A bar that still grows. ``first_ns`` and ``last_ns`` are the times of the trades that set open and close."""

    __slots__ = (
        "close",
        "end_ns",
        "first_ns",
        "high",
        "label_ns",
        "last_ns",
        "low",
        "open",
        "open_ns",
        "volume",
        "whole",
    )

    def __init__(self, interval: Interval, price: float, at_ns: int) -> None:
        self.label_ns = interval.label_ns
        self.open_ns = interval.open_ns
        self.end_ns = interval.end_ns
        self.open = self.high = self.low = self.close = price
        self.volume = 0
        self.whole = True
        self.first_ns = self.last_ns = at_ns

    def enter(self, at_ns: int, price: float, volume: int) -> None:
        """Let in a trade at any time of the interval; among trades of equal time the order of arrival decides."""
        if at_ns < self.first_ns:
            self.first_ns, self.open = at_ns, price
        if at_ns >= self.last_ns:
            self.last_ns, self.close = at_ns, price
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.volume += volume

    def merge(self, later: OpenBar | Bar) -> None:
        """Append a bar that lies after everything merged so far."""
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.volume += later.volume
        self.whole = self.whole and later.whole

    def state(self) -> list[object]:
        """Return the bar as plain data."""
        return [
            self.label_ns, self.open_ns, self.end_ns, self.open, self.high, self.low, self.close, self.volume,
            self.whole, self.first_ns, self.last_ns,
        ]  # fmt: skip

    @classmethod
    def from_state(cls, state: Sequence[int | float]) -> OpenBar:
        """Return the bar that gave ``state``."""
        bar = cls(Interval(int(state[0]), int(state[1]), int(state[2])), state[3], int(state[9]))
        bar.high, bar.low, bar.close = state[4], state[5], state[6]
        bar.volume, bar.whole, bar.last_ns = int(state[7]), bool(state[8]), int(state[10])
        return bar


class Cascade:
    """All open bars of one contract. Times are nanoseconds UTC, prices points.

    ``newest_ns`` is the newest time seen. While a trade is not older than that and before ``quick_until_ns``, it
    belongs to ``current`` and completes nothing.
    """

    __slots__ = (
        "_calendar", "_contract_id", "_open", "_passed_ns", "_rungs", "_targets", "_tolerance_ns", "_unobserved",
        "current", "newest_ns", "quick_until_ns",
    )  # fmt: skip

    def __init__(self, contract_id: str, calendar: SessionCalendar, rungs: tuple[Rung, ...], tolerance_ns: int) -> None:
        self._contract_id = contract_id
        self._calendar = calendar
        self._rungs = rungs
        self._tolerance_ns = tolerance_ns
        self._open: tuple[dict[int, OpenBar], ...] = tuple({} for _ in rungs)
        self._passed_ns = LONG_AGO
        self._unobserved: list[tuple[int, int]] = []
        self._targets: dict[Timeframe, tuple[int, ...]] = {}
        self.current = OpenBar(Interval(0, 0, 0), 0.0, 0)
        self.newest_ns = LONG_AGO
        self.quick_until_ns = LONG_AGO

    @property
    def watermark_ns(self) -> int:
        """No trade before this moment is taken any more."""
        return max(self._passed_ns, self.newest_ns - self._tolerance_ns)

    @property
    def calendar(self) -> SessionCalendar:
        """The sessions of the contract."""
        return self._calendar

    def root_interval(self, at_ns: int) -> Interval | None:
        """Return where on the lowest rung a trade at ``at_ns`` belongs; None outside every session."""
        return self._calendar.interval(self._rungs[0].timeframe, at_ns)

    def take(self, interval: Interval, at_ns: int, price: float, volume: int) -> list[Bar]:
        """Let a checked trade, not older than the watermark, into its bar; return the bars it completes."""
        bar = self._open[0].get(interval.label_ns)
        if bar is None:
            bar = self._begin(0, interval, price, at_ns)
        if bar is self.current:
            bar.last_ns = max(bar.last_ns, min(self.newest_ns, bar.end_ns - 1))
        bar.enter(at_ns, price, volume)
        if at_ns >= self.newest_ns:
            if bar is not self.current:
                self.current.last_ns = max(self.current.last_ns, self.newest_ns)
            self.current = bar
            self.newest_ns = at_ns
        return self._complete()

    def advance(self, to_ns: int) -> list[Bar]:
        """Take note that the venue's clock has reached ``to_ns``; return the bars that completes."""
        return self._pass(to_ns - self._tolerance_ns)

    def absorb(self, bar: Bar, targets: Sequence[int]) -> list[Bar]:
        """Build on a completed smaller bar, which proves time up to its end; return the bars that completes."""
        for index in targets:
            self._feed(index, bar)
        return self._pass(bar.end_ns)

    def targets(self, timeframe: Timeframe) -> tuple[int, ...]:
        """Return the rungs that bars of ``timeframe`` go into directly; none when some visible rung is out of reach."""
        if timeframe not in self._targets:
            able = [fits(timeframe, rung.timeframe) and rung.timeframe != timeframe for rung in self._rungs]
            reached = all(
                able[index] or not rung.visible or rung.timeframe == timeframe for index, rung in enumerate(self._rungs)
            )
            self._targets[timeframe] = (
                tuple(
                    i
                    for i, rung in enumerate(self._rungs)
                    if able[i] and not (rung.fed_by is not None and able[rung.fed_by])
                )
                if reached
                else ()
            )
        return self._targets[timeframe]

    def finish(self) -> list[Bar]:
        """Complete every open bar, the cut-off last ones too."""
        last = max((bar.end_ns for rung in self._open for bar in rung.values()), default=LONG_AGO)
        bars: list[Bar] = []
        while last > LONG_AGO:
            bars += self._pass(last)
            last = max((bar.end_ns for rung in self._open for bar in rung.values()), default=LONG_AGO)
        return bars

    def mark_unobserved(self, from_ns: int, until_ns: int) -> None:
        """Take note that trades of ``[from_ns, until_ns)`` may be missing: bars that overlap it will not be whole."""
        if until_ns <= from_ns:
            return
        for bar in self._every_open():
            if bar.open_ns < until_ns and bar.end_ns > from_ns:
                bar.whole = False
        self._unobserved = _kept_apart([*self._unobserved, (from_ns, until_ns)])

    def mend(self, bars: Sequence[tuple[Interval, Bar]], unobserved: Sequence[tuple[int, int]]) -> None:
        """Let repaired bars take the place of those in progress; only ``unobserved`` stretches are left."""
        indexes = {rung.timeframe: index for index, rung in enumerate(self._rungs)}
        for interval, bar in bars:
            mended = OpenBar(interval, bar.open, interval.open_ns)
            mended.merge(bar)
            self._open[indexes[bar.timeframe]][interval.label_ns] = mended
        self._unobserved = _kept_apart(unobserved)
        self._set_quick_until()

    def forming(self, timeframe: Timeframe) -> FormingBar | None:
        """Return what is known of the newest bar of ``timeframe``, or None when it is complete or has no trade."""
        index: int | None = next(i for i, rung in enumerate(self._rungs) if rung.timeframe == timeframe)
        now = self._calendar.interval(timeframe, self.newest_ns)
        parts: list[OpenBar] = []
        while now is not None and index is not None:
            level = self._open[index].values()
            parts += sorted(
                (bar for bar in level if now.open_ns <= bar.open_ns and bar.end_ns <= now.end_ns), key=_by_end
            )
            index = self._rungs[index].fed_by
        if now is None or not parts:
            return None
        whole = OpenBar(now, parts[0].open, parts[0].first_ns)
        whole.high, whole.low = parts[0].high, parts[0].low
        for part in parts:
            whole.merge(part)
        return FormingBar(
            self._contract_id, timeframe, whole.label_ns, whole.end_ns, whole.open, whole.high, whole.low, whole.close,
            whole.volume, whole.whole and self._is_observed(now), self.newest_ns,
        )  # fmt: skip

    def state(self) -> dict[str, object]:
        """Return everything the future depends on as plain JSON data."""
        self.current.last_ns = max(self.current.last_ns, min(self.newest_ns, self.current.end_ns - 1))
        return {
            "newest_ns": self.newest_ns,
            "passed_ns": self._passed_ns,
            "unobserved": [list(stretch) for stretch in self._unobserved],
            "open": [[bar.state() for bar in rung.values()] for rung in self._open],
        }

    def can_take(self, state: Mapping[str, Any]) -> bool:
        """Whether every bar of ``state`` lies as the calendar says; a spoilt state raises what reading it raises."""
        numbers = [int(state[name]) for name in ("newest_ns", "passed_ns")]
        stretches = [(int(begin), int(end)) for begin, end in state["unobserved"]]
        return (
            len(numbers) == 2
            and len(stretches) <= _MOST_UNOBSERVED
            and len(state["open"]) == len(self._rungs)
            and all(
                self._calendar.interval(rung.timeframe, bar.end_ns - 1)
                == Interval(bar.label_ns, bar.open_ns, bar.end_ns)
                for rung, bars in zip(self._rungs, state["open"], strict=True)
                for bar in map(OpenBar.from_state, bars)
            )
        )

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state()`` returned."""
        for rung, bars in zip(self._open, state["open"], strict=True):
            for bar in map(OpenBar.from_state, bars):
                rung[bar.label_ns] = bar
        self.newest_ns = state["newest_ns"]
        self._passed_ns = state["passed_ns"]
        self._unobserved = [(begin, end) for begin, end in state["unobserved"]]
        self.current = max(self._open[0].values(), key=_by_end, default=self.current)
        self._set_quick_until()

    def _pass(self, watermark_ns: int) -> list[Bar]:
        self._passed_ns = max(self._passed_ns, watermark_ns)
        return self._complete()

    def _complete(self) -> list[Bar]:
        watermark = self.watermark_ns
        completed: list[Bar] = []
        for index, level in enumerate(self._open):
            due = sorted((bar for bar in level.values() if bar.end_ns <= watermark), key=_by_end)
            for open_bar in due:
                del level[open_bar.label_ns]
                bar = self._sealed(index, open_bar)
                for target in self._rungs[index].feeds:
                    self._feed(target, bar)
                if self._rungs[index].visible:
                    completed.append(bar)
        self._set_quick_until()
        completed.sort(key=_by_end_and_timeframe)
        return completed

    def _sealed(self, index: int, bar: OpenBar) -> Bar:
        return Bar(
            self._contract_id, self._rungs[index].timeframe, bar.label_ns, bar.end_ns,
            bar.open, bar.high, bar.low, bar.close, bar.volume, bar.whole,
        )  # fmt: skip

    def _feed(self, index: int, bar: Bar) -> None:
        interval = self._calendar.interval(self._rungs[index].timeframe, bar.end_ns - 1)
        if interval is None:
            raise InvariantViolated(f"a bar ending at {bar.end_ns} lies outside every session")
        larger = self._open[index].get(interval.label_ns)
        if larger is None:
            larger = self._begin(index, interval, bar.open, bar.start_ns)
        larger.merge(bar)

    def _begin(self, index: int, interval: Interval, price: float, at_ns: int) -> OpenBar:
        bar = OpenBar(interval, price, at_ns)
        bar.whole = self._is_observed(interval)
        self._open[index][interval.label_ns] = bar
        return bar

    def _is_observed(self, interval: Interval) -> bool:
        return not any(begin < interval.end_ns and end > interval.open_ns for begin, end in self._unobserved)

    def _set_quick_until(self) -> None:
        others = min((bar.end_ns for bar in self._every_open() if bar is not self.current), default=1 << 62)
        live = self._open[0].get(self.current.label_ns) is self.current
        until = min(self.current.end_ns, others + self._tolerance_ns) if live else LONG_AGO
        self.quick_until_ns = until
        self.newest_ns = max(self.newest_ns, self._passed_ns)

    def _every_open(self) -> Iterator[OpenBar]:
        for level in self._open:
            yield from level.values()


def _kept_apart(stretches: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return stretches, of which too many are joined: what lies between the oldest then counts as unobserved too."""
    excess = len(stretches) - _MOST_UNOBSERVED
    if excess <= 0:
        return list(stretches)
    ordered = sorted(stretches)
    oldest, rest = ordered[: excess + 1], ordered[excess + 1 :]
    return [(oldest[0][0], max(end for _, end in oldest)), *rest]


def _by_end(bar: OpenBar) -> int:
    return bar.end_ns


def _by_end_and_timeframe(bar: Bar) -> tuple[int, Timeframe]:
    return bar.end_ns, bar.timeframe
