"""Trades from a feed to bars in a store, for as long as the program runs.

1. ``_read`` takes facts from the feed and pushes trades and venue time into the aggregator.
2. Completed bars wait in a bounded buffer; ``_write`` stores them together with the aggregator's state, so that a crash
   at any moment neither repeats nor invents a bar.
3. ``_watch_clock`` closes the bars of a quiet market by our own clock.

A full buffer stops the reading: the socket fills and nothing is dropped. Bars of which part was not observed are stored
as not whole.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import stamina
import structlog

from escapement.core.aggregation import LateTrade, OHLCBarAggregator, RefusedTrade, TradeOutcome
from escapement.errors import InvalidInput, StorageUnavailable
from escapement.model import NS_PER_SECOND, Bar, FormingBar, Timeframe, Trade
from escapement.ports import BarStore, FeedEvent, FeedLive, FeedLost, StateStore, TradeFeed, TradesReceived, VenueTime

log = structlog.get_logger(service="ingest")

FURTHEST_AHEAD_NS = 60 * NS_PER_SECOND
_BATCH = 10_000


class Store(BarStore, StateStore, Protocol):
    """What ingestion needs of the database."""


@dataclass(frozen=True, slots=True)
class IngestParams:
    """How ingestion runs.

    ``clock`` says what tells time: ``system`` trusts our clock besides the stream, ``stream`` the stream alone, as a
    replay needs. ``quiet_close_s``: how long after a bar's end our clock closes it when nothing was heard; a stall of
    the connection that lasts longer makes the trades in it late. At most about ``buffer_bars`` bars wait for the
    database. State is saved with each batch of bars, and every ``state_interval_s`` seconds under ``state_name``; None
    keeps no state. At shutdown the database gets ``shutdown_grace_s`` seconds.
    """

    clock: Literal["system", "stream"] = "system"
    quiet_close_s: float = 5.0
    buffer_bars: int = 100_000
    state_name: str | None = "ingest"
    state_interval_s: float = 10.0
    shutdown_grace_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("quiet_close_s", "buffer_bars", "state_interval_s", "shutdown_grace_s"):
            if getattr(self, name) <= 0:
                raise InvalidInput(f"ingest.{name} is {getattr(self, name)}; use more than 0")


@dataclass(frozen=True, slots=True)
class IngestStatistics:
    """Counts since the start; ``bars_new`` were not in the store before, ``bars_waiting`` are in the buffer now.

    ``holes``: how often trades may have been missed; ``venue_time_ns``: the newest time heard, nanoseconds UTC.
    """

    trades: int = 0
    late: int = 0
    refused: int = 0
    bars: int = 0
    bars_new: int = 0
    bars_waiting: int = 0
    holes: int = 0
    venue_time_ns: int = 0


class Ingestion:
    """Feeds one aggregator from one feed into one store.

    Args:
        feed: where trades come from; closed when this ends.
        store: where bars and state go.
        aggregator: fresh; its saved state is restored by ``run``.
        contract_ids: the contracts of the feed.
        params: how to run.
        now_ns: our clock, nanoseconds UTC.
    """

    def __init__(
        self,
        feed: TradeFeed,
        store: Store,
        aggregator: OHLCBarAggregator,
        contract_ids: Sequence[str],
        params: IngestParams,
        *,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._feed = feed
        self._store = store
        self._aggregator = aggregator
        self._contract_ids = tuple(contract_ids)
        self._params = params
        self._now_ns = now_ns
        self._live = False
        self._blind_since: dict[str, int] = {}
        self._heard: dict[str, int] = {}  # the venue's time of each contract, by this connection
        self._last_heard: dict[str, tuple[int, int]] = {}  # the same by any connection, and when it came
        self._paused = False
        self._latest: dict[tuple[str, Timeframe], Bar] = {}
        self._waiting: list[Bar] = []
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._stopping = asyncio.Event()
        self._ended = False
        self._counts: Counter[str] = Counter()
        self._venue_time_ns = 0

    def statistics(self) -> IngestStatistics:
        """Return the counts so far."""
        return replace(
            IngestStatistics(**self._counts), bars_waiting=len(self._waiting), venue_time_ns=self._venue_time_ns
        )

    def forming(self, contract_id: str, timeframe: Timeframe) -> FormingBar | None:
        """Return the bar that is growing now.

        Raises:
            InvalidInput: the contract or timeframe is not ingested.
        """
        return self._aggregator.forming(contract_id, timeframe)

    def latest(self, contract_id: str, timeframe: Timeframe) -> Bar | None:
        """Return the bar completed last, or None before the first."""
        return self._latest.get((contract_id, timeframe))

    def stop(self) -> None:
        """Ask for an orderly end: the feed is closed, waiting bars and partial state are stored, ``run`` returns."""
        self._stopping.set()
        self._room.set()

    async def run(self) -> None:
        """Ingest until the feed ends or ``stop`` is called.

        Raises:
            StorageError: the database refused for good, or did not come back within the grace at shutdown.
            FeedError: the feed gave up.
        """
        await self._restore()
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write())
                helpers = [group.create_task(self._close_when_stopped())]
                if self._params.clock == "system":
                    helpers.append(group.create_task(self._watch_clock()))
                try:
                    await self._read()
                finally:
                    for task in helpers:
                        task.cancel()
                    await self._finish(writer)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            await self._feed.aclose()

    async def _restore(self) -> None:
        name = self._params.state_name
        state = None if name is None else await self._store.load_state(name)
        if state is not None:
            try:
                self._aggregator.restore(state)
                log.info("state_restored")
            except InvalidInput as error:
                log.warning("state_discarded", reason=str(error))
        self._go_blind()

    async def _read(self) -> None:
        async for event in self._feed.events():
            self._take(event)
            while len(self._waiting) >= self._params.buffer_bars and not self._stopping.is_set():
                log.warning("reading_paused", bars_waiting=len(self._waiting))
                self._paused = True
                self._room.clear()
                await self._room.wait()
            self._resume()

    def _resume(self) -> None:
        """Let time pass again after a pause, in which what the venue said was not read and so is no silence."""
        if self._paused:
            self._paused = False
            now_ns = self._now_ns()
            self._last_heard = {contract: (at_ns, now_ns) for contract, (at_ns, _) in self._last_heard.items()}

    def _take(self, event: FeedEvent) -> None:
        match event:
            case TradesReceived():
                for trade in event.trades:
                    self._take_trade(trade, event.received_ns)
            case VenueTime():
                known = event.contract_id in self._contract_ids
                if known and not self._is_ahead(event.at_ns, event.received_ns):
                    self._hear(event.contract_id, event.at_ns)
                    self._keep(self._aggregator.advance_to(event.at_ns, contract_id=event.contract_id))
            case FeedLive():
                log.info("feed_live", generation=event.generation)
                self._live = True
                for contract_id in self._contract_ids:
                    heard_ns = self._heard.get(contract_id)
                    if self._params.clock == "system":
                        heard_ns = max(event.received_ns, heard_ns or 0)
                    if heard_ns is not None:
                        self._observe(contract_id, heard_ns)
            case FeedLost():
                log.warning("feed_lost", generation=event.generation, cause=event.cause)
                self._counts["holes"] += 1
                self._go_blind()

    def _take_trade(self, trade: Trade, received_ns: int) -> None:
        self._counts["trades"] += 1
        if self._is_ahead(trade.at_ns, received_ns):
            self._refuse(
                RefusedTrade(
                    trade, "at_ns", "lies more than a minute ahead of this machine's clock; check which is wrong"
                )
            )
            return
        if trade.contract_id in self._contract_ids:
            self._hear(trade.contract_id, trade.at_ns)
        outcomes = self._aggregator.push(trade)
        if outcomes:
            self._keep(outcomes)

    def _is_ahead(self, at_ns: int, received_ns: int) -> bool:
        """One wild time stamp would close every bar up to it, so where our clock can judge, it does."""
        return self._params.clock == "system" and at_ns > received_ns + FURTHEST_AHEAD_NS

    def _hear(self, contract_id: str, at_ns: int) -> None:
        """Take note of the venue's time; once live it ends the blindness that no clock of ours may end."""
        self._heard[contract_id] = at_ns
        if at_ns >= self._last_heard.get(contract_id, (0, 0))[0]:
            self._last_heard[contract_id] = at_ns, self._now_ns()
        self._venue_time_ns = max(self._venue_time_ns, at_ns)
        if contract_id in self._blind_since:
            if self._live:
                self._observe(contract_id, at_ns)
            else:
                # Trades come before all subscriptions are acknowledged, and may complete bars of the hole.
                self._aggregator.mark_unobserved(self._blind_since[contract_id], at_ns, contract_id=contract_id)

    def _go_blind(self) -> None:
        self._live = False
        self._heard.clear()
        for contract_id in self._contract_ids:
            self._blind_since.setdefault(contract_id, self._aggregator.watermark_ns(contract_id))

    def _observe(self, contract_id: str, from_ns: int) -> None:
        since = self._blind_since.pop(contract_id, None)
        if since is not None:
            # Even when no time seems to have passed, a trade of that very moment may be missing.
            self._aggregator.mark_unobserved(since, max(from_ns, since + 1), contract_id=contract_id)

    def _keep(self, outcomes: Sequence[TradeOutcome]) -> None:
        for outcome in outcomes:
            match outcome:
                case Bar():
                    self._counts["bars"] += 1
                    self._waiting.append(outcome)
                    self._latest[outcome.contract_id, outcome.timeframe] = outcome
                case LateTrade():
                    self._counts["late"] += 1
                    self._report("trade_late", outcome.trade, self._counts["late"], watermark_ns=outcome.watermark_ns)
                    self._mark_lacking(outcome.trade)
                case RefusedTrade():
                    self._refuse(outcome)
        if self._waiting:
            self._work.set()

    def _mark_lacking(self, trade: Trade) -> None:
        """A trade that entered no bar is missing from those that still grow over its time."""
        self._aggregator.mark_unobserved(trade.at_ns, trade.at_ns + 1, contract_id=trade.contract_id)

    def _refuse(self, refused: RefusedTrade) -> None:
        self._counts["refused"] += 1
        if refused.field in {"price", "volume"}:
            self._mark_lacking(refused.trade)
        self._report(
            "trade_refused", refused.trade, self._counts["refused"], field=refused.field, reason=refused.reason
        )

    @staticmethod
    def _report(event: str, trade: Trade, count: int, **fields: object) -> None:
        # A feed gone wrong must not fill the disk with log lines: after the first hundred, every thousandth speaks.
        if count <= 100 or count % 1_000 == 0:
            log.warning(
                event, contract=trade.contract_id, at_ns=trade.at_ns, price=trade.price, volume=trade.volume,
                count=count, **fields,
            )  # fmt: skip

    async def _watch_clock(self) -> None:
        """Wake just after each whole second, where intraday bars end, and close what the stream left open."""
        lag_ns = int(self._params.quiet_close_s * NS_PER_SECOND)
        while True:
            now_ns = self._now_ns()
            for contract_id in () if self._paused else self._contract_ids:
                # From what the venue said last, so that neither a wrong clock here nor a slow way makes trades late.
                # Nothing heard yet: bars of an earlier run are closed when no delay can explain the silence.
                at_ns, received_ns = self._last_heard.get(contract_id, (now_ns - FURTHEST_AHEAD_NS, now_ns))
                to_ns = at_ns + now_ns - received_ns - lag_ns
                if contract_id in self._blind_since:
                    self._aggregator.mark_unobserved(self._blind_since[contract_id], to_ns, contract_id=contract_id)
                self._keep(self._aggregator.advance_to(to_ns, contract_id=contract_id))
            await asyncio.sleep((NS_PER_SECOND - (self._now_ns() - lag_ns) % NS_PER_SECOND) / NS_PER_SECOND + 0.001)

    async def _close_when_stopped(self) -> None:
        await self._stopping.wait()
        await self._feed.aclose()

    async def _finish(self, writer: asyncio.Task[None]) -> None:
        self._ended = True
        self._work.set()
        try:
            async with asyncio.timeout(self._params.shutdown_grace_s):
                await writer
        except TimeoutError:
            raise StorageUnavailable(
                f"the database did not come back within {self._params.shutdown_grace_s:g} s of shutdown; "
                f"{len(self._waiting)} bars were not stored and are to be filled from history"
            ) from None

    async def _write(self) -> None:
        last_saved_ns = -1
        while True:
            try:
                async with asyncio.timeout(self._params.state_interval_s):
                    await self._work.wait()
            except TimeoutError:
                if last_saved_ns == self._venue_time_ns:
                    continue
            self._work.clear()
            ended = self._ended
            last_saved_ns = self._venue_time_ns
            await self._store_waiting()
            if ended:
                return

    async def _store_waiting(self) -> None:
        """Store every waiting bar; the state goes with the last batch, which makes both true of the same moment."""
        while True:
            bars = self._waiting[:_BATCH]
            state = self._aggregator.snapshot() if len(bars) == len(self._waiting) else None
            self._counts["bars_new"] += await self._store_batch(bars, state)
            del self._waiting[: len(bars)]
            self._room.set()
            if state is not None:
                return

    async def _store_batch(self, bars: Sequence[Bar], state: dict[str, object] | None) -> int:
        name = self._params.state_name
        async for attempt in stamina.retry_context(
            on=StorageUnavailable, attempts=None, timeout=None, wait_initial=0.1, wait_max=5.0
        ):
            with attempt:
                if state is not None and name is not None:
                    return await self._store.store_bars_and_state(bars, name, state)
                return await self._store.store_bars(bars) if bars else 0
        raise AssertionError("stamina retries without end")
