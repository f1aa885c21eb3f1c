"""The sessions of a stretch of time, to be asked again and again where a moment lies."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

import numpy as np
from numpy.typing import NDArray

from escapement.backtest.run import Account
from escapement.model import SessionCalendar

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
NEVER: Final = 1 << 62


class Hours:
    """In which session a moment lies: the part of one that trades, its deadlines, and the number of the session.

    Times are nanoseconds UTC; a deadline that there is not is ``NEVER``.
    """

    def __init__(self, calendar: SessionCalendar, account: Account, from_ns: int, to_ns: int) -> None:
        self.opens: list[int] = []
        self.closes: list[int] = []
        self.no_entries: list[int] = []
        self.flat: list[int] = []
        self.session: list[int] = []
        for number, session in enumerate(calendar.sessions_between(from_ns, to_ns)):
            no_entries_ns, flat_ns = account.deadlines_of(session)
            for period in session.periods:
                self.opens.append(period.open_ns)
                self.closes.append(period.close_ns)
                self.no_entries.append(NEVER if no_entries_ns is None else no_entries_ns)
                self.flat.append(NEVER if flat_ns is None else flat_ns)
                self.session.append(number)

    def at(self, now_ns: int) -> int:
        """Return the number of the part in which the market trades then; -1 when it does not."""
        index = bisect_right(self.opens, now_ns) - 1
        return index if index >= 0 and now_ns < self.closes[index] else -1

    def lets_enter(self, at_ns: Integers) -> Flags:
        """Return at which of many moments the market trades and no deadline has come."""
        if not self.opens:
            return np.zeros(at_ns.size, np.bool_)
        ends = np.minimum.reduce([np.array(each, np.int64) for each in (self.closes, self.no_entries, self.flat)])
        index = np.searchsorted(np.array(self.opens, np.int64), at_ns, side="right") - 1
        lets: Flags = (index >= 0) & (at_ns < ends[np.maximum(index, 0)])
        return lets
