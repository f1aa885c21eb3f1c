"""Stored bars to stored signals, for as long as the program runs.

One instance per analyzer, contract and timeframe. Those that run in this process share one ``Lane``; each that runs in
a worker process has a lane of its own, so that a slow one holds up nobody. ``Analysis`` rings the lanes when bars were
stored or revised, and by itself every few seconds. Truth is in the tables: a wake-up that is lost or comes twice
changes nothing but the time.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
import structlog

from escapement.core.analysis import AnalyzerKey
from escapement.errors import StorageUnavailable
from escapement.model import Timeframe, TimeframeUnit
from escapement.services.lane import AnalyzeParams, Lane, Planned, SignalStore

log = structlog.get_logger(service="analyze")

CHANNELS = "ohlc_bars", "bar_revisions"


class Bell(Protocol):
    """What wakes the service."""

    async def listen(self, hear: Callable[[str, str], None]) -> None:
        """Call ``hear`` with channel and payload until cancelled, and with two empty texts when listening begins."""
        ...


@dataclass(frozen=True, slots=True)
class AnalyzeStatistics:
    """Counts since the start.

    ``rewinds``: how often an instance went back, ``lost``: how often another service was first, ``faults``: how often
    an analyzer failed.
    """

    bars: int = 0
    signals: int = 0
    commits: int = 0
    rewinds: int = 0
    lost: int = 0
    faults: int = 0


class Analysis:
    """Runs instances over the bars of one store.

    Args:
        store: bars, signals, states.
        bell: what wakes; None polls only.
        plan: returns what shall run; asked again at each poll, because contracts come and go.
        params: how to run.
    """

    def __init__(
        self,
        store: SignalStore,
        bell: Bell | None,
        plan: Callable[[], Awaitable[Sequence[Planned]]],
        params: AnalyzeParams | None = None,
    ) -> None:
        self._store = store
        self._bell = bell
        self._plan = plan
        self._params = params or AnalyzeParams()
        self._counts: Counter[str] = Counter()
        self._shared = Lane(store, self._params, self._counts)
        self._lanes = [self._shared]
        self._known: set[AnalyzerKey] = set()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._revision_id = 0
        self._stopping = asyncio.Event()

    def statistics(self) -> AnalyzeStatistics:
        """Return the counts so far."""
        return AnalyzeStatistics(**self._counts)

    def stop(self) -> None:
        """Ask for an orderly end: what is being read is committed, ``run`` or ``catch_up`` returns."""
        self._stopping.set()
        for lane in self._lanes:
            lane.stop()

    async def catch_up(self) -> None:
        """Analyse what is stored and return; analyzers at fault are left out.

        Raises:
            StorageError: the database does not answer or refuses.
        """
        await self._seat()
        for lane in self._lanes:
            lane.hear_all()
        await asyncio.gather(*(lane.run_out() for lane in self._lanes))

    async def run(self) -> None:
        """Analyse what is stored and what will be, until ``stop``.

        Raises:
            StorageError: the database refused for good.
        """
        try:
            async with asyncio.TaskGroup() as group:
                beside = [group.create_task(self._poll(group))]
                if self._bell is not None:
                    beside.append(group.create_task(self._bell.listen(self._hear)))
                await self._stopping.wait()
                for task in beside:
                    task.cancel()
                await self._end()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _end(self) -> None:
        for lane in self._lanes:
            lane.stop()
        if self._running:
            _, late = await asyncio.wait(self._running.values(), timeout=self._params.grace_s)
            for task in late:
                task.cancel()

    def _hear(self, channel: str, payload: str) -> None:
        is_revised = channel == "bar_revisions"
        named = _revised(payload) if is_revised else tuple(payload.rsplit(" ", 1))
        for lane in self._lanes:
            if named is not None and len(named) == 2:
                lane.hear(*named, is_revised=is_revised)
            else:  # listening began, or somebody else rang
                lane.hear_all()

    async def _poll(self, group: asyncio.TaskGroup) -> None:
        """Look for what nobody rang for, at first for everything."""
        verified = float("-inf")
        while True:
            try:
                if verified < time.monotonic() - self._params.verify_s:
                    self._revision_id = await self._store.newest_revision()
                    await self._seat()
                    for lane in self._lanes:
                        lane.hear_all()
                    verified = time.monotonic()
                else:
                    await self._seat()
                    self._revision_id, revised = await self._store.revised_since(self._revision_id)
                    for lane in self._lanes:
                        lane.hear_poll(revised)
            except StorageUnavailable as error:
                log.warning("database_away", reason=str(error))
            for lane in self._lanes:
                if id(lane) not in self._running:
                    self._running[id(lane)] = group.create_task(lane.run())
            await asyncio.sleep(self._params.poll_s)

    async def _seat(self) -> None:
        """Give each newly planned instance its place."""
        planned = {each.key: each for each in await self._plan() if each.key not in self._known}
        if not planned:
            return
        await self._store.open(list(planned))
        for key, each in planned.items():
            self._known.add(key)
            if each.reader.is_elsewhere:
                lane = Lane(self._store, self._params, self._counts)
                self._lanes.append(lane)
            else:
                lane = self._shared
            lane.add(each)
        log.info("instances_added", count=len(planned))


def _revised(payload: str) -> tuple[str, str] | None:
    """Read a notification of the table bar_revisions; return contract and timeframe, None if it cannot be read."""
    try:
        fields: dict[str, Any] = orjson.loads(payload)
        return fields["contract_id"], str(Timeframe(TimeframeUnit(fields["timeframe_unit"]), fields["timeframe_value"]))
    except (KeyError, TypeError, ValueError):
        return None
