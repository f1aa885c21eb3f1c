"""The venue's own bars of one contract, in the smallest timeframe that we keep.

Minutes and hours are asked as minutes: bars of several hours are served incomplete, and hours come from another store
than minutes, with holes of its own. Seconds are asked as what they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from escapement.core.aggregation import OHLCBarAggregator
from escapement.errors import GatewayRefused
from escapement.model import NS_PER_SECOND, Bar, BarSource, Interval, SessionCalendar, Timeframe
from escapement.ports import BarHistory

log = structlog.get_logger(service="history")

_MINUTE = Timeframe.parse("1m")
_SECOND = Timeframe.parse("1s")
_HOUR = Timeframe.parse("1h")
_FURTHER_NS = 3_600 * NS_PER_SECOND
# How long the venue keeps seconds is not documented.
_FINER_NS = 20 * _FURTHER_NS


@dataclass(frozen=True, slots=True)
class Reading:
    """What the venue served: bars by their timestamp, and that of the newest, which is not to be trusted alone."""

    bars: dict[int, Bar]
    newest_ns: int

    def is_followed(self, interval: Interval) -> bool:
        """Whether the venue served a bar later than this interval, so that its own is complete."""
        return self.newest_ns >= interval.end_ns


class VenueBars:
    """Reads bars of one contract.

    Args:
        contract_id: of the gateway.
        calendar: its sessions.
        timeframe: the smallest that is kept, an hour at most.
        history: the venue.
    """

    def __init__(self, contract_id: str, calendar: SessionCalendar, timeframe: Timeframe, history: BarHistory) -> None:
        self._contract_id = contract_id
        self._calendar = calendar
        self._timeframe = timeframe
        self._history = history
        # What is no number of minutes is asked as what it is.
        self._asked = timeframe if timeframe.length_ns % _MINUTE.length_ns else _MINUTE
        self._has_finer = timeframe != _SECOND

    async def read(self, intervals: Sequence[Interval], now_ns: int) -> Reading:
        """Return the bars of these intervals, oldest first, that have ended, and whether later ones exist.

        Raises:
            GatewayError: the venue did not serve them.
        """
        first_ns, last_ns = intervals[0].open_ns, intervals[-1].end_ns
        return await self._read(self._asked, first_ns, min(now_ns, last_ns + _FURTHER_NS))

    async def read_finer(self, intervals: Sequence[Interval], now_ns: int) -> Reading:
        """Return the bars of these intervals as the venue's store of seconds has them; nothing where it has none.

        Raises:
            GatewayError: the venue did not serve them.
        """
        fresh = [interval for interval in intervals if now_ns - interval.end_ns < _FINER_NS]
        if not self._has_finer or not fresh:
            return Reading({}, 0)
        try:
            return await self._read(_SECOND, fresh[0].open_ns, min(now_ns, fresh[-1].end_ns))
        except GatewayRefused as error:
            log.warning("seconds_refused", contract=self._contract_id, reason=str(error))
            return Reading({}, 0)

    async def has_hours(self, from_ns: int, to_ns: int) -> bool:
        """Whether the venue's store of hours has a bar that begins in ``[from_ns, to_ns)``, nanoseconds UTC.

        Raises:
            GatewayError: the venue did not serve them.
        """
        return bool(await self._history.bars(self._contract_id, _HOUR, from_ns, to_ns))

    async def last_trade_since(self, from_ns: int, now_ns: int) -> int | None:
        """Return when the newest bar of a second, or of what is kept, after ``from_ns`` began; None without any.

        Raises:
            GatewayError: the venue did not serve them.
        """
        begin_ns = from_ns - from_ns % NS_PER_SECOND + NS_PER_SECOND
        bars: Sequence[Bar] = ()
        try:
            bars = await self._history.bars(self._contract_id, _SECOND, begin_ns, now_ns)
        except GatewayRefused as error:
            log.warning("seconds_refused", contract=self._contract_id, reason=str(error))
            later = await self._history.bars(self._contract_id, self._asked, begin_ns, now_ns)
            bars = [bar for bar in later if bar.start_ns > from_ns]
        return bars[-1].start_ns if bars else None

    async def _read(self, timeframe: Timeframe, from_ns: int, to_ns: int) -> Reading:
        bars = await self._history.bars(self._contract_id, timeframe, from_ns, to_ns)
        if timeframe != self._timeframe:
            # A larger bar at the edge of what was asked for is of no interval that was.
            stage = OHLCBarAggregator({self._contract_id: self._calendar}, [self._timeframe])
            outcomes = [outcome for bar in bars for outcome in stage.push_bar(bar)]
            bars = [bar for bar in [*outcomes, *stage.finish()] if isinstance(bar, Bar)]
        return Reading({bar.start_ns: bar for bar in bars}, bars[-1].start_ns if bars else 0)


def from_history(bar: Bar) -> Bar:
    """Return the bar as the venue's."""
    return Bar(
        bar.contract_id, bar.timeframe, bar.start_ns, bar.end_ns, bar.open, bar.high, bar.low, bar.close, bar.volume,
        whole=True, source=BarSource.HISTORY,
    )  # fmt: skip
