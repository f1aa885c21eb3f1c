"""Downloading the venue's history of one contract.

1. What is wanted is widened to whole bars and cut into portions of about one answer of the venue.
2. Of each portion, oldest first, only what is not known yet is asked, in the smallest timeframe that serves all.
3. Those bars, and stored ones where these are whole, go through one aggregator, which makes the larger ones.
4. A portion's new bars are stored together with the note that it is known, so a kill at any moment costs one portion.
5. Where the venue keeps no small bars any more but larger ones, all begins again there with those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol, TypeVar

import stamina
import structlog
from msgspec import structs

from escapement.core.aggregation.larger import LargerBars
from escapement.core.stretches import Stretch, asked_of_the_venue, fits, joined, portions, widened, without
from escapement.errors import GatewayProtocolError, GatewayUnavailable, InvalidInput, StorageUnavailable
from escapement.model import NS_PER_SECOND, Bar, BarSource, Contract, Coverage, SessionCalendar, Timeframe
from escapement.moments import iso_from_ns
from escapement.services.venuehistory import Venue, VenueHistory

log = structlog.get_logger(service="history")

T = TypeVar("T")
MOST_BARS = 20_000


class Store(Protocol):
    """Where a download is kept; raises StorageError."""

    async def prepare(
        self, contract_id: str, timeframes: Sequence[Timeframe], calendar: SessionCalendar, stretch: Stretch
    ) -> list[Timeframe]:
        """Take note of what will be kept, and when the contract can trade; return every timeframe kept of it."""
        ...

    async def known(self, contract_id: str, asked: Timeframe) -> list[Stretch]:
        """Return the stretches of which all the venue's bars of timeframe ``asked`` are stored."""
        ...

    async def bars_between(self, contract_id: str, timeframe: Timeframe, from_ns: int, to_ns: int) -> Sequence[Bar]:
        """Return stored bars whose timestamp lies in ``[from_ns, to_ns)``, oldest first."""
        ...

    async def store(
        self, contract_id: str, asked: Timeframe, bars: Sequence[Bar], known: Iterable[Stretch],
        coverage: Sequence[Coverage],
    ) -> int:  # fmt: skip
        """Store bars, what is known now and what was observed, in one transaction; return how many were written."""
        ...


@dataclass(frozen=True, slots=True)
class HistoryParams:
    """How history is downloaded.

    ``page``: most bars in one answer of the venue. ``settle_s``: how long after its end a bar is believed although the
    venue serves no later one. When gateway or database do not answer, ``attempts`` calls are made, the first two
    ``wait_s`` apart, later ones up to a minute.
    """

    page: int = MOST_BARS
    settle_s: float = 600.0
    attempts: int = 8
    wait_s: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.page <= MOST_BARS:
            raise InvalidInput(f"--page {self.page} is not served by the venue; use 1 to {MOST_BARS}")


@dataclass(slots=True)
class Downloaded:
    """What a download did; times in nanoseconds UTC.

    ``answers`` counts the venue's answers, ``written`` new or changed bars by timeframe. ``lacking`` has the stretches
    whose bars of a timeframe the venue keeps no more.
    """

    contract_id: str
    answers: int = 0
    expired: bool = False
    written: Counter[Timeframe] = field(default_factory=Counter)
    lacking: dict[Timeframe, list[Stretch]] = field(default_factory=dict)


class Download:
    """Downloads one contract's history.

    Args:
        contract_id: of the gateway.
        calendar: its sessions.
        timeframes: what to have, in any order.
        venue: serves bars.
        store: keeps them.
        params: how.
        now_ns: our clock, nanoseconds UTC.
        progress: is told how many of how many portions are done.
    """

    def __init__(
        self,
        contract_id: str,
        calendar: SessionCalendar,
        timeframes: Sequence[Timeframe],
        venue: Venue,
        store: Store,
        params: HistoryParams,
        now_ns: Callable[[], int],
        progress: Callable[[int, int], None] = lambda _done, _of: None,
    ) -> None:
        self._contract_id = contract_id
        self._calendar = calendar
        self._timeframes = sorted(timeframes)
        self._venue = _Asked(contract_id, venue, params)
        self._store = store
        self._params = params
        self._now_ns = now_ns
        self._progress = progress
        self._kept: list[Timeframe] = []
        self.result = Downloaded(contract_id)

    async def run(self, from_ns: int, to_ns: int) -> Downloaded:
        """Have every complete bar that overlaps ``[from_ns, to_ns)`` (UTC).

        Raises:
            GatewayError: the venue refuses or does not answer; what was stored stays.
            StorageError: the database refuses or does not answer; likewise.
        """
        asked = asked_of_the_venue(self._timeframes)
        stretch = widened(self._calendar, [asked[0], *self._timeframes], (from_ns, min(to_ns, self._now_ns())))
        if stretch is not None:
            self._kept = await patiently(
                self._params, self._store.prepare, self._contract_id, self._timeframes, self._calendar, stretch
            )
            await self._pass(asked, self._timeframes, stretch)
        return self.result

    async def _pass(self, asked: Sequence[Timeframe], timeframes: Sequence[Timeframe], stretch: Stretch) -> None:
        """Have a stretch of the first timeframe that can be asked; what the venue lacks there, of the next."""
        settle_ns = int(self._params.settle_s * NS_PER_SECOND)
        reader = VenueHistory(self._contract_id, self._calendar, asked, self._venue, settle_ns, self._now_ns)
        larger = LargerBars(self._contract_id, self._calendar, asked[0], timeframes)
        known = await patiently(self._params, self._store.known, self._contract_id, asked[0])
        end_ns = min(stretch[1], self._now_ns())
        cut = list(portions(self._calendar, asked[0], (stretch[0], end_ns), self._params.page))
        gone: list[Stretch] = []
        for number, portion in enumerate(cut):
            self._progress(number, len(cut))
            known, lost = await self._portion(asked[0], portion, known, reader, larger)
            gone += lost
            self.result.answers, self.result.expired = self._venue.answers, self._venue.expired
        self._progress(len(cut), len(cut))
        for lost_stretch in joined(gone):
            await self._instead(asked[1:], timeframes, lost_stretch)

    async def _instead(self, asked: Sequence[Timeframe], timeframes: Sequence[Timeframe], gone: Stretch) -> None:
        """Have what can be had of a stretch whose small bars are gone, and take note of what cannot."""
        had = [timeframe for timeframe in timeframes if fits(asked[0], timeframe)]
        for timeframe in timeframes:
            if timeframe not in had:
                self.result.lacking[timeframe] = joined([*self.result.lacking.get(timeframe, ()), gone])
        wide = widened(self._calendar, [asked[0], *had], gone) if had else None
        if wide is not None:
            await self._pass(asked, had, wide)

    async def _portion(
        self, asked: Timeframe, portion: Stretch, known: list[Stretch], reader: VenueHistory, larger: LargerBars
    ) -> tuple[list[Stretch], list[Stretch]]:
        """Have one portion; return what is known now, and where the venue has no such bars any more."""
        stored = await self._stored(asked, *portion)
        fresh: dict[int, Bar] = {}
        learnt: list[Stretch] = []
        gone: list[Stretch] = []
        until_ns = portion[1]
        for missing in without(portion, known):
            reading = await reader.read(missing)
            fresh |= {
                bar.start_ns: structs.replace(bar, source=BarSource.HISTORY)
                for bar in reading.bars
                if not _is_whole(stored, bar)
            }
            gone += reading.gone
            learnt += without((missing[0], reading.until_ns), reading.gone)
            if reading.until_ns < missing[1]:
                until_ns = reading.until_ns
                break
        complete = [bar for bar in (stored | fresh).values() if bar.end_ns <= until_ns]
        made = _made(larger, complete, [*gone, (until_ns, portion[1])], portion[1])
        bars = [*fresh.values(), *await self._not_stored(made)]
        if bars or learnt:
            known = joined([*known, *learnt])
            coverage = self._observed(asked, learnt)
            await patiently(self._params, self._store.store, self._contract_id, asked, bars, known, coverage)
            self.result.written.update(bar.timeframe for bar in bars)
            log.info("history_stored", contract=self._contract_id, bars=len(bars), until=iso_from_ns(until_ns))
        return known, gone

    async def _stored(self, timeframe: Timeframe, from_ns: int, to_ns: int) -> dict[int, Bar]:
        bars = await patiently(self._params, self._store.bars_between, self._contract_id, timeframe, from_ns, to_ns)
        return {bar.start_ns: bar for bar in bars}

    async def _not_stored(self, bars: Sequence[Bar]) -> list[Bar]:
        """Return those bars that are not stored, or not whole."""
        wanted: list[Bar] = []
        for timeframe, group in groupby(sorted(bars, key=_by_timeframe), key=_by_timeframe):
            own = list(group)
            stored = await self._stored(timeframe, own[0].start_ns, own[-1].start_ns + NS_PER_SECOND)
            wanted += [bar for bar in own if not _is_whole(stored, bar)]
        return wanted

    def _observed(self, asked: Timeframe, learnt: Iterable[Stretch]) -> list[Coverage]:
        """Return what is observed: nothing where smaller bars are kept too, of whose trades these do not tell."""
        if not all(fits(asked, timeframe) for timeframe in self._kept):
            return []
        return [Coverage(self._contract_id, *stretch, BarSource.HISTORY) for stretch in learnt]


class _Asked:
    """The venue, asked again when it does not answer, and asked first whether the contract has expired."""

    def __init__(self, contract_id: str, venue: Venue, params: HistoryParams) -> None:
        self._contract_id = contract_id
        self._venue = venue
        self._params = params
        self._contract: Contract | None = None
        self.answers = 0

    @property
    def expired(self) -> bool:
        return self._contract is not None and not self._contract.active

    async def contract(self, contract_id: str) -> Contract:
        return await patiently(self._params, self._venue.contract, contract_id)

    async def bars(self, contract_id: str, timeframe: Timeframe, from_ns: int, to_ns: int) -> Sequence[Bar]:
        if self._contract is None:
            self._contract = await self.contract(contract_id)
        bars = await patiently(self._params, self._venue.bars, contract_id, timeframe, from_ns, to_ns)
        self.answers += 1
        return bars


async def patiently(params: HistoryParams, call: Callable[..., Awaitable[T]], *arguments: object) -> T:
    """Call, again with growing pauses while gateway or database do not answer.

    Raises:
        GatewayUnavailable: it did not answer the last call either.
        StorageUnavailable: likewise.
    """
    async for attempt in stamina.retry_context(
        on=(GatewayUnavailable, StorageUnavailable), attempts=params.attempts, timeout=None,
        wait_initial=params.wait_s, wait_max=60.0, wait_jitter=params.wait_s,
    ):  # fmt: skip
        with attempt:
            return await call(*arguments)
    raise AssertionError("stamina raises when attempts run out")


def _made(larger: LargerBars, bars: Iterable[Bar], gone: Sequence[Stretch], until_ns: int) -> list[Bar]:
    try:
        return larger.take(bars, gone, until_ns)
    except InvalidInput as error:
        raise GatewayProtocolError(f"{error}; nothing of this portion was stored") from None


def _is_whole(stored: Mapping[int, Bar], bar: Bar) -> bool:
    found = stored.get(bar.start_ns)
    return found is not None and found.whole


def _by_timeframe(bar: Bar) -> Timeframe:
    return bar.timeframe
