"""Trades from a feed to bars in a store, for as long as the program runs.

1. ``_read`` takes facts from the feed and pushes trades and venue time into the aggregator.
2. Completed bars go into the ``Ledger``, which stores them together with what was observed and with the aggregator's
   state, so that a crash at any moment neither repeats nor invents a bar.
3. ``_watch_clock`` closes the bars of a quiet market by our own clock.
4. A ``Repair`` and a ``Comparison`` of each contract fill from the venue's history what was missed.

A full buffer stops the reading: the socket fills and nothing is dropped. Whatever may have been missed becomes a gap.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import structlog

from escapement.core.aggregation import LateTrade, OHLCBarAggregator, RefusedTrade, TradeOutcome, made_of_new
from escapement.core.aggregation.rebuild import Rebuild, around, open_since
from escapement.core.observation import Observation
from escapement.errors import InvalidInput, StorageUnavailable
from escapement.model import NS_PER_SECOND, Bar, FormingBar, GapCause, SessionCalendar, Timeframe, Trade
from escapement.ports import BarHistory, FeedEvent, FeedLive, FeedLost, TradeFeed, TradesReceived, VenueTime
from escapement.services.comparison import CompareParams, Comparison
from escapement.services.evidence import Evidence
from escapement.services.freeze import FreezeParams, FreezeWatch
from escapement.services.ledger import Ledger, Store
from escapement.services.marketclock import MarketClock
from escapement.services.repair import Repair, RepairParams
from escapement.services.venuebars import VenueBars

log = structlog.get_logger(service="ingest")

FURTHEST_AHEAD_NS = 60 * NS_PER_SECOND
_ASLEEP_NS = 10 * NS_PER_SECOND
# Calls to the venue's history, each contract's in turn, leave half of what it allows for repairs.
_S_A_CONTRACT = 2.0
_AHEAD_NS = 7 * 86_400 * NS_PER_SECOND


@dataclass(frozen=True, slots=True)
class IngestParams:
    """How ingestion runs.

    ``clock`` says what tells time: ``system`` trusts our clock besides the stream, ``stream`` the stream alone, as a
    replay needs, whose time runs on at ``replay_speed`` times ours between what is heard (0: not at all).
    ``quiet_close_s``: how long after a bar's end our clock closes it when nothing was heard; a stall of the connection
    that lasts longer makes the trades in it late. At most about ``buffer_bars`` bars wait for the database. State is
    saved with each batch of bars, and every ``state_interval_s`` seconds, under ``state_name`` and the contract; None
    keeps none. At shutdown the database gets ``shutdown_grace_s`` seconds. A trade may be ``tolerance_ns`` older than
    the newest one.
    ``repair``, ``compare`` and ``freeze`` say how the venue's history is used.
    """

    clock: Literal["system", "stream"] = "system"
    replay_speed: float = 0.0
    quiet_close_s: float = 5.0
    buffer_bars: int = 100_000
    state_name: str | None = "ingest"
    state_interval_s: float = 10.0
    shutdown_grace_s: float = 60.0
    tolerance_ns: int = 100_000_000
    repair: RepairParams = field(default_factory=RepairParams)
    compare: CompareParams = field(default_factory=CompareParams)
    freeze: FreezeParams = field(default_factory=FreezeParams)

    def __post_init__(self) -> None:
        for name in ("quiet_close_s", "buffer_bars", "state_interval_s", "shutdown_grace_s"):
            if getattr(self, name) <= 0:
                raise InvalidInput(f"ingest.{name} is {getattr(self, name)}; use more than 0")


@dataclass(frozen=True, slots=True)
class IngestStatistics:
    """Counts since the start; ``bars_new`` were not in the store before, ``bars_waiting`` are in the buffer now.

    ``connections``: how often the feed became live; ``holes``: how often it was lost or a record unreadable;
    ``gaps_open``: gaps not repaired yet;
    ``gaps_closed`` and ``revised``: gaps repaired, and bars that wrote; ``compared``: bars compared with the venue's;
    ``compared_ns``: up to where that was done for all contracts; ``alarms``: disagreements and freezes found.
    ``venue_time_ns``: the newest time heard, nanoseconds UTC.
    """

    trades: int = 0
    late: int = 0
    refused: int = 0
    bars: int = 0
    bars_new: int = 0
    bars_waiting: int = 0
    connections: int = 0
    holes: int = 0
    gaps_open: int = 0
    gaps_closed: int = 0
    revised: int = 0
    compared: int = 0
    compared_ns: int = 0
    alarms: int = 0
    venue_time_ns: int = 0


class Ingestion:
    """Feeds one aggregator from one feed into one store.

    Args:
        feed: where trades come from; closed when this ends.
        store: where bars and state go.
        calendars: the sessions of each contract of the feed.
        timeframes: what to build; the smallest must be one of which all others are made.
        history: the venue's own bars, for repairs and comparisons; None does without.
        params: how to run.
        now_ns: our clock, nanoseconds UTC.
    """

    def __init__(
        self,
        feed: TradeFeed,
        store: Store,
        calendars: Mapping[str, SessionCalendar],
        timeframes: Sequence[Timeframe],
        history: BarHistory | None,
        params: IngestParams,
        *,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._feed = feed
        self._calendars = dict(calendars)
        self._params = params
        self._now_ns = now_ns
        self._clock = MarketClock(params.clock, params.replay_speed, now_ns=now_ns)
        self._aggregator = OHLCBarAggregator(calendars, timeframes, tolerance_ns=params.tolerance_ns)
        self._observations = {each: Observation(each, params.tolerance_ns) for each in calendars}
        self._ledger = Ledger(
            store, self._aggregator, self._observations, state_name=params.state_name,
            state_interval_s=params.state_interval_s, patience_s=params.repair.patience_s if history else 0.0,
        )  # fmt: skip
        self._counts: Counter[str] = Counter()
        least_s = _S_A_CONTRACT * len(self._calendars)
        self._compare = replace(params.compare, every_s=max(params.compare.every_s, least_s))
        self._freeze = replace(params.freeze, longest_s=max(params.freeze.longest_s, least_s))
        self._beside: list[Repair | Comparison | FreezeWatch] = []
        self._watches: dict[str, FreezeWatch] = {}
        if history is not None:
            for contract_id in calendars:
                self._look_after(contract_id, history)
        self._live = False
        self._turned_s = time.monotonic()  # when the feed was last lost, or came back
        self._begun_ns = now_ns()
        self._heard: dict[str, int] = {}  # the venue's time of each contract, by this connection
        self._last_heard: dict[str, tuple[int, int]] = {}  # the same by any connection, and when it came
        self._paused = False
        self._latest: dict[tuple[str, Timeframe], Bar] = {}
        self._stopping = asyncio.Event()
        self._venue_time_ns = 0

    def _look_after(self, contract_id: str, history: BarHistory) -> None:
        """Set up what fills a contract's gaps from the venue's history and finds what nobody reported."""
        params, calendar = self._params, self._calendars[contract_id]
        rebuild = Rebuild(calendar, self._aggregator.timeframes)
        venue = VenueBars(contract_id, calendar, rebuild.root, history)
        observation = self._observations[contract_id]
        evidence = Evidence(
            contract_id, rebuild, self._aggregator, observation, self._ledger, venue, self._clock,
            settle_s=params.repair.settle_s, confirm_s=params.repair.confirm_s,
        )  # fmt: skip

        def listening_since() -> int | None:
            return observation.seen_since_ns if self._live and not self._paused else None

        def lose(cause: GapCause, since_ns: int) -> None:
            self._miss_since(contract_id, cause, since_ns)

        watch = FreezeWatch(
            contract_id, calendar, venue, self._feed, self._clock, self._freeze.within(rebuild.root), listening_since,
            lose, counts=self._counts,
        )  # fmt: skip
        self._watches[contract_id] = watch
        self._beside += [
            Repair(evidence, self._aggregator, self._ledger, self._clock, params.repair, self._counts),
            Comparison(evidence, self._ledger, self._clock, self._compare, self._counts),
            watch,
        ]

    def statistics(self) -> IngestStatistics:
        """Return the counts so far."""
        counts = {name: count for name, count in self._counts.items() if name in IngestStatistics.__slots__}
        return replace(
            IngestStatistics(**counts),
            bars_new=self._ledger.bars_new,
            bars_waiting=len(self._ledger),
            gaps_open=sum(len(observation.gaps) for observation in self._observations.values()),
            compared_ns=min(self._ledger.compared.get(each, 0) for each in self._observations),
            venue_time_ns=self._venue_time_ns,
        )

    def report(self) -> dict[str, object]:
        """Return the counts so far and how the feed is, as plain JSON data.

        ``silent_s`` is how many seconds ago something of a contract was received, or the venue said that there was
        nothing to receive; ``open`` whether the contract trades now by its calendar.
        """
        now_s, now_ns, market_ns = time.monotonic(), self._now_ns(), self._clock.now_ns()
        contracts = {}
        for contract_id, calendar in self._calendars.items():
            _, heard_ns = self._last_heard.get(contract_id, (0, self._begun_ns))
            watch = self._watches.get(contract_id)
            quiet_s = now_s - watch.quiet_s if watch is not None and watch.quiet_s else math.inf
            silent_s = min((now_ns - heard_ns) / NS_PER_SECOND, quiet_s)
            contracts[contract_id] = {"open": calendar.is_open(market_ns), "silent_s": round(silent_s, 3)}
        feed = {"connected": self._live, "for_s": round(now_s - self._turned_s, 3), "contracts": contracts}
        return {**asdict(self.statistics()), "feed": feed, "lag": self._ledger.lag_counts.report()}

    def lags_s(self) -> list[float]:
        """Return how long the newest bars took from the receipt of what completed them into the store, seconds."""
        return self._ledger.lags_s()

    def forming(self, contract_id: str, timeframe: Timeframe) -> FormingBar | None:
        """Return the bar that is growing now.

        Raises:
            InvalidInput: the contract or timeframe is not ingested.
        """
        return self._aggregator.forming(contract_id, timeframe)

    def latest(self, contract_id: str, timeframe: Timeframe) -> Bar | None:
        """Return the bar completed last, or None before the first."""
        return self._latest.get((contract_id, timeframe))

    async def settle(self, within_s: float) -> None:
        """Return when all is stored and no gap is open, or after ``within_s`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while len(self._ledger) or any(each.gaps for each in self._observations.values()):  # noqa: ASYNC110 - rare
                    await asyncio.sleep(0.2)

    def stop(self) -> None:
        """Ask for an orderly end: the feed is closed, waiting bars and partial state are stored, ``run`` returns."""
        self._stopping.set()
        self._ledger.room.set()

    async def run(self) -> None:
        """Ingest until the feed ends or ``stop`` is called.

        Raises:
            StorageError: the database refused for good, or did not come back within the grace at shutdown.
            FeedError: the feed gave up.
        """
        await self._restore()
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._ledger.run())
                beside = [group.create_task(self._close_when_stopped())]
                beside += [group.create_task(each.run()) for each in self._beside]
                beside.append(group.create_task(self._tell_sessions()))
                if self._params.clock == "system":
                    beside.append(group.create_task(self._watch_clock()))
                try:
                    await self._read()
                finally:
                    for task in beside:
                        task.cancel()
                    await asyncio.gather(*beside, return_exceptions=True)
                    await self._finish(writer)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            await self._feed.aclose()

    async def _restore(self) -> None:
        for contract_id, observation in self._observations.items():
            await self._restore_contract(contract_id, observation)

    async def _restore_contract(self, contract_id: str, observation: Observation) -> None:
        """Go on with a contract where whoever ingested it last left it."""
        saved = await self._ledger.load(contract_id)
        if saved.aggregator is not None:
            try:
                self._aggregator.restore(saved.aggregator)
                log.info("state_restored", contract=contract_id)
            except InvalidInput as error:
                log.warning("state_discarded", contract=contract_id, reason=str(error))
        cause = GapCause.RESTART if saved.ended else GapCause.CRASH
        halves = made_of_new(self._aggregator.timeframes, (saved.aggregator or {}).get("timeframes"))
        calendar = self._calendars[contract_id]
        observation.resume(await self._ledger.store.open_gaps(contract_id))
        for gap in observation.gaps:
            observation.widen(gap, *around(calendar, halves, gap.begins_ns, gap.ends_ns))
        covered = await self._ledger.store.coverage(contract_id)
        # The state may be older than what a download of history has covered since.
        known = list(filter(None, (saved.seen_ns, *(to_ns for _, to_ns in covered[-1:]))))
        if known:
            observation.lose(cause, "", around(calendar, halves, min(known), None)[0])
        for gap in observation.gaps:
            self._mark(contract_id, gap.begins_ns, gap.begins_ns + 1 if gap.ends_ns is None else gap.ends_ns)

    async def _read(self) -> None:
        async for event in self._feed.events():
            self._take(event)
            while len(self._ledger) >= self._params.buffer_bars and not self._stopping.is_set():
                log.warning("reading_paused", bars_waiting=len(self._ledger))
                self._paused = True
                self._ledger.room.clear()
                await self._ledger.room.wait()
            self._resume()

    def _resume(self) -> None:
        """Let time pass again after a pause, in which what the venue said was not read and so is no silence."""
        if self._paused:
            self._paused = False
            now_ns = self._now_ns()
            self._last_heard = {contract: (at_ns, now_ns) for contract, (at_ns, _) in self._last_heard.items()}

    def _take(self, event: FeedEvent) -> None:
        self._ledger.dirty = True
        match event:
            case TradesReceived():
                for trade in event.trades:
                    self._take_trade(trade, event.received_ns)
            case VenueTime():
                known = event.contract_id in self._observations
                if known and not self._is_ahead(event.at_ns, event.received_ns):
                    self._hear(event.contract_id, event.at_ns)
                    self._keep(self._aggregator.advance_to(event.at_ns, contract_id=event.contract_id))
            case FeedLive():
                log.info("feed_live", generation=event.generation)
                self._counts["connections"] += 1
                self._turn(live=True)
                for contract_id in self._observations:
                    heard_ns = self._heard.get(contract_id, 0)
                    if self._clock.runs:
                        # What was heard before all subscriptions were acknowledged proves nothing about trades since.
                        # And a clock of ours that is behind says too little: the venue's has run on since it was heard.
                        at_ns, then_ns = self._last_heard.get(contract_id, (0, 0))
                        ours_ns = event.received_ns + max(at_ns - then_ns, 0)
                        heard_ns = max(ours_ns if self._clock.is_ours else self._clock.now_ns(), heard_ns)
                    if heard_ns:
                        self._see(contract_id, heard_ns)
            case FeedLost():
                log.warning("feed_lost", generation=event.generation, cause=event.cause)
                self._counts["holes"] += 1
                self._go_blind(_cause_of(event.cause), event.cause)

    def _take_trade(self, trade: Trade, received_ns: int) -> None:
        self._counts["trades"] += 1
        if self._is_ahead(trade.at_ns, received_ns):
            self._refuse(
                RefusedTrade(
                    trade, "at_ns", "lies more than a minute ahead of this machine's clock; check which is wrong"
                )
            )
            return
        if trade.contract_id in self._observations:
            self._hear(trade.contract_id, trade.at_ns)
            watch = self._watches.get(trade.contract_id)
            if watch is not None and trade.at_ns > watch.last_trade_ns:
                watch.last_trade_ns = trade.at_ns
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
        if at_ns > self._venue_time_ns:
            self._venue_time_ns = at_ns
            self._clock.hear(at_ns)
        observation = self._observations[contract_id]
        if not observation.is_blind:
            observation.hear(at_ns)
        elif self._live:
            self._see(contract_id, at_ns)
        else:
            if observation.blind_since_ns is None:
                self._begin(contract_id, at_ns)
            # Trades come before all subscriptions are acknowledged, and may complete bars of the hole.
            self._mark(contract_id, observation.blind_since_ns, at_ns)

    def _turn(self, *, live: bool) -> None:
        self._live = live
        self._turned_s = time.monotonic()

    def _go_blind(self, cause: GapCause, detail: str) -> None:
        self._turn(live=False)
        self._heard.clear()
        for observation in self._observations.values():
            observation.lose(cause, detail)
        self._ledger.changed()

    def _miss_since(self, contract_id: str, cause: GapCause, since_ns: int) -> None:
        """Take note that nothing came of a contract from ``since_ns`` on, until the next connection is live."""
        self._turn(live=False)
        self._observations[contract_id].lose(cause, "", since_ns)
        self._mark(contract_id, since_ns, self._clock.now_ns())
        self._ledger.changed()

    def _see(self, contract_id: str, from_ns: int) -> None:
        observation = self._observations[contract_id]
        if not observation.is_blind:
            return
        if observation.blind_since_ns is None:
            self._begin(contract_id, from_ns)
        since_ns = observation.blind_since_ns
        observation.see(from_ns)
        self._mark(contract_id, since_ns, max(from_ns, (since_ns or 0) + 1))
        self._ledger.compared.setdefault(contract_id, from_ns)
        self._ledger.changed()

    def _begin(self, contract_id: str, at_ns: int) -> None:
        """Take note that of the bars in progress when a contract is first heard of, the part before is not known."""
        since_ns = open_since(self._calendars[contract_id], self._aggregator.timeframes, at_ns)
        self._observations[contract_id].lose(GapCause.START, "", since_ns)

    def _mark(self, contract_id: str, from_ns: int | None, until_ns: int) -> None:
        begin_ns = self._aggregator.watermark_ns(contract_id) if from_ns is None else from_ns
        self._aggregator.mark_unobserved(begin_ns, until_ns, contract_id=contract_id)

    def _keep(self, outcomes: Sequence[TradeOutcome]) -> None:
        for outcome in outcomes:
            match outcome:
                case Bar():
                    self._counts["bars"] += 1
                    self._ledger.keep(outcome)
                    self._latest[outcome.contract_id, outcome.timeframe] = outcome
                case LateTrade():
                    self._counts["late"] += 1
                    self._report("trade_late", outcome.trade, self._counts["late"], watermark_ns=outcome.watermark_ns)
                    self._lack(outcome.trade, GapCause.LATE)
                case RefusedTrade():
                    self._refuse(outcome)

    def _lack(self, trade: Trade, cause: GapCause) -> None:
        """A trade that entered no bar is missing from every bar of its time, stored or growing."""
        self._mark(trade.contract_id, trade.at_ns, trade.at_ns + 1)
        self._observations[trade.contract_id].miss(trade.at_ns, trade.at_ns + 1, cause, "")
        self._ledger.changed()

    def _refuse(self, refused: RefusedTrade) -> None:
        self._counts["refused"] += 1
        if refused.field in {"price", "volume"}:
            self._lack(refused.trade, GapCause.REFUSED)
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
        awake_since_ns = last_ns = self._now_ns()
        while True:
            now_ns = self._now_ns()
            if now_ns - last_ns > _ASLEEP_NS:
                awake_since_ns = now_ns
            last_ns = now_ns
            for contract_id in () if self._paused else self._observations:
                # From what the venue said last, so that neither a wrong clock here nor a slow way makes trades late.
                # Nothing heard yet: bars of an earlier run are closed when no delay can explain the silence.
                at_ns, received_ns = self._last_heard.get(contract_id, (now_ns - FURTHEST_AHEAD_NS, now_ns))
                to_ns = at_ns + now_ns - received_ns - lag_ns
                observation = self._observations[contract_id]
                if observation.is_blind:
                    self._mark(contract_id, observation.blind_since_ns, to_ns)
                elif self._live:
                    self._hear_close(contract_id, awake_since_ns, now_ns)
                self._keep(self._aggregator.advance_to(to_ns, contract_id=contract_id))
            await asyncio.sleep((NS_PER_SECOND - (self._now_ns() - lag_ns) % NS_PER_SECOND) / NS_PER_SECOND + 0.001)

    def _hear_close(self, contract_id: str, awake_since_ns: int, now_ns: int) -> None:
        """A connection that has outlived a close by a minute, while we were awake, has brought everything up to it."""
        period = self._calendars[contract_id].period_before(now_ns)
        if period is not None and awake_since_ns < period.close_ns <= now_ns - FURTHEST_AHEAD_NS:
            self._observations[contract_id].hear(period.close_ns + self._params.tolerance_ns)

    async def _tell_sessions(self) -> None:
        """Keep the database's trading sessions ahead of the venue's time: they tell what is to be expected."""
        told_ns = 0
        while True:
            now_ns = self._clock.now_ns()
            if now_ns and now_ns + _AHEAD_NS // 2 > told_ns:
                with contextlib.suppress(StorageUnavailable):
                    await self._tell_sessions_until(now_ns)
                    told_ns = now_ns + _AHEAD_NS
            await asyncio.sleep(1.0)

    async def _tell_sessions_until(self, now_ns: int) -> None:
        for contract_id, calendar in self._calendars.items():
            begins = [gap.begins_ns for gap in self._observations[contract_id].gaps]
            sessions = calendar.sessions_of_whole_months(min([now_ns, *begins]), now_ns + _AHEAD_NS)
            await self._ledger.store.set_periods(contract_id, sessions)

    async def _close_when_stopped(self) -> None:
        await self._stopping.wait()
        await self._feed.aclose()

    async def _finish(self, writer: asyncio.Task[None]) -> None:
        self._ledger.end()
        try:
            async with asyncio.timeout(self._params.shutdown_grace_s):
                await writer
        except TimeoutError:
            raise StorageUnavailable(
                f"the database did not come back within {self._params.shutdown_grace_s:g} s of shutdown; "
                f"{len(self._ledger)} bars were not stored and are to be filled from history"
            ) from None


def _cause_of(text: str) -> GapCause:
    """Return why a feed was lost; its own words are kept as the detail."""
    if "record" in text or "read" in text:
        return GapCause.BAD_RECORD
    return GapCause.FREEZE if text.startswith(("silent", "frozen")) else GapCause.DISCONNECT
