"""What trend starts remember of bars: the bars themselves, and those that may become a start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class Seen:
    """A bar as trend starts remember it: its ``number`` from the first bar read (1), and what was told of it."""

    __slots__ = (
        "close", "high", "high_before", "is_downtrend_told", "is_uptrend_told", "low", "number", "open", "start_ns",
    )  # fmt: skip

    def __init__(
        self, number: int, start_ns: int, open_: float, high: float, low: float, close: float, high_before: float
    ) -> None:
        self.number: int = number
        self.start_ns: int = start_ns
        self.open: float = open_
        self.high: float = high
        self.low: float = low
        self.close: float = close
        self.high_before: float = high_before  # of the bar before; its own where there is none
        self.is_uptrend_told: bool = False
        self.is_downtrend_told: bool = False

    def fields(self) -> list[Any]:
        """Return everything as plain data, as ``read_seen`` reads it."""
        return [
            self.number, self.start_ns, self.open, self.high, self.low, self.close, self.high_before,
            self.is_uptrend_told, self.is_downtrend_told,
        ]  # fmt: skip


class Pending:
    """A bar that may become a start, with the extremes of the bars after it.

    ``highest`` and ``lowest`` range over the bars after ``seen`` and before the one being read, of equal bars the
    earliest; ``lowest_replaced`` was the lowest until ``lowest`` came. ``between`` is the highest (pending uptrend
    start) or lowest (pending downtrend start) of the bars between the last confirmed start and ``seen``.
    ``lowest_from_high`` belongs to a pending uptrend start: the lowest bar between the high pending when it was found,
    and itself.
    """

    __slots__ = ("between", "highest", "lowest", "lowest_from_high", "lowest_replaced", "seen")

    def __init__(
        self, seen: Seen, between: Seen | None, highest: Seen | None = None, lowest: Seen | None = None
    ) -> None:
        self.seen: Seen = seen
        self.between: Seen | None = between
        self.highest: Seen | None = highest
        self.lowest: Seen | None = lowest
        self.lowest_replaced: Seen | None = None
        self.lowest_from_high: Seen | None = None

    def include(self, prev: Seen) -> None:
        """Take note of the bar before the one being read; needless while it is no new extreme."""
        if self.lowest is None or self.highest is None:
            if prev is not self.seen:
                self.lowest = self.highest = prev
            return
        if prev.low < self.lowest.low:
            self.lowest_replaced = self.lowest
            self.lowest = prev
        if prev.high > self.highest.high:
            self.highest = prev

    def lowest_before(self, prev: Seen) -> Seen | None:
        """Return the lowest of the bars after ``seen`` and before ``prev``, which was taken note of."""
        return self.lowest_replaced if self.lowest is prev else self.lowest

    def bars(self) -> tuple[Seen | None, ...]:
        """Return everything as the bars referred to, as ``read_pending`` takes their numbers."""
        return self.seen, self.between, self.highest, self.lowest, self.lowest_replaced, self.lowest_from_high


def read_seen(fields: Sequence[Any]) -> Seen:
    """Read what ``Seen.fields`` wrote; raises TypeError or ValueError when it cannot be that."""
    number, start_ns, open_, high, low, close, high_before, is_uptrend_told, is_downtrend_told = fields
    seen = Seen(int(number), int(start_ns), float(open_), float(high), float(low), float(close), float(high_before))
    seen.is_uptrend_told = bool(is_uptrend_told)
    seen.is_downtrend_told = bool(is_downtrend_told)
    return seen


def read_pending(numbers: Sequence[int] | None, seen: Mapping[int, Seen | None]) -> Pending | None:
    """Read the numbers of ``Pending.bars``; raises KeyError, TypeError or ValueError when they cannot be that."""
    if numbers is None:
        return None
    own, between, highest, lowest, lowest_replaced, lowest_from_high = (seen[number] for number in numbers)
    if own is None:
        raise ValueError("a pending start without a bar")
    pending = Pending(own, between, highest, lowest)
    pending.lowest_replaced = lowest_replaced
    pending.lowest_from_high = lowest_from_high
    return pending
