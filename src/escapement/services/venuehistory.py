"""Stretches of one contract's history as the venue serves them, and what of them can be believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from escapement.core.stretches import Stretch, joined
from escapement.model import NS_PER_SECOND, Bar, Contract, SessionCalendar, Timeframe

_HOUR_NS = 3_600 * NS_PER_SECOND


class Venue(Protocol):
    """The venue's own bars and contracts; raises GatewayError."""

    async def bars(self, contract_id: str, timeframe: Timeframe, from_ns: int, to_ns: int) -> Sequence[Bar]:
        """Return the complete bars labelled in ``[from_ns, to_ns)``, nanoseconds UTC, oldest first."""
        ...

    async def contract(self, contract_id: str) -> Contract:
        """Return a contract by its id, also an expired one."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What the venue served of a stretch.

    ``bars``: of the timeframe asked, complete, oldest first. ``until_ns``: up to where they are all there are.
    ``gone``: where the venue has larger bars, but none of these any more.
    """

    bars: list[Bar]
    until_ns: int
    gone: list[Stretch]


class VenueHistory:
    """Reads one contract's history in order of time.

    Args:
        contract_id: of the gateway.
        calendar: its sessions.
        asked: the timeframe to read, and then what the venue may have where it has these no more.
        venue: serves bars.
        settle_ns: how long after its end a bar is believed although the venue serves no later one.
        now_ns: our clock, nanoseconds UTC.
    """

    def __init__(
        self,
        contract_id: str,
        calendar: SessionCalendar,
        asked: Sequence[Timeframe],
        venue: Venue,
        settle_ns: int,
        now_ns: Callable[[], int],
    ) -> None:
        self._contract_id = contract_id
        self._calendar = calendar
        self._timeframe, self._larger = asked[0], asked[1:2]
        self._venue = venue
        self._settle_ns = settle_ns
        self._now_ns = now_ns
        self._doubtful = True

    async def read(self, stretch: Stretch) -> Reading:
        """Return what the venue has of a stretch that begins with a bar's interval.

        Raises:
            GatewayError: the venue refuses or does not answer; the same stretch can be read again.
        """
        begin_ns, end_ns = stretch
        # With luck the answer has a later bar, which proves the last one of the stretch complete.
        bars = await self._bars(self._timeframe, begin_ns, self._open_after(end_ns) + _HOUR_NS)
        until_ns = max(begin_ns, min(end_ns, self._settled_ns(bars)))
        own = [bar for bar in bars if begin_ns <= bar.start_ns and bar.end_ns <= until_ns]
        gone: list[Stretch] = []
        if self._larger and begin_ns < until_ns and (self._doubtful or self._is_silent((begin_ns, until_ns), own)):
            gone = await self._gone(self._larger[0], (begin_ns, until_ns), own)
        # A store that ends somewhere ends within a stretch, most likely.
        self._doubtful = bool(gone)
        return Reading(own, until_ns, gone)

    async def _bars(self, timeframe: Timeframe, from_ns: int, to_ns: int) -> Sequence[Bar]:
        return await self._venue.bars(self._contract_id, timeframe, from_ns, to_ns)

    def _open_after(self, at_ns: int) -> int:
        """Return the first moment from ``at_ns`` on at which the market trades, or ``at_ns`` if there is none soon."""
        soon = self._calendar.sessions_between(at_ns, at_ns + 7 * 24 * _HOUR_NS)
        opens = [
            max(at_ns, period.open_ns) for session in soon for period in session.periods if period.close_ns > at_ns
        ]
        return min(opens, default=at_ns)

    def _settled_ns(self, bars: Sequence[Bar]) -> int:
        """Return before when bars are believed: a later one is there, or they ended well before now."""
        old_ns = self._now_ns() - self._settle_ns
        interval = self._calendar.interval(self._timeframe, old_ns)
        old_ns = old_ns if interval is None else interval.open_ns
        return max(old_ns, bars[-1].start_ns) if bars else old_ns

    def _is_silent(self, stretch: Stretch, bars: Sequence[Bar]) -> bool:
        """Whether some session of the stretch has no bar."""
        located = (self._calendar.locate(bar.start_ns) for bar in bars)
        found = {session.trade_date for _, session in filter(None, located)}
        return any(session.trade_date not in found for session in self._calendar.sessions_between(*stretch))

    async def _gone(self, larger: Timeframe, stretch: Stretch, bars: Sequence[Bar]) -> list[Stretch]:
        """Return where the venue has larger bars and none of these."""
        served = await self._bars(larger, *stretch)
        whole = [bar for bar in served if bar.end_ns <= stretch[1]]
        if not bars or not whole:
            return [stretch] if whole else []
        filled = {interval.label_ns for bar in bars if (interval := self._calendar.interval(larger, bar.start_ns))}
        gone = [(bar.start_ns, bar.end_ns) for bar in whole if bar.start_ns not in filled]
        first = self._calendar.interval(larger, bars[0].start_ns)
        if gone and first is not None and gone[0][1] <= first.open_ns:
            gone.append((stretch[0], first.end_ns))  # where the store begins, the first larger bar may be cut
        return joined(gone)
