"""When the venue's own bars of a contract can be believed.

A bar counts when the venue already serves a later one, or when it reads the same again some time after its end: its
newest may lack trades. No bar counts as nothing traded when that time has passed and a second look, in seconds, finds
nothing either.
"""

from __future__ import annotations

from collections.abc import Sequence

from escapement.core.aggregation import OHLCBarAggregator, Rebuild
from escapement.core.observation import Observation
from escapement.model import NS_PER_SECOND, Bar, Interval
from escapement.services.ledger import Ledger
from escapement.services.marketclock import MarketClock
from escapement.services.venuebars import Reading, VenueBars

_AN_HOUR_NS = 3_600 * NS_PER_SECOND
_MOST_SEEN = 100
_LONG_NS = 3 * _AN_HOUR_NS


class Evidence:
    """What is known of one contract, here and at the venue; times are nanoseconds UTC.

    Args:
        contract_id: of the gateway.
        rebuild: knows its smallest bars.
        aggregator: knows up to where they are complete.
        observation: knows the gaps.
        ledger: has our bars.
        venue: has its own.
        clock: the venue's time.
        settle_s: how long after a bar's end the venue is asked for it, seconds of the venue's time.
        confirm_s: how long after its end a bar, or none, is believed although the venue serves no later one.
    """

    def __init__(
        self,
        contract_id: str,
        rebuild: Rebuild,
        aggregator: OHLCBarAggregator,
        observation: Observation,
        ledger: Ledger,
        venue: VenueBars,
        clock: MarketClock,
        *,
        settle_s: float,
        confirm_s: float,
    ) -> None:
        self.contract_id = contract_id
        self.rebuild = rebuild
        self.observation = observation
        self._aggregator = aggregator
        self._ledger = ledger
        self._venue = venue
        self._clock = clock
        self._settle_ns = int(settle_s * NS_PER_SECOND)
        self._confirm_ns = int(confirm_s * NS_PER_SECOND)
        self._seen: dict[int, Bar] = {}

    def watermark_ns(self) -> int:
        """Return up to where our bars are complete."""
        return self._aggregator.watermark_ns(self.contract_id)

    def settled_ns(self) -> int:
        """Return up to where bars are complete here, and long enough ago to be so at the venue."""
        watermark_ns = self.watermark_ns()
        return min(watermark_ns, self._clock.now_ns() - self._settle_ns) if self._clock.runs else watermark_ns

    async def read(self, roots: Sequence[Interval], now_ns: int) -> tuple[Reading, Reading]:
        """Return the venue's bars of these intervals, oldest first, and those that only its store of seconds has.

        Raises:
            GatewayError: the venue did not serve them.
        """
        served: dict[int, Bar] = {}
        finer: dict[int, Bar] = {}
        newest_ns = 0
        for stretch in _stretches(roots):
            reading = await self._venue.read(stretch, now_ns)
            served |= reading.bars
            newest_ns = max(newest_ns, reading.newest_ns)
            absent = [root for root in stretch if root.label_ns not in reading.bars]
            for each in _stretches(absent):
                finer |= (await self._venue.read_finer(each, now_ns)).bars
        return Reading(served, newest_ns), Reading(finer, newest_ns)

    async def forgotten(self, roots: Sequence[Interval], reading: Reading, finer: Reading) -> set[Interval]:
        """Return those of a long stretch whose small bars the venue has dropped: it has none there, but has hours.

        Raises:
            GatewayError: the venue did not serve them.
        """
        found: set[Interval] = set()
        run: list[Interval] = []
        for root in [*roots, None]:
            if root is not None and root.label_ns not in reading.bars and root.label_ns not in finer.bars:
                run.append(root)
                continue
            if sum(each.end_ns - each.open_ns for each in run) >= _LONG_NS and await self._venue.has_hours(
                run[0].open_ns, run[-1].end_ns - _AN_HOUR_NS
            ):
                found.update(run)
            run = []
        return found

    async def stored(self, from_ns: int, to_ns: int) -> dict[int, Bar]:
        """Return our smallest bars labelled in ``[from_ns, to_ns)`` by their label.

        Raises:
            StorageUnavailable: the database does not answer.
        """
        bars = await self._ledger.store.bars_between(self.contract_id, self.rebuild.root, from_ns, to_ns)
        return {bar.start_ns: bar for bar in bars}

    def is_certain(self, root: Interval, bar: Bar | None, reading: Reading, now_ns: int) -> bool:
        """Whether ``bar`` is the venue's last word on an interval; None is that nothing traded."""
        if reading.is_followed(root):
            return True
        # Unless time runs, nobody can tell what is old.
        old = not self._clock.runs or now_ns - root.end_ns >= self._confirm_ns
        if bar is None:
            return old
        again = self._seen.get(root.label_ns) == bar
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen[root.label_ns] = bar
        return again and old


def _stretches(roots: Sequence[Interval]) -> list[list[Interval]]:
    """Cut sorted intervals where nothing is wanted for so long that asking twice is cheaper."""
    stretches: list[list[Interval]] = []
    for root in roots:
        if stretches and root.open_ns - stretches[-1][-1].end_ns <= 6 * _AN_HOUR_NS:
            stretches[-1].append(root)
        else:
            stretches.append([root])
    return stretches
