"""Bar lengths, named as the ProjectX Gateway numbers them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import cache, total_ordering

from escapement.errors import InvalidTimeframe

NS_PER_SECOND = 1_000_000_000


class TimeframeUnit(IntEnum):
    """Unit of a bar's length; the numbers are the gateway's ``AggregateBarUnit``."""

    SECOND = 1
    MINUTE = 2
    HOUR = 3
    DAY = 4
    WEEK = 5
    MONTH = 6


_SUFFIX = {
    TimeframeUnit.SECOND: "s",
    TimeframeUnit.MINUTE: "m",
    TimeframeUnit.HOUR: "h",
    TimeframeUnit.DAY: "d",
    TimeframeUnit.WEEK: "w",
    TimeframeUnit.MONTH: "mo",
}
_UNIT = {suffix: unit for unit, suffix in _SUFFIX.items()}
_SECONDS = {TimeframeUnit.SECOND: 1, TimeframeUnit.MINUTE: 60, TimeframeUnit.HOUR: 3600}
_TEXT = re.compile(r"([1-9][0-9]{0,4})(s|mo|m|h|d|w)")
_LONGEST_INTRADAY_SECONDS = 12 * 3600


@total_ordering
@dataclass(frozen=True, slots=True)
class Timeframe:
    """The length of a bar: ``value`` times ``unit``, written ``1s`` to ``1mo``.

    Intraday timeframes (seconds, minutes, hours up to 12h) are counted from each session open, which puts those that
    divide an hour on the clock grid. Days, weeks and months are made of whole sessions and exist with value 1 only,
    because where the venue would begin a two-day bar is not known.

    Raises:
        InvalidTimeframe: the unit and value name no timeframe that can be built.
    """

    unit: TimeframeUnit
    value: int

    def __post_init__(self) -> None:
        if self.unit not in _SUFFIX:
            raise InvalidTimeframe(f"timeframe unit {self.unit!r} is unknown; use 1 (second) to 6 (month)")
        if self.value < 1:
            raise InvalidTimeframe(f"timeframe value {self.value!r} is not positive; use 1 or more")
        if self.unit not in _SECONDS:
            if self.value != 1:
                raise InvalidTimeframe(
                    f"timeframe {self.value}{_SUFFIX[self.unit]} is not supported; days, weeks and months exist as "
                    "1d, 1w and 1mo only"
                )
        elif self.value * _SECONDS[self.unit] > _LONGEST_INTRADAY_SECONDS:
            raise InvalidTimeframe(
                f"timeframe {self.value}{_SUFFIX[self.unit]} is longer than half a day; use 12h or less, or 1d"
            )

    @classmethod
    def parse(cls, text: str) -> Timeframe:
        """Read ``"5m"``.

        Raises:
            InvalidTimeframe: the text names no timeframe.
        """
        return _parsed(text)

    @property
    def is_intraday(self) -> bool:
        """Whether bars of this length end within a session."""
        return self.unit in _SECONDS

    @property
    def length_ns(self) -> int:
        """Nanoseconds of an uncut intraday bar; 0 for days, weeks and months, whose length the calendar decides."""
        return self.value * _SECONDS.get(self.unit, 0) * NS_PER_SECOND

    def nests_in(self, larger: Timeframe) -> bool:
        """Whether every bar of ``larger`` is made of whole bars of this timeframe, and the two differ."""
        if self.is_intraday:
            return not larger.is_intraday or (
                larger.length_ns > self.length_ns and larger.length_ns % self.length_ns == 0
            )
        return self.unit is TimeframeUnit.DAY and larger.unit > TimeframeUnit.DAY

    def __lt__(self, other: Timeframe) -> bool:
        return _rank(self.unit, self.value) < _rank(other.unit, other.value)

    def __str__(self) -> str:
        return _text(self.unit, self.value)


# There are few timeframes, compared and written all the time, and equal ones that are one object compare soonest.
@cache
def _parsed(text: str) -> Timeframe:
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise InvalidTimeframe(
            f"timeframe {text!r} is unknown; write a count and a unit, such as 30s, 1m, 4h, 1d, 1w or 1mo"
        )
    return Timeframe(_UNIT[match[2]], int(match[1]))


@cache
def _rank(unit: TimeframeUnit, value: int) -> int:
    # By length, then by unit: 60s comes before 1m. Days and longer have no fixed length and come after all others.
    seconds = value * _SECONDS[unit] if unit in _SECONDS else 1 << 32
    return seconds * 8 + unit


@cache
def _text(unit: TimeframeUnit, value: int) -> str:
    return f"{value}{_SUFFIX[unit]}"
