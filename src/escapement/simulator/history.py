"""The bars that the simulated venue serves, built from what it has published so far by a builder of its own."""

from __future__ import annotations

from dataclasses import dataclass

from escapement.model import NS_PER_SECOND, SessionCalendar, Timeframe, Trade

_DAY = 86_400 * NS_PER_SECOND


@dataclass(slots=True)
class VenueBar:
    """One bar; ``ready_ns`` is the moment from which the venue serves it as complete."""

    label_ns: int
    ready_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: int


class History:
    """Second by second what a contract has traded; larger bars are made when asked for."""

    def __init__(self, calendar: SessionCalendar) -> None:
        self.calendar = calendar
        self._seconds: dict[int, VenueBar] = {}

    def add(self, trade: Trade) -> None:
        """Take note of a published trade; they come in order of time."""
        second = trade.at_ns - trade.at_ns % NS_PER_SECOND
        bar = self._seconds.get(second)
        if bar is None:
            end = second + NS_PER_SECOND
            self._seconds[second] = VenueBar(second, end, *(trade.price,) * 4, trade.volume)
            return
        bar.high, bar.low = max(bar.high, trade.price), min(bar.low, trade.price)
        bar.close, bar.volume = trade.price, bar.volume + trade.volume

    def bars(self, timeframe: Timeframe, from_ns: int, to_ns: int, *, partial: bool) -> list[VenueBar]:
        """Return the bars labelled in ``[from_ns, to_ns]``, oldest first.

        A bar is complete when its label plus its length is not after ``to_ns``; a day counts 24 hours from its label.
        Source: bars served by the venue.
        """
        found: dict[int, VenueBar] = {}
        for second, bar in self._seconds.items():
            interval = self.calendar.interval(timeframe, second)
            if interval is None:
                continue
            ready = interval.end_ns if timeframe.is_intraday else max(interval.end_ns, interval.label_ns + _DAY)
            larger = found.get(interval.label_ns)
            if larger is None:
                found[interval.label_ns] = VenueBar(
                    interval.label_ns, ready, bar.open, bar.high, bar.low, bar.close, bar.volume
                )
                continue
            larger.high, larger.low = max(larger.high, bar.high), min(larger.low, bar.low)
            larger.close, larger.volume = bar.close, larger.volume + bar.volume
        return [
            bar
            for label, bar in sorted(found.items())
            if from_ns <= label <= to_ns and (partial or bar.ready_ns <= to_ns)
        ]
