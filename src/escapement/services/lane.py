"""Instances of analyzers that are read by one task, one stretch of bars after the other.

A lane repeats:

1. wait until bars of its series were stored or revised, or may have been;
2. of series that were revised, put the instances that read other bars back to a checkpoint before the difference;
3. read the bars after ``last_processed_timestamp`` and push them into the analyzers;
4. commit signals, state and watermark in one transaction, of those instances that are still where they were.

After any failure, and when another service was quicker, an instance is read from the tables anew: starting, going on
after a crash and giving way are one path.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from escapement.core.analysis import Advance, AnalyzerKey, Instance, StoredBar
from escapement.errors import AnalyzerFault, InvalidInput, StorageUnavailable
from escapement.model import Timeframe
from escapement.services.reader import Reader

log = structlog.get_logger(service="analyze")

Series = tuple[str, Timeframe]
_RECENT_INTERVALS = 3
_CHUNKS_A_STEP = 4


class SignalStore(Protocol):
    """Where bars are, and where signals and the standing of instances are kept."""

    async def open(self, keys: Sequence[AnalyzerKey]) -> list[Instance]:
        """Return where these instances stand; what was not there yet begins before the first bar."""
        ...

    async def bars_after(self, asked: Sequence[tuple[Series, int | None, int]]) -> list[list[StoredBar]]:
        """Return of each series the bars after a label (None: all), oldest first, at most so many."""
        ...

    async def commit(self, advances: Sequence[Advance], interval: int) -> set[int]:
        """Store advances; return the ids of the instances that were still at their step. ``interval``: checkpoints."""
        ...

    async def changed(self, instance_ids: Sequence[int], newest: int | None = None) -> dict[int, int | None]:
        """Return whose stored bars are not those read, with the checkpoint to go back to."""
        ...

    async def rewind(self, instance: Instance, to_ns: int | None) -> None:
        """Put an instance back to its checkpoint at that label, or to before its first bar; unless it moved."""
        ...

    async def newest_revision(self) -> int:
        """Return the newest revision's id."""
        ...

    async def revised_since(self, revision_id: int) -> tuple[int, set[Series]]:
        """Return the newest revision's id, and the series with revisions above ``revision_id``."""
        ...

    async def note_fault(self, instance: Instance, why: str) -> None:
        """Take note why an instance stands still."""
        ...


@dataclass(frozen=True, slots=True)
class AnalyzeParams:
    """How the service runs.

    ``poll_s``: how often it looks by itself. ``verify_s``: how often all bars ever read are compared with those stored.
    ``chunk_bars``: how many bars of a series are read at once; of all series together four times as many.
    ``checkpoint_bars``: bars between two checkpoints. ``retry_s``: how long it waits for a database that does not
    answer. ``fault_retry_s``: after how long an analyzer that failed is tried again. ``grace_s``: how long what is
    being read may take at the end.
    """

    poll_s: float = 5.0
    verify_s: float = 3_600.0
    chunk_bars: int = 1_000
    checkpoint_bars: int = 100
    retry_s: float = 1.0
    fault_retry_s: float = 60.0
    grace_s: float = 10.0

    def __post_init__(self) -> None:
        for name in ("poll_s", "verify_s", "chunk_bars", "checkpoint_bars", "retry_s", "fault_retry_s"):
            if getattr(self, name) <= 0:
                raise InvalidInput(f"analyzers.{name} is {getattr(self, name)}; use more than 0")


@dataclass(frozen=True, slots=True)
class Planned:
    """An instance that shall run: what it is, its reader, and how many bars its analyzer needs to warm up."""

    key: AnalyzerKey
    reader: Reader
    warm_up_bars: int


@dataclass(slots=True)
class _Seat:
    """A planned instance at work.

    ``kept`` is None when its standing has to be read from the store; ``is_doubtful`` when what it read has to be
    compared with what is stored; ``is_rebuilt`` when a state that could not be read was made anew.
    """

    planned: Planned
    kept: Instance | None = None
    is_doubtful: bool = True
    is_rebuilt: bool = False
    idle_until: float = 0.0

    @property
    def series(self) -> Series:
        return self.planned.key.contract_id, self.planned.key.timeframe


class Lane:
    """Instances that are read, one stretch of bars after the other, by one task."""

    def __init__(self, store: SignalStore, params: AnalyzeParams, counts: Counter[str]) -> None:
        self._store = store
        self._params = params
        self._counts = counts
        self._seats: list[_Seat] = []
        self._series: dict[tuple[str, str], Series] = {}
        self._due: set[Series] = set()
        self._revised: set[Series] = set()  # series of which everything read has to be compared with what is stored
        self._recent = False  # whether the newest bars of every series have to be compared
        self._rung = asyncio.Event()
        self._stopped = False

    def add(self, planned: Planned) -> None:
        """Give an instance its place; its bars are compared with those it read before it reads on."""
        seat = _Seat(planned)
        self._seats.append(seat)
        self._series[planned.key.contract_id, str(planned.key.timeframe)] = seat.series
        self._due.add(seat.series)
        self._rung.set()

    def stop(self) -> None:
        """Let ``run`` and ``run_out`` return after the commit at hand."""
        self._stopped = True
        self._rung.set()

    def hear(self, contract_id: str, timeframe: str, *, is_revised: bool) -> None:
        """Take note that bars of a series were stored or revised."""
        series = self._series.get((contract_id, timeframe))
        if series is not None:
            self._due.add(series)
            if is_revised:
                self._revised.add(series)
            self._rung.set()

    def hear_poll(self, revised: set[Series]) -> None:
        """Look at every series for new bars, and at those for revised ones."""
        self._due |= {seat.series for seat in self._seats}
        self._revised |= revised & self._due
        self._recent = True
        self._rung.set()

    def hear_all(self) -> None:
        """Look at everything: whatever happened may have gone unheard."""
        self._due |= {seat.series for seat in self._seats}
        self._revised |= self._due
        self._rung.set()

    async def run(self) -> None:
        """Step whenever there is something to read, until stopped.

        Raises:
            StorageError: the database refused for good.
        """
        while True:
            await self._rung.wait()
            if self._stopped:
                return
            try:
                await self.step()
            except StorageUnavailable as error:
                log.warning("database_away", reason=str(error))
                await asyncio.sleep(self._params.retry_s)

    async def run_out(self) -> None:
        """Step until there is nothing to read, or until stopped.

        Raises:
            StorageError: the database does not answer or refuses.
        """
        while not self._stopped and await self.step():
            pass

    async def step(self) -> bool:
        """Read the next bars of every series that is due; return whether there may be more.

        Raises:
            StorageError: nothing is lost; the same is due again.
        """
        due, revised, recent = self._due, self._revised, self._recent
        self._due, self._revised, self._recent = set(), set(), False
        self._rung.clear()
        try:
            seats = [seat for seat in self._seats if seat.series in due and seat.idle_until <= time.monotonic()]
            await self._load(seats)
            if await self._rewind(seats, revised, recent=recent):
                await self._load(seats)
            left = await self._advance(seats)
        except BaseException:
            # Whether the commit went through is not known, so everything is read anew.
            for seat in self._seats:
                seat.kept = None
                seat.planned.reader.forget()
            self._due |= due
            self._revised |= revised
            self._recent |= recent
            self._rung.set()
            raise
        self._due |= left
        if left:
            self._rung.set()
        return bool(left)

    async def _load(self, seats: Sequence[_Seat]) -> None:
        unknown = {seat.planned.key: seat for seat in seats if seat.kept is None}
        if unknown:
            for instance in await self._store.open(list(unknown)):
                unknown[instance.key].kept = instance

    async def _rewind(self, seats: Sequence[_Seat], revised: set[Series], *, recent: bool) -> bool:
        """Put back the instances whose bars have changed; return whether there are any."""
        by_id = {seat.kept.instance_id: seat for seat in seats if seat.kept is not None}
        doubtful = [each for each, seat in by_id.items() if seat.is_doubtful or seat.series in revised]
        changed = await self._store.changed(doubtful) if doubtful else {}
        others = [instance_id for instance_id in by_id if instance_id not in doubtful] if recent else []
        if others:
            changed |= await self._store.changed(others, _RECENT_INTERVALS * self._params.checkpoint_bars)
        for instance_id, to_ns in changed.items():
            await self._put_back(by_id[instance_id], to_ns, "bars_changed")
        for instance_id in doubtful:
            by_id[instance_id].is_doubtful = False
        return bool(changed)

    async def _put_back(self, seat: _Seat, to_ns: int | None, why: str) -> None:
        kept = seat.kept
        if kept is not None:
            key = seat.planned.key
            log.info(
                why, analyzer=key.analyzer, contract=key.contract_id, timeframe=str(key.timeframe),
                from_the_beginning=to_ns is None,
            )  # fmt: skip
            self._counts["rewinds"] += 1
            await self._store.rewind(kept, to_ns)
            seat.kept = None
            seat.planned.reader.forget()

    async def _advance(self, seats: Sequence[_Seat]) -> set[Series]:
        """Read on; return the series of which there may be more."""
        # Those that have much to catch up with must not hold up those that follow the market.
        most = max(1, min(self._params.chunk_bars, _CHUNKS_A_STEP * self._params.chunk_bars // max(1, len(seats))))
        asked: dict[tuple[Series, int | None], int] = {}
        for seat in seats:
            if seat.kept is not None:
                at_ns = seat.kept.progress.at_ns
                place = seat.series, at_ns
                # The first stretch holds the whole warm-up: whether it is over need not be remembered.
                wanted = most + (seat.planned.warm_up_bars if at_ns is None else 0)
                asked[place] = max(asked.get(place, 0), wanted)
        found = await self._store.bars_after([(series, at_ns, count) for (series, at_ns), count in asked.items()])
        bars = dict(zip(asked, found, strict=True))
        left: set[Series] = set()
        advances: list[tuple[_Seat, Advance]] = []
        for seat in seats:
            if seat.kept is None:
                left.add(seat.series)
                continue
            place = seat.series, seat.kept.progress.at_ns
            rows = bars[place]
            if len(rows) >= asked[place]:
                left.add(seat.series)
            advance = await self._read(seat, seat.kept, rows, left) if rows else None
            if advance is not None:
                advances.append((seat, advance))
        await self._commit(advances, left)
        return left

    async def _read(self, seat: _Seat, kept: Instance, rows: Sequence[StoredBar], left: set[Series]) -> Advance | None:
        planned = seat.planned
        try:
            reading = await planned.reader.read_on(kept.progress, rows, self._params.checkpoint_bars)
        except InvalidInput as error:
            if seat.is_rebuilt:  # making it anew once more would never end
                await self._leave_out(seat, kept, f"it does not read its own snapshot: {error}")
                return None
            seat.is_rebuilt = True
            log.warning("state_discarded", analyzer=planned.key.analyzer, reason=str(error))
            await self._put_back(seat, None, "rebuild")
            left.add(seat.series)
            return None
        except AnalyzerFault as error:
            await self._leave_out(seat, kept, str(error))
            return None
        first_ns = rows[0].bar.start_ns
        judged_after_ns = kept.progress.at_ns
        if judged_after_ns is None and kept.first_ns is not None and first_ns > kept.first_ns:
            # The bars it began with are gone, so what it says while it warms up proves nothing about what it said.
            judged_after_ns = [first_ns - 1, *(row.bar.start_ns for row in rows)][: planned.warm_up_bars + 1][-1]
        return Advance(kept, reading, first_ns, judged_after_ns)

    async def _leave_out(self, seat: _Seat, kept: Instance, why: str) -> None:
        """Let an analyzer that failed rest for a while; the others go on."""
        seat.planned.reader.forget()
        seat.is_doubtful = True  # bars may be revised meanwhile
        seat.idle_until = time.monotonic() + self._params.fault_retry_s
        self._counts["faults"] += 1
        key = seat.planned.key
        log.error(
            "analyzer_failed", analyzer=key.analyzer, contract=key.contract_id, timeframe=str(key.timeframe), reason=why
        )
        if kept.fault != why:
            await self._store.note_fault(kept, why)
            seat.kept = replace(kept, fault=why)

    async def _commit(self, advances: Sequence[tuple[_Seat, Advance]], left: set[Series]) -> None:
        if not advances:
            return
        moved = await self._store.commit([advance for _, advance in advances], self._params.checkpoint_bars)
        self._counts["commits"] += 1
        for seat, advance in advances:
            kept, reading = advance.instance, advance.reading
            if kept.instance_id in moved:
                first_ns = advance.first_ns if kept.first_ns is None else min(kept.first_ns, advance.first_ns)
                seat.kept = replace(kept, progress=reading.progress, first_ns=first_ns, step=kept.step + 1, fault="")
                self._counts["bars"] += reading.progress.bars - kept.progress.bars
                self._counts["signals"] += len(reading.signals)
            else:
                self._counts["lost"] += 1
                seat.kept = None
                seat.planned.reader.forget()
                left.add(seat.series)
