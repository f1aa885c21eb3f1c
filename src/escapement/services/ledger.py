"""Completed bars on their way into the store, together with what was observed and the state of it all.

Whole bars go at once. A bar of which part was not observed waits a while for its repair, so that what is stored first
is right; when the repair takes too long it is stored as it is, marked as not whole.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import stamina
import structlog

from escapement.core.aggregation import OHLCBarAggregator
from escapement.core.observation import Observation
from escapement.errors import StorageUnavailable
from escapement.model import Bar, Coverage, Gap, Session, Timeframe
from escapement.ports import BarStore, StateStore
from escapement.services.lags import LagCounts

log = structlog.get_logger(service="ingest")

_BATCH = 10_000
_STATE_VERSION = 1
_MOST_LAGS = 10_000

Key = tuple[str, Timeframe, int]


class Store(BarStore, StateStore, Protocol):
    """What ingestion needs of the database."""

    async def store_observed(
        self,
        bars: Sequence[Bar],
        coverage: Sequence[Coverage],
        gaps: Sequence[Gap],
        states: Mapping[str, Mapping[str, object]] | None,
    ) -> int:
        """Store all of it in one transaction, states by their names; return how many bars were new or replaced."""
        ...

    async def store_repair(
        self, contract_id: str, bars: Sequence[Bar], coverage: Sequence[Coverage], closed: Sequence[Gap]
    ) -> int:
        """Store repaired bars and close their gaps in one transaction; return how many were new or revised."""
        ...

    async def note_attempt(self, contract_id: str, gaps: Sequence[Gap], reason: str) -> None:
        """Take note that a repair did not succeed."""
        ...

    async def open_gaps(self, contract_id: str) -> Sequence[Gap]:
        """Return the contract's gaps that are not repaired."""
        ...

    async def coverage(self, contract_id: str) -> Sequence[tuple[int, int]]:
        """Return what of a contract was observed, ``[from, to)`` in nanoseconds UTC, oldest first."""
        ...

    async def set_periods(self, contract_id: str, sessions: Sequence[Session]) -> None:
        """Make what is stored of the contract's trading periods equal ``sessions`` from their first to their last."""
        ...


@dataclass(frozen=True, slots=True)
class Saved:
    """What a run saved of a contract: the aggregator's state, up to where it was seen, and whether it ended well."""

    aggregator: Mapping[str, object] | None = None
    seen_ns: int | None = None
    ended: bool = False


class Ledger:
    """Stores what ingestion produces, in order, without ever holding more than ``most`` bars for long.

    Args:
        store: the database.
        aggregator: whose state goes with the bars.
        observations: of each contract.
        state_name: what the state is kept under, followed by the contract, which another process may go on with; None
            keeps none.
        state_interval_s: how often it is stored when no bars are.
        patience_s: how long a bar that is not whole waits for its repair; 0 stores it at once.

    ``compared``: up to where the bars of each contract were compared with the venue's, nanoseconds UTC, saved as well.
    ``lag_counts``: how long all bars since the start took from their completion into the store.
    ``dirty`` says that something happened since the last time all was stored; ``room`` is set when bars were stored.
    """

    def __init__(
        self,
        store: Store,
        aggregator: OHLCBarAggregator,
        observations: Mapping[str, Observation],
        *,
        state_name: str | None,
        state_interval_s: float,
        patience_s: float,
    ) -> None:
        self.store = store
        self._aggregator = aggregator
        self._observations = observations
        self._state_name = state_name
        self._state_interval_s = state_interval_s
        self._patience_s = patience_s
        self._waiting: list[Bar] = []
        self._kept_s: list[float] = []  # when each of them was kept
        self._lags_s: deque[float] = deque(maxlen=_MOST_LAGS)
        self._lacking: dict[Key, tuple[Bar, float]] = {}
        self._collecting: dict[str, list[list[Bar]]] = {}
        self._work = asyncio.Event()
        self._flushed: list[tuple[int, asyncio.Future[None]]] = []
        self._rounds = 0
        self._ended = False
        self.room = asyncio.Event()
        self.dirty = True
        self.bars_new = 0
        self.compared: dict[str, int] = {}
        self.lag_counts = LagCounts()

    def __len__(self) -> int:
        return len(self._waiting)

    async def load(self, contract_id: str) -> Saved:
        """Return what an earlier run saved of a contract, and go on from where it compared."""
        name = self._name(contract_id)
        state = None if name is None else await self.store.load_state(name)
        if state is None or state.get("version") != _STATE_VERSION:
            return Saved()
        aggregator, seen, compared = (state.get(each) for each in ("aggregator", "seen", "compared"))
        if contract_id in (known := _moments(compared)):
            self.compared[contract_id] = known[contract_id]
        return Saved(
            aggregator if isinstance(aggregator, Mapping) else None, _moments(seen).get(contract_id),
            ended=state.get("ended") is True,
        )  # fmt: skip

    def _name(self, contract_id: str) -> str | None:
        return None if self._state_name is None else f"{self._state_name} {contract_id}"

    def keep(self, bar: Bar) -> None:
        """Take a completed bar."""
        for collected in self._collecting.get(bar.contract_id, ()):
            collected.append(bar)
        if bar.whole or not self._patience_s or self._ended:
            self._wait(bar)
            self._work.set()
        else:
            self._lacking[_key(bar)] = bar, time.monotonic() + self._patience_s

    def lags_s(self) -> list[float]:
        """Return how long the newest bars took from their completion into the store, seconds."""
        return list(self._lags_s)

    def lacking(self, contract_id: str, timeframe: Timeframe, start_ns: int) -> Bar | None:
        """Return the bar that waits for its repair, or None."""
        found = self._lacking.get((contract_id, timeframe, start_ns))
        return None if found is None else found[0]

    def all_lacking(self, contract_id: str, timeframe: Timeframe) -> list[Bar]:
        """Return the bars of a series that wait for their repair."""
        return [bar for key, (bar, _) in self._lacking.items() if key[:2] == (contract_id, timeframe)]

    def repaired(self, keys: Iterable[Key]) -> None:
        """Forget bars that lacked something: better ones are stored."""
        for key in keys:
            if self._lacking.pop(key, None) is not None:
                self.bars_new += 1

    def collect(self, contract_id: str) -> Callable[[], list[Bar]]:
        """Take note of the contract's bars from here on; the result ends that and returns them."""
        collected: list[Bar] = []
        self._collecting.setdefault(contract_id, []).append(collected)

        def end() -> list[Bar]:
            mine = self._collecting[contract_id]
            mine[:] = [each for each in mine if each is not collected]
            return collected

        return end

    def changed(self) -> None:
        """Take note that there is something to store besides bars."""
        self._work.set()

    async def flush(self) -> None:
        """Return when everything of before is stored: bars, what was observed, and gaps."""
        stored = asyncio.get_running_loop().create_future()
        self._flushed.append((self._rounds + 1, stored))
        self._work.set()
        await stored

    def end(self) -> None:
        """Let ``run`` store what there is, whole or not, and return."""
        self._ended = True
        for bar, _ in self._lacking.values():
            self._wait(bar)
        self._lacking.clear()
        self._work.set()

    async def run(self) -> None:
        """Store until the end.

        Raises:
            StorageError: the database refuses for good.
        """
        while True:
            try:
                async with asyncio.timeout(self._state_interval_s):
                    await self._work.wait()
            except TimeoutError:
                if not self.dirty and not self._lacking:
                    continue
            self._work.clear()
            self._give_up_waiting()
            ended = self._ended
            self.dirty = False
            self._rounds += 1
            round_ = self._rounds
            await self._store_waiting()
            self._tell_flushed(round_)
            if ended:
                return

    def _wait(self, bar: Bar) -> None:
        self._waiting.append(bar)
        self._kept_s.append(time.monotonic())

    def _give_up_waiting(self) -> None:
        now_s = time.monotonic()
        for key, (bar, until_s) in list(self._lacking.items()):
            if until_s <= now_s:
                del self._lacking[key]
                self._wait(bar)

    async def _store_waiting(self) -> None:
        """Store every waiting bar; the state goes with the last batch, which makes both true of the same moment."""
        while True:
            bars = self._waiting[:_BATCH]
            last = len(bars) == len(self._waiting)
            coverage: list[Coverage] = []
            gaps: list[Gap] = []
            states: dict[str, Mapping[str, object]] = {}
            if last:
                for observation in self._observations.values():
                    grown, news = observation.take_news()
                    coverage += grown
                    gaps += news
                states = self._states()
            new = await self._store_batch(bars, coverage, gaps, states)
            self.bars_new += new
            stored_s = time.monotonic()
            lags_s = [stored_s - kept_s for kept_s in self._kept_s[: len(bars)]]
            self._lags_s.extend(lags_s)
            self.lag_counts.observe(lags_s)
            del self._waiting[: len(bars)], self._kept_s[: len(bars)]
            self.room.set()
            if last:
                return

    def _tell_flushed(self, done: int) -> None:
        for flushed in [each for each in self._flushed if each[0] <= done]:
            self._flushed.remove(flushed)
            if not flushed[1].done():
                flushed[1].set_result(None)

    def _states(self) -> dict[str, Mapping[str, object]]:
        """Return of each contract what a process that goes on with it has to know, by the name it is kept under."""
        if self._state_name is None:
            return {}
        whole = self._aggregator.snapshot()
        contracts = whole["contracts"]
        assert isinstance(contracts, Mapping)  # noqa: S101 - as the aggregator makes it
        return {
            f"{self._state_name} {contract_id}": {
                "version": _STATE_VERSION,
                "ended": self._ended,
                "aggregator": {**whole, "contracts": {contract_id: contracts[contract_id]}},
                "seen": {} if observation.seen_until_ns is None else {contract_id: observation.seen_until_ns},
                "compared": {each: at_ns for each, at_ns in self.compared.items() if each == contract_id},
            }
            for contract_id, observation in self._observations.items()
        }

    async def _store_batch(
        self,
        bars: Sequence[Bar],
        coverage: Sequence[Coverage],
        gaps: Sequence[Gap],
        states: Mapping[str, Mapping[str, object]],
    ) -> int:
        async for attempt in stamina.retry_context(
            on=StorageUnavailable, attempts=None, timeout=None, wait_initial=0.1, wait_max=5.0
        ):
            with attempt:
                return await self.store.store_observed(bars, coverage, gaps, states)
        raise AssertionError("stamina retries without end")


def _moments(saved: object) -> dict[str, int]:
    return {str(name): int(at_ns) for name, at_ns in saved.items()} if isinstance(saved, Mapping) else {}


def _key(bar: Bar) -> Key:
    return bar.contract_id, bar.timeframe, bar.start_ns
