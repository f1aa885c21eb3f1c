"""Filling the gaps of one contract from the venue's history.

1. A gap is due when it has ended and every smallest bar that it touches has too.
2. The venue's bars of those intervals are read; ``Evidence`` says which can be believed.
3. They take the place of what is stored, every larger bar that contains them is made anew, and the gap is closed, in
   one transaction. Larger bars in progress are mended in the aggregator.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog
from msgspec import structs

from escapement.core.aggregation import OHLCBarAggregator
from escapement.errors import GatewayError, InvalidInput, StorageUnavailable
from escapement.model import NS_PER_SECOND, Bar, BarSource, Coverage, Gap, Interval, Timeframe
from escapement.services.evidence import Evidence
from escapement.services.ledger import Ledger
from escapement.services.marketclock import MarketClock
from escapement.services.venuebars import from_history

log = structlog.get_logger(service="repair")

_POLL_S = 0.25
# A day's label lies hours away from its first trade, a month's first session begins in the month before.
_WIDE_NS = 3 * 24 * 3_600 * NS_PER_SECOND

Bars = dict[int, Bar]


@dataclass(frozen=True, slots=True)
class RepairParams:
    """How gaps are repaired.

    ``settle_s``: how long after a bar's end the venue is asked for it. ``confirm_s``: how long after its end a bar, or
    none, is believed although the venue serves no later one. ``longest_delay_s`` between two attempts. These three are
    seconds of the venue's time. ``patience_s``: how many of our seconds a bar that is not whole waits for its repair
    before it is stored as it is.
    """

    settle_s: float = 2.0
    confirm_s: float = 60.0
    longest_delay_s: float = 60.0
    patience_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("settle_s", "confirm_s", "longest_delay_s", "patience_s"):
            if getattr(self, name) <= 0:
                raise InvalidInput(f"repair.{name} is {getattr(self, name)}; use more than 0")


@dataclass(slots=True)
class _Larger:
    """Bars of one larger timeframe that contain repaired ones: complete and made anew, or still in progress."""

    complete: Bars
    parts_in_progress: list[tuple[Interval, Bars]]


class Repair:
    """Repairs one contract for as long as ``run`` is not cancelled.

    Args:
        evidence: what the venue says of the contract, and its gaps.
        aggregator: whose bars in progress are mended.
        ledger: takes and stores the bars.
        clock: the venue's time.
        params: how.
        counts: gets ``gaps_closed`` and ``revised``.
    """

    def __init__(
        self,
        evidence: Evidence,
        aggregator: OHLCBarAggregator,
        ledger: Ledger,
        clock: MarketClock,
        params: RepairParams,
        counts: Counter[str],
    ) -> None:
        self._contract_id = evidence.contract_id
        self._evidence = evidence
        self._observation = evidence.observation
        self._rebuild = evidence.rebuild
        self._aggregator = aggregator
        self._ledger = ledger
        self._clock = clock
        self._params = params
        self._counts = counts
        self._waits: dict[Gap, tuple[int, float]] = {}  # how often each failed, and when it is tried again

    async def run(self) -> None:
        """Repair what is due, forever."""
        while True:
            gaps = self._ready(self._due())
            if not gaps:
                await asyncio.sleep(min(_POLL_S, self._clock.real_s(1.0)) if self._clock.runs else _POLL_S)
                continue
            try:
                left = await self._repair(gaps)
            except (GatewayError, StorageUnavailable) as error:
                left = dict.fromkeys(gaps, str(error))
            for reason in dict.fromkeys(left.values()):
                own = [gap for gap, why in left.items() if why == reason]
                with contextlib.suppress(StorageUnavailable):
                    await self._ledger.store.note_attempt(self._contract_id, own, reason)
                log.info("repair_waits", contract=self._contract_id, gaps=len(own), reason=reason)
            self._let_wait(left)

    def _due(self) -> list[Gap]:
        """Return the gaps that can be repaired now: every smallest bar they touch has ended, here and at the venue."""
        settled_ns = self._evidence.settled_ns()
        due = []
        for gap in self._observation.gaps:
            if gap.ends_ns is not None:
                last = self._rebuild.last_root(gap.begins_ns, gap.ends_ns)
                if last is None or last.end_ns <= settled_ns:
                    due.append(gap)
        return due

    def _ready(self, due: Sequence[Gap]) -> list[Gap]:
        """Leave out gaps that failed a moment ago; those that wait long are tried together, to ask the venue once."""
        self._waits = {gap: self._waits[gap] for gap in due if gap in self._waits}
        now_s = time.monotonic()
        ahead_s = 0.0
        if any(until_s <= now_s for _, until_s in self._waits.values()):
            ahead_s = self._clock.real_s(self._params.longest_delay_s) / 2
        return [gap for gap in due if self._waits.get(gap, (0, 0.0))[1] <= now_s + ahead_s]

    def _let_wait(self, left: Iterable[Gap]) -> None:
        """Let each gap wait longer with each failure, so that one that is never filled delays no other."""
        now_s = time.monotonic()
        for gap in left:
            failures = self._waits.get(gap, (0, 0.0))[0] + 1
            wait_s = min(self._params.settle_s * 2.0 ** min(failures, 10), self._params.longest_delay_s)
            # A replay at many times the speed of time must not become a storm of questions.
            wait_s = max(self._clock.real_s(wait_s), _POLL_S if failures > 3 else 0)
            self._waits[gap] = failures, now_s + wait_s

    async def _repair(self, gaps: Sequence[Gap]) -> dict[Gap, str]:
        """Repair these gaps; return those that cannot be closed yet, and why."""
        repaired: Bars = {}
        touched = {gap: list(self._rebuild.roots(gap.begins_ns, gap.ends_ns or 0)) for gap in gaps}
        doubts = await self._read(_united(touched.values()), repaired)
        doubtful = {
            gap: next((doubts[root] for root in roots if root in doubts), None) for gap, roots in touched.items()
        }
        left = {gap: why for gap, why in doubtful.items() if why is not None}
        closing = [gap for gap in gaps if gap not in left]
        if not closing:
            return left
        roots = _united(touched[gap] for gap in closing)
        labels = {root.label_ns for root in roots}
        repaired = {label_ns: bar for label_ns, bar in repaired.items() if label_ns in labels}
        written = await self._store(closing, roots, repaired)
        self._counts["gaps_closed"] += len(closing)
        self._counts["revised"] += written
        log.info(
            "gaps_closed", contract=self._contract_id, gaps=len(closing),
            causes=sorted({gap.cause.value for gap in closing}), bars_read=len(repaired), bars_written=written,
        )  # fmt: skip
        return left

    async def _read(self, roots: Sequence[Interval], repaired: Bars) -> dict[Interval, str]:
        """Read the venue's bars into ``repaired``; return of which intervals they cannot be told yet, and why."""
        if not roots:
            return {}
        now_ns = self._clock.now_ns()
        reading, finer = await self._evidence.read(roots, now_ns)
        forgotten = await self._evidence.forgotten(roots, reading, finer)
        stored = await self._evidence.stored(roots[0].open_ns, roots[-1].end_ns)
        doubts = {}
        for root in roots:
            bar = reading.bars.get(root.label_ns) or finer.bars.get(root.label_ns)
            kept = stored.get(root.label_ns) or self._ledger.lacking(
                self._contract_id, self._rebuild.root, root.label_ns
            )
            if root in forgotten:
                doubts[root] = (
                    "the venue keeps no such small bars of then any more, only hours; see escapement history download"
                )
            elif not self._evidence.is_certain(root, bar, reading, now_ns):
                doubts[root] = "the venue's newest bar may not be complete yet"
            elif bar is not None:
                repaired[root.label_ns] = from_history(bar)
            elif kept is not None and not kept.whole:
                doubts[root] = "the venue has no bar where trades were heard"
        return doubts

    async def _store(self, gaps: Sequence[Gap], roots: Sequence[Interval], repaired: Bars) -> int:
        """Store repaired bars and what is made of them, close the gaps, and mend the bars in progress."""
        affected = {larger: self._rebuild.overlapping(larger, gaps, roots) for _, larger in self._rebuild.steps}
        coverage = _covered(self._contract_id, gaps, roots)
        written = 0
        while True:
            end_collecting = self._ledger.collect(self._contract_id)
            try:
                watermark_ns = self._evidence.watermark_ns()
                await self._ledger.flush()
                made = await self._make(affected, repaired, gaps, watermark_ns)
                bars = [*repaired.values(), *(bar for larger in made.values() for bar in larger.complete.values())]
                written += await self._ledger.store.store_repair(self._contract_id, bars, coverage, gaps)
            finally:
                fresh = end_collecting()
            self._ledger.repaired((self._contract_id, bar.timeframe, bar.start_ns) for bar in bars)
            now_ns = self._evidence.watermark_ns()
            # A bar that was completed meanwhile was so without the repair.
            if not any(watermark_ns < each.end_ns <= now_ns for found in affected.values() for each in found):
                break
        self._observation.close(gaps)
        self._mend(made, fresh)
        return written

    async def _make(
        self, affected: dict[Timeframe, list[Interval]], repaired: Bars, gaps: Sequence[Gap], watermark_ns: int
    ) -> dict[Timeframe, _Larger]:
        """Make larger bars of completed ones anew, from the smallest timeframe up."""
        known = {self._rebuild.root: repaired}
        made: dict[Timeframe, _Larger] = {}
        for smaller, larger in self._rebuild.steps:
            complete: Bars = {}
            in_progress = []
            parts = await self._parts(smaller, affected[larger], known, watermark_ns)
            groups = self._rebuild.grouped(larger, parts.values())
            for interval in affected[larger]:
                own = groups.get(interval, [])
                if interval.end_ns > watermark_ns:
                    in_progress.append((interval, {bar.start_ns: bar for bar in own}))
                    continue
                bar = self._rebuild.merged(larger, interval, own)
                if bar is not None and bar.whole and self._is_observed(interval, besides=gaps):
                    complete[bar.start_ns] = bar
            known[larger] = complete
            made[larger] = _Larger(complete, in_progress)
        return made

    async def _parts(
        self, smaller: Timeframe, affected: Sequence[Interval], known: dict[Timeframe, Bars], watermark_ns: int
    ) -> Bars:
        """Return the completed bars of ``smaller`` from the first to the last affected interval, as repaired."""
        if not affected:
            return {}
        wide_ns = 0 if smaller.is_intraday else _WIDE_NS
        from_ns, to_ns = affected[0].open_ns - wide_ns, affected[-1].end_ns + wide_ns
        stored = await self._ledger.store.bars_between(self._contract_id, smaller, from_ns, to_ns)
        waiting = self._ledger.all_lacking(self._contract_id, smaller)
        found = {bar.start_ns: bar for bar in [*waiting, *stored]} | known.get(smaller, {})
        found |= await self._never_kept(smaller, affected, known, found, watermark_ns)
        return {start_ns: bar for start_ns, bar in found.items() if bar.end_ns <= watermark_ns}

    async def _never_kept(
        self, smaller: Timeframe, affected: Sequence[Interval], known: dict[Timeframe, Bars], found: Bars,
        watermark_ns: int,
    ) -> Bars:  # fmt: skip
        """Make what is missing of ``smaller`` from what it is made of: it may not have been kept from the beginning."""
        feeder = self._rebuild.feeder(smaller)
        if feeder is None:
            return {}
        absent = [
            each for larger in affected for each in self._rebuild.inside(smaller, larger)
            if each.label_ns not in found and each.end_ns <= watermark_ns
        ]  # fmt: skip
        made: Bars = {}
        for run in _runs(absent):
            groups = self._rebuild.grouped(smaller, (await self._parts(feeder, run, known, watermark_ns)).values())
            bars = (self._rebuild.merged(smaller, each, groups.get(each, ())) for each in run)
            made |= {bar.start_ns: bar for bar in bars if bar is not None}
        return made

    def _mend(self, made: dict[Timeframe, _Larger], fresh: Sequence[Bar]) -> None:
        """Make the bars in progress anew from all completed bars below them; nothing may be awaited here."""
        mended = []
        for smaller, larger in self._rebuild.steps:
            new = self._rebuild.grouped(larger, (bar for bar in fresh if bar.timeframe == smaller))
            for interval, parts in made[larger].parts_in_progress:
                own = parts | {bar.start_ns: bar for bar in new.get(interval, ())}
                bar = self._rebuild.merged(larger, interval, own.values())
                if bar is not None:
                    mended.append(
                        bar if bar.whole and self._is_observed(interval) else structs.replace(bar, whole=False)
                    )
        left = [(gap.begins_ns, gap.ends_ns or gap.begins_ns + 1) for gap in self._observation.gaps]
        self._aggregator.mend(self._contract_id, mended, left)

    def _is_observed(self, interval: Interval, *, besides: Iterable[Gap] = ()) -> bool:
        return self._observation.is_observed(interval.open_ns, interval.end_ns, besides=besides)


def _covered(contract_id: str, gaps: Sequence[Gap], roots: Sequence[Interval]) -> list[Coverage]:
    """Return what the repair of the gaps covers: each gap, widened to whole smallest bars."""
    covered = []
    for gap in gaps:
        if gap.ends_ns is None:
            continue
        own = [root for root in roots if root.open_ns < gap.ends_ns and root.end_ns > gap.begins_ns]
        begins_ns = min([gap.begins_ns, *(root.open_ns for root in own[:1])])
        ends_ns = max([gap.ends_ns, *(root.end_ns for root in own[-1:])])
        covered.append(Coverage(contract_id, begins_ns, ends_ns, BarSource.HISTORY))
    return covered


def _united(groups: Iterable[Iterable[Interval]]) -> list[Interval]:
    return sorted({interval for group in groups for interval in group}, key=_by_open)


def _runs(ordered: Iterable[Interval]) -> list[list[Interval]]:
    """Divide intervals into those that follow upon one another."""
    runs: list[list[Interval]] = []
    for interval in ordered:
        if runs and interval.open_ns == runs[-1][-1].end_ns:
            runs[-1].append(interval)
        else:
            runs.append([interval])
    return runs


def _by_open(interval: Interval) -> int:
    return interval.open_ns
