"""Larger bars from a long history of smaller ones that comes in portions, some of which has holes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from msgspec import structs

from escapement.core.aggregation.aggregator import OHLCBarAggregator
from escapement.core.aggregation.outcomes import RefusedBar
from escapement.errors import InvalidInput
from escapement.model import Bar, BarSource, SessionCalendar, Timeframe
from escapement.moments import iso_from_ns

_DAY = Timeframe.parse("1d")


class LargerBars:
    """Makes larger bars of one contract, and returns those only of whose interval everything is known.

    Args:
        contract_id: whose bars.
        calendar: its sessions.
        smaller: the timeframe of the bars that come.
        timeframes: what to make of them; ``smaller`` itself may be among them, and is not made.
    """

    def __init__(
        self, contract_id: str, calendar: SessionCalendar, smaller: Timeframe, timeframes: Sequence[Timeframe]
    ) -> None:
        self._made = {timeframe for timeframe in timeframes if timeframe != smaller}
        # Without any, it still judges the smaller bars.
        self._aggregator = OHLCBarAggregator({contract_id: calendar}, list(self._made) or [_DAY], tolerance_ns=0)

    def take(self, bars: Iterable[Bar], holes: Iterable[tuple[int, int]], until_ns: int) -> list[Bar]:
        """Take the next portion; return the larger bars that it completes, oldest first.

        Args:
            bars: all smaller bars from the portion's beginning to its end.
            holes: stretches of which nothing is known, oldest first.
            until_ns: the portion's end, nanoseconds UTC.

        Raises:
            InvalidInput: a bar that cannot be; the message names it.
        """
        waiting = sorted(bars, key=_by_start)
        made: list[Bar] = []
        for hole in [*holes, (until_ns, until_ns)]:
            count = bisect_left(waiting, hole[0], key=_by_start)
            for bar in waiting[:count]:
                made += self._push(bar)
            del waiting[:count]
            # First what ends before the hole, for a bar that is not begun yet would count as touched.
            made += self._aggregator.advance_to(hole[0])
            self._aggregator.mark_unobserved(*hole)
        return [
            structs.replace(bar, source=BarSource.REBUILT) for bar in made if bar.whole and bar.timeframe in self._made
        ]

    def _push(self, bar: Bar) -> Iterable[Bar]:
        for outcome in self._aggregator.push_bar(bar):
            if isinstance(outcome, RefusedBar):
                raise InvalidInput(
                    f"the {bar.timeframe} bar of {iso_from_ns(bar.start_ns)} cannot be used: its {outcome.field} "
                    f"{outcome.reason}"
                )
            yield outcome


def _by_start(bar: Bar) -> int:
    return bar.start_ns
