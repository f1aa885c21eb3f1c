"""Which timeframe is built from which.

Only the lowest rung is touched by a trade; each higher one is fed with the completed bars of the highest rung below
that fits into it. So the cost of a trade does not grow with the number of timeframes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

from escapement.errors import InvalidInput
from escapement.model import NS_PER_SECOND, Timeframe, TimeframeUnit

_AN_HOUR = Timeframe(TimeframeUnit.HOUR, 1)


@dataclass(frozen=True, slots=True)
class Rung:
    """One timeframe; ``feeds`` are the indexes of the rungs built from it; one nobody asked for is not ``visible``."""

    timeframe: Timeframe
    visible: bool
    fed_by: int | None
    feeds: tuple[int, ...]


def ladder(timeframes: Sequence[Timeframe]) -> tuple[Rung, ...]:
    """Arrange timeframes from small to large on one common lowest rung, added unseen when none of them fits into all.

    Raises:
        InvalidInput: no timeframes, or one named twice.
    """
    if not timeframes:
        raise InvalidInput("timeframes is empty; name at least one, such as 1m")
    for timeframe in timeframes:
        if timeframes.count(timeframe) > 1:
            raise InvalidInput(f"timeframe {timeframe} is named twice; name each once")
    root = _common_root(timeframes)
    ascending = sorted({root, *timeframes}, key=lambda timeframe: (timeframe, timeframe.unit))
    ascending.remove(root)
    ascending.insert(0, root)
    fed_by = [None, *(_feeder(ascending, index) for index in range(1, len(ascending)))]
    return tuple(
        Rung(timeframe, timeframe in timeframes, fed_by[index], tuple(i for i, f in enumerate(fed_by) if f == index))
        for index, timeframe in enumerate(ascending)
    )


def with_root(timeframes: Sequence[Timeframe]) -> tuple[Timeframe, ...]:
    """Add what is missing of one smallest timeframe, of an hour at most, that all others are made of.

    Longer ones cannot be filled from the venue's history, which serves them incomplete.

    Raises:
        InvalidInput: no timeframes, or one named twice.
    """
    chosen = list(timeframes)
    root = ladder(chosen)[0].timeframe
    if not root.is_intraday or root.length_ns > _AN_HOUR.length_ns:
        chosen.append(_AN_HOUR)
        root = ladder(chosen)[0].timeframe
    return tuple(sorted({root, *chosen}))


def made_of_new(timeframes: Sequence[Timeframe], kept: object) -> list[Timeframe]:
    """Return what is made of timeframes not among those ``kept`` before, where even the smallest one is not.

    Of their bars in progress, stored parts do not tell the beginning. ``kept`` are texts; anything else tells nothing.
    """
    rungs = ladder(timeframes)
    if not isinstance(kept, Sequence) or str(rungs[0].timeframe) in kept:
        return []
    return [
        rung.timeframe for rung in rungs if rung.fed_by is not None and str(rungs[rung.fed_by].timeframe) not in kept
    ]


def fits(smaller: Timeframe, larger: Timeframe) -> bool:
    """Whether every bar of ``larger`` is made of whole bars of ``smaller``; 60s and 1m fit into each other."""
    return smaller.nests_in(larger) or (smaller.is_intraday and smaller.length_ns == larger.length_ns)


def _feeder(ascending: Sequence[Timeframe], index: int) -> int:
    return max(below for below in range(index) if fits(ascending[below], ascending[index]))


def _common_root(timeframes: Sequence[Timeframe]) -> Timeframe:
    lengths = [timeframe.length_ns for timeframe in timeframes if timeframe.is_intraday]
    if not lengths:
        return Timeframe(TimeframeUnit.DAY, 1)
    length = gcd(*lengths)
    return next(
        (timeframe for timeframe in timeframes if timeframe.length_ns == length),
        Timeframe(TimeframeUnit.SECOND, length // NS_PER_SECOND),
    )
