"""Stored decisions to orders, and positions that never lack their stop, for as long as the program runs.

- The venue's account events and the market's prices go into the book and to the desks as they come.
- Each decision becomes a wish, written down before anything is done about it.
- A desk a contract does what has to be done next, whatever happened before (``services.desk``).
- The venue is asked for everything at the start, whenever its events were interrupted, and every now and then.
- Limits are watched beside all that; when one is reached, everything is closed until the next session.

Without the database nothing is opened, but all that protects goes on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Protocol

import structlog

from escapement.core.dealing import LastPrice
from escapement.core.execution import INTENDED, AccountDay, KillSwitch, OrderNote, Standing, Wish
from escapement.errors import GatewayError, GatewayRefused, InvalidInput, StorageError
from escapement.model import Account, Fill, Order, Position
from escapement.ports import AccountEvent, AccountFeed, FeedLive, FeedLost, TradeFeed, TradesReceived, VenueTime
from escapement.services.dealing import Dealing, EntryStore
from escapement.services.desk import Desk
from escapement.services.pace import Kind, Pace
from escapement.services.reconcile import DifferenceStore, Reconciliation

log = structlog.get_logger(service="execute")

CHANNELS = ("decisions", "kill_switch")
_MOST = 100
_RETRY_S = 1.0


class ExecutionRecords(EntryStore, DifferenceStore, Protocol):
    """What execution reads and writes beside orders, fills and positions."""

    async def decisions_after(self, coordinator: str, number: int, most: int) -> Sequence[Wish]:
        """Return what a coordinator decided after its decision ``number``, in order."""
        ...

    async def put_wish(self, account: str, wish: Wish, looked_at: int) -> None:
        """Replace what is wished of a contract, and say that all decisions up to a number were looked at."""
        ...

    async def kill_switch(self) -> KillSwitch:
        """Return whether all trading is stopped."""
        ...

    async def block(self, account: str, reason: str, until_ns: int | None) -> None:
        """Take note that nothing may be opened for a reason, until a moment."""
        ...

    async def put_day(self, account: str, trade_date: date, start: Decimal, balance: Decimal, equity: Decimal) -> None:
        """Take note of where the account stands on a trading day."""
        ...


class Estimated(Protocol):
    """A venue whose fills are estimated from the market, in a pace of its own."""

    pace: Pace

    @property
    def is_heard(self) -> bool:
        """Whether all that happened was told to whoever reads its events, and he asks for more."""
        ...

    async def hear(self, event: TradesReceived | VenueTime) -> None:
        """Let the market trade, or time pass."""
        ...


class Bell(Protocol):
    """What wakes the service."""

    async def listen(self, hear: Callable[[str, str], None]) -> None:
        """Call ``hear`` with channel and payload until cancelled, and with two empty texts when listening begins."""
        ...


@dataclass(frozen=True, slots=True)
class ExecuteParams:
    """How often what is looked at: decisions unasked, limits, and the venue, with and without its events."""

    poll_s: float = 2.0
    watch_s: float = 0.25
    reconcile_s: float = 30.0
    reconcile_blind_s: float = 2.0
    day_s: float = 5.0

    def __post_init__(self) -> None:
        for name in ("poll_s", "watch_s", "reconcile_s", "reconcile_blind_s", "day_s"):
            if getattr(self, name) <= 0:
                raise InvalidInput(f"execution: {name} is {getattr(self, name)}; use more than 0")


@dataclass(frozen=True, slots=True)
class ExecuteStatistics:
    """Counts since the start."""

    decisions: int = 0
    fills: int = 0
    reconciliations: int = 0
    interruptions: int = 0


@dataclass(slots=True)
class Execution:
    """Trades one account.

    Args:
        deal: the account, as it was kept.
        store: where decisions are, and wishes are kept.
        bell: what wakes; None polls only.
        coordinator: whose decisions.
        account_feed: tells what happens to the account.
        feed_of: opens the prices of some contracts.
        contracts: those whose prices are heard from the start.
        wishes: as they were kept.
        orders: as they were written down, to look for those that may have been sent.
        last_number: every decision up to it was looked at.
        estimated: the paper venue; None where orders go to the gateway.
        params: how to run.
    """

    deal: Dealing
    store: ExecutionRecords
    bell: Bell | None
    coordinator: str
    account_feed: AccountFeed
    feed_of: Callable[[Sequence[str]], TradeFeed]
    contracts: Sequence[str]
    wishes: Sequence[Wish]
    orders: Sequence[OrderNote]
    last_number: int
    estimated: Estimated | None = None
    params: ExecuteParams = field(default_factory=ExecuteParams)
    _desks: dict[str, Desk] = field(default_factory=dict, init=False)
    _counts: Counter[str] = field(default_factory=Counter, init=False)
    _group: asyncio.TaskGroup | None = field(default=None, init=False)
    _decide: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _blind: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _heard: list[str] = field(default_factory=list, init=False)
    _upcoming: dict[int, Wish] = field(default_factory=dict, init=False)
    _feed: TradeFeed | None = field(default=None, init=False)
    _is_live: bool = field(default=False, init=False)
    _blocked_until_ns: int | None = field(default=None, init=False)
    _reconciliation: Reconciliation = field(init=False)

    def __post_init__(self) -> None:
        self._reconciliation = Reconciliation(self.deal, self.store)
        self._heard = list(dict.fromkeys(self.contracts))
        if self.estimated is not None:
            self.estimated.pace.is_quiet, self.estimated.pace.look = self._is_quiet, self._look

    def statistics(self) -> ExecuteStatistics:
        """Return the counts so far."""
        return ExecuteStatistics(**self._counts)

    def report(self) -> dict[str, object]:
        """Return the counts so far and how the account is heard, as plain JSON data.

        ``current``: all that happened to it is known; ``open``: whether some contract trades now.
        """
        is_open = any(map(self.deal.dealer.session, self._heard))
        return {**asdict(self.statistics()), "account": {"current": self.deal.is_current, "open": is_open}}

    def blocked_before(self, reason: str, until_ns: int | None) -> None:
        """Go on with what stopped trading before this program ran."""
        self.deal.dealer.blocked, self._blocked_until_ns = reason, until_ns

    def ring(self, contract_id: str) -> None:
        """Have a contract looked at."""
        desk = self._desks.get(contract_id)
        if desk is not None:
            desk.ring()

    def stop(self) -> None:
        """Ask for an orderly end: what is being sent is finished and written down; positions keep their stops."""
        self._stopping.set()

    async def run(self) -> None:
        """Trade until ``stop``.

        Raises:
            EscapementError: the venue or the database refused for good.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                beside = [
                    group.create_task(each)
                    for each in (self._hear_account(), self._hear_market(), self.deal.keeper.write())
                ]
                await self._open_desks()
                # Nothing is done before it is known what was done before.
                works = [self._ask_regularly(), self._take_decisions(), self._keep_days()]
                if self.estimated is None:  # else limits are looked at whenever something happens
                    works.append(self._watch())
                if self.bell is not None:
                    works.append(self.bell.listen(self._rung))
                beside += [group.create_task(each) for each in works]
                await self._stopping.wait()
                for desk in self._desks.values():
                    desk.stop()
                if self.estimated is not None:
                    await self.estimated.pace.finish()
                for task in beside:
                    task.cancel()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            await self.account_feed.aclose()
            if self._feed is not None:
                await self._feed.aclose()
            await self._write_day()
            with suppress(StorageError):
                await self.deal.keeper.flush()

    async def _open_desks(self) -> None:
        held = [contract_id for contract_id, each in self.deal.keeper.book.holdings.items() if each.net]
        working = [each for each in self.deal.keeper.book.holdings if self.deal.keeper.book.working(each)]
        wished = [wish.contract_id for wish in self.wishes]
        intended = [note for note in self.orders if note.status == INTENDED]
        for contract_id in dict.fromkeys(
            [*self.contracts, *held, *working, *wished, *(note.contract_id for note in intended)]
        ):
            await self._desk(contract_id)
        for wish in self.wishes:
            self._desks[wish.contract_id].wish = wish
        for note in intended:
            self._desks[note.contract_id].look_for(note)

    async def _desk(self, contract_id: str) -> Desk:
        """Return the desk of a contract; open one where there is none."""
        desk = self._desks.get(contract_id)
        if desk is None:
            contract = await self.deal.keeper.know(contract_id)
            desk = self._desks.setdefault(
                contract_id, Desk(self.deal, contract, None, self._reconciliation.run, self._rested)
            )
            if self._group is not None:
                self._group.create_task(desk.run())
            if contract_id not in self._heard:
                self._heard.append(contract_id)
                if self._feed is not None:
                    await self._feed.aclose()  # the next one hears this contract too
        return desk

    def _rung(self, channel: str, _payload: str) -> None:
        self._decide.set()
        del channel

    async def _take_decisions(self) -> None:
        while True:
            try:
                self.deal.dealer.kill = await self._killed()
                while wishes := await self.store.decisions_after(self.coordinator, self._fetched(), _MOST):
                    for wish in wishes:
                        await self._come(wish)
            except (StorageError, GatewayError) as error:
                log.warning("decisions_wait", reason=str(error))
                await asyncio.sleep(_RETRY_S)
                continue
            try:
                async with asyncio.timeout(self.params.poll_s):
                    await self._decide.wait()
            except TimeoutError:
                pass
            self._decide.clear()

    def _fetched(self) -> int:
        return max((self.last_number, *self._upcoming))

    async def _come(self, wish: Wish) -> None:
        """Take a decision, when it is time for it."""
        if self.estimated is None:
            await self._take(wish)
            return

        async def take() -> None:
            while True:
                try:
                    await self._take(wish)
                except (StorageError, GatewayError) as error:
                    log.warning("decisions_wait", reason=str(error))
                    await asyncio.sleep(_RETRY_S)
                else:
                    break
            del self._upcoming[wish.number]

        self._upcoming[wish.number] = wish
        # Whichever of several contracts was decided on first at one moment is chance.
        place = self.contracts.index(wish.contract_id) if wish.contract_id in self.contracts else len(self.contracts)
        self.estimated.pace.at(wish.known_at_ns, Kind.DECISION, take, place)

    async def _take(self, wish: Wish) -> None:
        newest = max(self.last_number, wish.number)
        looked_at = min((number - 1 for number in self._upcoming if number < wish.number), default=newest)
        try:
            desk = await self._desk(wish.contract_id)
        except GatewayRefused as error:
            # The venue knows no such contract, and will not: one decision must not hold up all others.
            log.error("decision_dropped", contract=wish.contract_id, decision=wish.decision_id, reason=str(error))  # noqa: TRY400 - it says it all
            await self.store.put_wish(self.deal.account, replace(wish, standing=Standing.DROPPED), looked_at)
            self.last_number = newest
            return
        await self.store.put_wish(self.deal.account, wish, looked_at)
        self.last_number = newest
        if desk.wish is not None and desk.wish.number >= wish.number:
            return  # it was taken before an older one of another contract, and has been acted on
        self._counts["decisions"] += 1
        log.info("wish", contract=wish.contract_id, direction=wish.direction, decision=wish.decision_id)
        desk.wish = wish
        self._keep_day()
        desk.ring()

    async def _killed(self) -> KillSwitch:
        kill = await self.store.kill_switch()
        if kill.killed != self.deal.dealer.kill.killed:
            log.warning("kill_switch", killed=kill.killed, reason=kill.reason, by=kill.by)
            self._ring_all()
        return kill

    def _ring_all(self) -> None:
        for desk in self._desks.values():
            desk.ring()

    async def _hear_account(self) -> None:
        async for event in self.account_feed.events():
            match event:
                case AccountEvent():
                    await self._take_in(event.value)
                case FeedLive():
                    log.info("account_feed_live", generation=event.generation)
                    self._is_live = True
                    self._blind.set()
                case FeedLost():
                    log.warning("account_feed_lost", cause=event.cause)
                    self._counts["interruptions"] += 1
                    self.deal.is_current = self._is_live = False
                    self._blind.set()

    async def _take_in(self, value: Account | Order | Position | Fill) -> None:
        if not isinstance(value, Order | Fill) or value.account_id != self.deal.account_id:
            return
        try:
            if await self.deal.keeper.see(value) and isinstance(value, Fill):
                self._counts["fills"] += 1
        except GatewayError as error:
            # A contract that the venue does not tell of now is learnt with the next look at everything.
            log.warning("event_waits", reason=str(error))
            self._blind.set()
            return
        if isinstance(value, Fill):
            self._keep_day()
        await self._desk(value.contract_id)
        self.ring(value.contract_id)

    async def _hear_market(self) -> None:
        while True:
            self._feed = self.feed_of(tuple(self._heard))
            held_back = None if self.estimated is None else self.estimated.pace
            async for event in self._feed.events() if held_back is None else held_back.follow(self._feed):
                if isinstance(event, TradesReceived):
                    self.deal.clock.hear(max(trade.at_ns for trade in event.trades))
                elif isinstance(event, VenueTime):
                    self.deal.clock.hear(event.at_ns)
                if self.estimated is not None and isinstance(event, TradesReceived | VenueTime):
                    await self.estimated.hear(event)
                if isinstance(event, TradesReceived):
                    for trade in event.trades:
                        holding = self.deal.keeper.book.holdings.get(trade.contract_id)
                        if holding is not None:
                            ticks = holding.grid.nearest(trade.price)
                            self.deal.dealer.prices[trade.contract_id] = LastPrice(ticks, trade.at_ns)

    async def _ask_regularly(self) -> None:
        cause = "the start"
        while True:
            self._blind.clear()
            try:
                await self._reconciliation.run(cause)
            except GatewayError as error:
                log.warning("venue_unknown", reason=str(error))
                await asyncio.sleep(_RETRY_S)
                continue
            self._counts["reconciliations"] += 1
            if self._is_live and not self._blind.is_set():
                self.deal.is_current = True
            self.deal.was_asked = True
            self._ring_all()
            wait_s = self.params.reconcile_s if self.deal.is_current else self.params.reconcile_blind_s
            try:
                async with asyncio.timeout(wait_s):
                    await self._blind.wait()
                cause = "an interruption"
            except TimeoutError:
                cause = "the time"

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.params.watch_s)
            await self._look()

    async def _look(self, at_edge: bool = False) -> None:  # noqa: FBT001, FBT002 - as a pace calls it
        """Look at limits and deadlines; ``at_edge``: sessions begin or end, or a deadline has come."""
        deal = self.deal
        now_ns = deal.clock.now_ns()
        if self._blocked_until_ns is not None and now_ns >= self._blocked_until_ns:
            await self._block("", None)
        if at_edge:
            self._keep_day()
            self._ring_all()
        for contract_id in deal.keeper.book.holdings:
            if deal.keeper.book.net(contract_id) and deal.dealer.stop_all(contract_id):
                self.ring(contract_id)
        for desk in self._desks.values():
            if desk.waits_to_enter:
                desk.ring()
        if not deal.dealer.blocked:
            await self._alarm(now_ns)

    def _is_quiet(self) -> bool:
        """Whether all was done that follows from what happened."""
        if self.estimated is None or not (self.deal.was_asked and self.estimated.is_heard):
            return False
        return sum(not desk.is_resting for desk in self._desks.values()) == self.estimated.pace.calls

    def _rested(self) -> None:
        if self.estimated is not None:
            self.estimated.pace.stir()

    async def _alarm(self, now_ns: int) -> None:
        deal = self.deal
        held = [contract_id for contract_id, each in deal.keeper.book.holdings.items() if each.net]
        alarm = deal.dealer.alarm(held[0]) if held else None
        if alarm is not None:
            log.error("limit_reached", code=alarm.code, words=alarm.words)
            found = deal.dealer.session(held[0])
            await self._block(f"{alarm.code}: {alarm.words}", now_ns if found is None else found.close_ns)

    async def _block(self, reason: str, until_ns: int | None) -> None:
        self.deal.dealer.blocked, self._blocked_until_ns = reason, until_ns
        self._ring_all()
        try:
            await self.store.block(self.deal.account, reason, until_ns)
        except StorageError as error:
            log.warning("block_unwritten", reason=str(error))

    def _keep_day(self) -> AccountDay | None:
        dealer = self.deal.dealer
        return dealer.keep_day(next(filter(None, map(dealer.session, self._heard)), None))

    async def _keep_days(self) -> None:
        """Keep where the account stands on each trading day."""
        while True:
            await self._write_day()
            await asyncio.sleep(self.params.day_s)

    async def _write_day(self) -> None:
        today = self._keep_day()
        if today is not None:
            try:
                await self.store.put_day(
                    self.deal.account, today.trade_date, today.start_balance, today.balance, today.equity
                )
            except StorageError as error:
                log.warning("day_unwritten", reason=str(error))
