"""A connection that stands while trades stop coming: found by asking the venue, not by guessing from silence.

A quiet market raises nothing: only a trade that the venue has in its history, and that did not come, is a freeze.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from escapement.errors import GatewayError, InvalidInput
from escapement.model import NS_PER_SECOND, GapCause, SessionCalendar, Timeframe
from escapement.ports import TradeFeed
from escapement.services.marketclock import MarketClock
from escapement.services.venuebars import VenueBars

log = structlog.get_logger(service="freeze")

_GRACE_S = 2.0
_LEAST_GRACE_S = 1.0
# Our seconds between two renewals that brought no trade; the comparison of bars finds what is missed meanwhile.
_RENEW_EACH_S = 60.0
_RENEW_AT_MOST_EACH_S = 3_600.0


@dataclass(frozen=True, slots=True)
class FreezeParams:
    """``silence_s``: seconds without a trade, of the venue's time, after which it is asked whether there was one.

    A venue as silent as the feed is asked less and less often, up to every ``longest_s``.
    """

    silence_s: float = 15.0
    longest_s: float = 45.0

    def __post_init__(self) -> None:
        for name in ("silence_s", "longest_s"):
            if getattr(self, name) <= 0:
                raise InvalidInput(f"freeze.{name} is {getattr(self, name)}; use more than 0")

    def within(self, smallest: Timeframe) -> FreezeParams:
        """Return these, or shorter ones where a freeze would last longer than the smallest bar unnoticed."""
        bar_s = smallest.length_ns / NS_PER_SECOND
        return FreezeParams(min(self.silence_s, 0.25 * bar_s), min(self.longest_s, 0.75 * bar_s))


class FreezeWatch:
    """Watches the trades of one contract for as long as ``run`` is not cancelled.

    Args:
        contract_id: of the gateway.
        calendar: its sessions.
        venue: its history.
        feed: renewed when it is frozen.
        clock: the venue's time; while it stands still nothing is watched.
        params: how.
        listening_since: returns since when the contract's trades are seen, nanoseconds UTC; None while they are not.
        lose: called with the cause and the moment since which trades are missed.
        counts: gets ``alarms``.

    ``last_trade_ns`` is to be kept at the newest trade's time. ``quiet_s`` is when the venue last said that nothing was
    missed, by ``time.monotonic()``; 0 before it did.
    """

    def __init__(
        self,
        contract_id: str,
        calendar: SessionCalendar,
        venue: VenueBars,
        feed: TradeFeed,
        clock: MarketClock,
        params: FreezeParams,
        listening_since: Callable[[], int | None],
        lose: Callable[[GapCause, int], None],
        *,
        counts: Counter[str],
    ) -> None:
        self._contract_id = contract_id
        self._calendar = calendar
        self._venue = venue
        self._feed = feed
        self._clock = clock
        self._params = params
        self._listening_since = listening_since
        self._lose = lose
        self._counts = counts
        self._asked_ns = 0
        self._quiet_s = params.silence_s
        self._renewed_for_ns = 0
        self._renew_not_before_s = 0.0
        self._renew_each_s = _RENEW_EACH_S
        self.last_trade_ns = 0
        self.quiet_s = 0.0

    async def run(self) -> None:
        """Watch forever."""
        while True:
            await asyncio.sleep(self._clock.real_s(1.0) if self._clock.runs else 1.0)
            since_ns = self._silent_since()
            if since_ns is None:
                continue
            self._asked_ns = self._clock.now_ns()
            asked_s = time.monotonic()
            try:
                missed_ns = await self._missed(since_ns)
                if missed_ns is None:
                    self.quiet_s = asked_s
            except GatewayError as error:
                log.info("freeze_unknown", contract=self._contract_id, reason=str(error))
                missed_ns = None
            if missed_ns is None:
                self._quiet_s = min(2 * self._quiet_s, self._params.longest_s)
                continue
            self._quiet_s = self._params.silence_s
            if not self._may_renew():
                log.warning("feed_still_frozen", contract=self._contract_id, last_trade_ns=since_ns)
                continue
            self._counts["alarms"] += 1
            log.error("feed_frozen", contract=self._contract_id, last_trade_ns=since_ns, venue_trade_ns=missed_ns)
            self._lose(GapCause.FREEZE, since_ns)
            await self._feed.renew(f"frozen: {self._contract_id} traded and nothing came")

    def _may_renew(self) -> bool:
        """Whether another connection may help: one contract that is never served must not cut off all others."""
        now_s = time.monotonic()
        if self.last_trade_ns > self._renewed_for_ns:
            self._renew_each_s = _RENEW_EACH_S
        elif now_s < self._renew_not_before_s:
            return False
        else:
            self._renew_each_s = min(2 * self._renew_each_s, _RENEW_AT_MOST_EACH_S)
        self._renewed_for_ns = self.last_trade_ns
        self._renew_not_before_s = now_s + self._renew_each_s
        return True

    def _silent_since(self) -> int | None:
        """Return since when nothing came although it should be asked whether something ought to have."""
        since_ns = self._listening_since()
        now_ns = self._clock.now_ns()
        found = self._calendar.locate(now_ns)
        if not self._clock.runs or since_ns is None or found is None:
            return None
        since_ns = max(since_ns, self.last_trade_ns, found[0].open_ns)
        if self.last_trade_ns > self._asked_ns:
            self._quiet_s = self._params.silence_s
        silent_ns = now_ns - max(since_ns, self._asked_ns)
        return since_ns if silent_ns >= self._quiet_s * NS_PER_SECOND else None

    async def _missed(self, since_ns: int) -> int | None:
        """Return when the venue had a trade since then that has not come by a while later either, or None."""
        traded_ns = await self._venue.last_trade_since(since_ns, self._clock.now_ns())
        if traded_ns is None or self.last_trade_ns > since_ns:
            return None
        # It may be on its way, and this machine may be slow.
        await asyncio.sleep(max(self._clock.real_s(_GRACE_S), _LEAST_GRACE_S))
        still = self._listening_since()
        return traded_ns if still is not None and still <= since_ns and self.last_trade_ns <= since_ns else None
