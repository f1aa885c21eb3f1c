"""Our smallest bars against the venue's own: trades that were sent to nobody, twice or in another order show here.

1. Some time after a bar's end the venue is asked for it, many bars at once.
2. The venue's bar counts when it already serves a later one, or when it reads the same again some time after its end.
   Where it has none a second look, in seconds, decides.
3. A bar that differs becomes a gap and an alarm; the repair then takes the venue's bar.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from escapement.errors import GatewayError, InvalidInput, StorageUnavailable
from escapement.model import Bar, BarSource, GapCause, Interval
from escapement.services.evidence import Evidence
from escapement.services.ledger import Ledger
from escapement.services.marketclock import MarketClock
from escapement.services.venuebars import Reading

log = structlog.get_logger(service="compare")

# Without a running clock nobody can tell how often is too often.
_POLL_S = 2.0
_MOST_BARS = 1_500


@dataclass(frozen=True, slots=True)
class CompareParams:
    """How bars are compared with the venue's.

    ``every_s``: seconds of the venue's time between two questions. ``sample``: the share of bars compared, 0 for none.
    ``price_tolerance`` (points) and ``volume_tolerance`` (share of the venue's volume): differences that are no
    disagreement.
    """

    every_s: float = 60.0
    sample: float = 1.0
    price_tolerance: float = 0.0
    volume_tolerance: float = 0.0

    def __post_init__(self) -> None:
        if self.every_s <= 0:
            raise InvalidInput(f"compare.every_s is {self.every_s}; use more than 0")
        if not 0 <= self.sample <= 1:
            raise InvalidInput(f"compare.sample is {self.sample}; use 0 to 1")
        for name in ("price_tolerance", "volume_tolerance"):
            if getattr(self, name) < 0:
                raise InvalidInput(f"compare.{name} is {getattr(self, name)}; use 0 or more")

    def agree(self, ours: Bar, venue: Bar) -> bool:
        """Whether the two tell of the same trades."""
        # Both come from prices on the tick grid; half a millionth only forgives the last bit of a float.
        near = self.price_tolerance + 5e-7 * abs(venue.close)
        prices = ((ours.open, venue.open), (ours.high, venue.high), (ours.low, venue.low), (ours.close, venue.close))
        return all(abs(one - other) <= near for one, other in prices) and abs(ours.volume - venue.volume) <= (
            self.volume_tolerance * venue.volume
        )


class Comparison:
    """Compares the bars of one contract for as long as ``run`` is not cancelled.

    Args:
        evidence: reads the venue's bars of the contract.
        ledger: has ours, and remembers up to where they were compared.
        clock: the venue's time.
        params: how.
        counts: gets ``compared`` and ``alarms``.
    """

    def __init__(
        self, evidence: Evidence, ledger: Ledger, clock: MarketClock, params: CompareParams, counts: Counter[str]
    ) -> None:
        self._evidence = evidence
        self._ledger = ledger
        self._clock = clock
        self._params = params
        self._counts = counts
        self._chance = random.Random()  # noqa: S311 - which bars are sampled is no secret

    async def run(self) -> None:
        """Compare what is due, forever."""
        while self._params.sample > 0:
            await asyncio.sleep(self._clock.real_s(self._params.every_s) if self._clock.runs else _POLL_S)
            try:
                while await self.compare():
                    pass
            except (GatewayError, StorageUnavailable) as error:
                log.info("comparison_waits", contract=self._evidence.contract_id, reason=str(error))

    async def compare(self) -> bool:
        """Compare the bars that ended since the last time; return whether more are due at once.

        Raises:
            GatewayError: the venue did not serve its bars.
            StorageUnavailable: the database did not serve ours.
        """
        contract_id = self._evidence.contract_id
        now_ns = self._clock.now_ns()
        watermark_ns = self._evidence.settled_ns()
        cursor_ns = self._ledger.compared.get(contract_id)
        if cursor_ns is None:
            return False
        due: list[Interval] = []
        for root in self._evidence.rebuild.roots(cursor_ns, watermark_ns):
            if root.end_ns > watermark_ns or len(due) == _MOST_BARS:
                break
            due.append(root)
        if not due:
            return False
        chosen = [root for root in due if self._params.sample == 1 or self._chance.random() < self._params.sample]
        if chosen:
            await self._ledger.flush()
            reading, absent = await self._evidence.read(chosen, now_ns)
            ours = await self._evidence.stored(due[0].open_ns, due[-1].end_ns)
            compared_ns = self._compare_all(chosen, reading, absent, ours, now_ns)
            if compared_ns is not None:
                self._ledger.compared[contract_id] = max(cursor_ns, compared_ns)
                return False
        self._ledger.compared[contract_id] = due[-1].end_ns
        return len(due) == _MOST_BARS

    def _compare_all(
        self, roots: Sequence[Interval], reading: Reading, absent: Reading, ours: dict[int, Bar], now_ns: int
    ) -> int | None:
        """Compare each; return where to go on when one cannot be judged yet, or None."""
        for root in roots:
            own = ours.get(root.label_ns)
            venue = reading.bars.get(root.label_ns) or absent.bars.get(root.label_ns)
            observed = self._evidence.observation.is_observed(root.open_ns, root.end_ns)
            if not observed or (own is not None and own.source is not BarSource.LIVE):
                continue
            if own is not None and venue is not None and self._params.agree(own, venue):
                self._counts["compared"] += 1
                continue
            if not self._evidence.is_certain(root, venue, reading, now_ns):
                return root.open_ns
            self._counts["compared"] += 1
            if venue is not None:
                self._alarm(root, own, venue)
            elif own is not None:
                log.warning("venue_lacks_bar", contract=own.contract_id, at_ns=root.label_ns, volume=own.volume)
        return None

    def _alarm(self, root: Interval, own: Bar | None, venue: Bar) -> None:
        cause = GapCause.MISSED if own is None else GapCause.DISAGREEMENT
        detail = f"venue {_words(venue)}, here {'nothing' if own is None else _words(own)}"
        self._evidence.observation.miss(root.open_ns, root.end_ns, cause, detail)
        self._ledger.changed()
        self._counts["alarms"] += 1
        log.error("venue_disagrees", contract=venue.contract_id, at_ns=root.label_ns, cause=cause.value, detail=detail)


def _words(bar: Bar) -> str:
    return f"{bar.open:.15g} {bar.high:.15g} {bar.low:.15g} {bar.close:.15g} x {bar.volume}"
