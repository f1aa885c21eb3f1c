"""What some built-in analyzers say of whole columns of bars: the same as bar by bar, many times quicker.

The analyzers are the definition; tests hold this equal to them. An analyzer that is not here is read bar by bar.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from escapement.core.analysis.analyzer import Analyzer
from escapement.core.analysis.donchian_breakout import DonchianBreakout
from escapement.core.analysis.moving_average_crossover import MovingAverageCrossover

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_FINEST: Final = 1 << 16  # prices that are no multiple of a 65,536th do not add up exactly
_EXACT: Final = 1 << 53


class Said(NamedTuple):
    """Signals, oldest first: the number of each one's trigger bar, and which of ``types`` it is."""

    bar: Integers
    kind: Integers
    types: tuple[str, str]


def said(analyzer: Analyzer, params: Any, high: Floats, low: Floats, close: Floats) -> Said | None:
    """Return what an analyzer that was just made says of bars; None where they have to be read bar by bar.

    Args:
        analyzer: tells which it is.
        params: its parameters.
        high: of each bar, in points, oldest first; ``low`` and ``close`` likewise.
        low: see there.
        close: see there.
    """
    read = _READ.get(type(analyzer))
    return None if read is None else read(params, high, low, close)


def _crossings(params: Any, _high: Floats, _low: Floats, close: Floats) -> Said | None:
    parts = close * _FINEST
    if not bool((parts == np.rint(parts)).all()) or float(np.abs(parts).max(initial=0.0)) * params.slow >= _EXACT:
        return None
    if close.size <= params.slow:
        return Said(np.empty(0, np.int64), np.empty(0, np.int64), ("crossAbove", "crossBelow"))
    sums = np.concatenate((np.zeros(1, np.int64), np.cumsum(parts.astype(np.int64))))

    def average(length: int) -> Floats:
        totals: Floats = (sums[params.slow :] - sums[params.slow - length : sums.size - length]) / _FINEST
        return totals / length

    apart = average(params.fast) - average(params.slow)
    above = (apart[1:] > 0) & (apart[:-1] <= 0)
    below = (apart[1:] < 0) & (apart[:-1] >= 0)
    return _told(above, below, params.slow, ("crossAbove", "crossBelow"))


def _breakouts(params: Any, high: Floats, low: Floats, close: Floats) -> Said | None:
    length, types = params.length, ("breakoutUp", "breakoutDown")
    if close.size <= length:
        return Said(np.empty(0, np.int64), np.empty(0, np.int64), types)
    windows = np.lib.stride_tricks.sliding_window_view
    up = close[length:] > windows(high[:-1], length).max(axis=1)
    down = close[length:] < windows(low[:-1], length).min(axis=1)
    return _told(up, down & ~up, length, types)


def _told(first: NDArray[np.bool_], second: NDArray[np.bool_], begin: int, types: tuple[str, str]) -> Said:
    place = np.flatnonzero(first | second)
    return Said(place + begin, second[place].astype(np.int64), types)


_READ: Final[dict[type[Any], Callable[[Any, Floats, Floats, Floats], Said | None]]] = {
    MovingAverageCrossover: _crossings, DonchianBreakout: _breakouts,
}  # fmt: skip
