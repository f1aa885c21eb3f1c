"""Stored signals to stored decisions, for as long as the program runs.

Of each contract, one step:

1. read in one snapshot which signals wait, and up to when data and analyzers are complete      ``Store.read``
2. let the coordinator weigh the moments up to there, oldest first                              ``Coordinator.advance``
3. commit decisions, reasons, state and watermark in one transaction                            ``Store.commit``

A moment is weighed when every trade up to it is known to be in the bars and every analyzer has read them, so that the
same signals lead to the same decisions however they came. What is not complete is waited for, but not longer than
``patience_s``. After any failure, and when another service was quicker, a contract is read from the tables anew.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import orjson
import structlog

from escapement.core.analysis import AnalyzerKey
from escapement.core.coordination import Coordinator, Given, Remark, Rules
from escapement.errors import InvalidInput, StorageError, StorageUnavailable
from escapement.model import Decision, SessionCalendar
from escapement.moments import iso_from_ns

log = structlog.get_logger(service="coordinate")

CHANNELS = ("detected_signals",)
# How soon and how late a contract whose signals wait is looked at again.
_SOONEST_S, _LATEST_S = 0.02, 1.0


class Bell(Protocol):
    """What wakes the service."""

    async def listen(self, hear: Callable[[str, str], None]) -> None:
        """Call ``hear`` with channel and payload until cancelled, and with two empty texts when listening begins."""
        ...


class DecisionStore(Protocol):
    """Where signals are, and where decisions and the standing of coordinators are kept."""

    async def open(self, coordinator: str, contract_id: str) -> None:
        """Take note of a coordinator of a contract that was not there yet."""
        ...

    async def read(
        self, coordinator: str, contract_id: str, keys: Sequence[AnalyzerKey], *, most: int, patience_s: float
    ) -> Given:
        """Return what to weigh next, about ``most`` signals."""
        ...

    async def commit(
        self, coordinator: str, contract_id: str, given: Given, at_ns: int | None, state: str, remarks: Sequence[Remark]
    ) -> bool:
        """Store what came of ``given``, in one transaction; return False when another service was first."""
        ...


@dataclass(frozen=True, slots=True)
class CoordinateParams:
    """How the service runs.

    ``poll_s``: how often it looks by itself. ``patience_s``: how long signals wait for data and analyzers that are not
    complete. ``most``: how many signals are weighed at once. ``retry_s``: how long it waits for a database that does
    not answer.
    """

    poll_s: float = 5.0
    patience_s: float = 120.0
    most: int = 200
    retry_s: float = 1.0

    def __post_init__(self) -> None:
        for name in ("poll_s", "patience_s", "most", "retry_s"):
            if getattr(self, name) <= 0:
                raise InvalidInput(f"coordinator.{name} is {getattr(self, name)}; use more than 0")


@dataclass(frozen=True, slots=True)
class CoordinateStatistics:
    """Counts since the start.

    ``late``: signals whose moment had been weighed, ``unproven``: decisions on data that was not known to be complete,
    ``lost``: how often another service was first.
    """

    signals: int = 0
    decisions: int = 0
    late: int = 0
    unproven: int = 0
    commits: int = 0
    lost: int = 0


@dataclass(slots=True)
class _Desk:
    """A contract at work; ``coordinator`` is None when its state has to be read, ``step`` is where it stands."""

    contract_id: str
    calendar: SessionCalendar
    keys: Sequence[AnalyzerKey]
    coordinator: Coordinator | None = None
    step: int = -1
    is_due: bool = True
    wait_s: float = _SOONEST_S
    told: str = ""


@dataclass(slots=True)
class Coordination:
    """Runs a coordinator for each contract of one store.

    Args:
        store: signals, decisions, states.
        bell: what wakes; None polls only.
        plan: returns the instances of analyzers to listen to; asked again at each poll, because contracts come and go.
        rules: what to go by.
        calendar_of: returns the trading sessions of a contract, or raises InvalidInput where they are not known.
        params: how to run.
    """

    store: DecisionStore
    bell: Bell | None
    plan: Callable[[], Awaitable[Sequence[AnalyzerKey]]]
    rules: Rules
    calendar_of: Callable[[str], SessionCalendar]
    params: CoordinateParams = field(default_factory=CoordinateParams)
    _counts: Counter[str] = field(default_factory=Counter, init=False)
    _desks: dict[str, _Desk] = field(default_factory=dict, init=False)
    _left_out: set[str] = field(default_factory=set, init=False)
    _rung: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _stopped: bool = field(default=False, init=False)

    def statistics(self) -> CoordinateStatistics:
        """Return the counts so far."""
        return CoordinateStatistics(**self._counts)

    def stop(self) -> None:
        """Ask for an orderly end: what is being weighed is committed, ``run`` or ``catch_up`` returns."""
        self._stopped = True
        self._rung.set()

    async def catch_up(self) -> None:
        """Weigh what can be weighed of what is stored, and return.

        Raises:
            StorageError: the database does not answer or refuses.
        """
        await self._seat()
        for desk in self._desks.values():
            while not self._stopped and await self._step(desk):
                pass

    async def run(self) -> None:
        """Weigh what is stored and what will be, until ``stop``.

        Raises:
            StorageError: the database refused for good.
        """
        try:
            async with asyncio.TaskGroup() as group:
                beside = [group.create_task(self._poll())]
                if self.bell is not None:
                    beside.append(group.create_task(self.bell.listen(self._hear)))
                await self._work()
                for task in beside:
                    task.cancel()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    def _hear(self, _channel: str, payload: str) -> None:
        contract_id = payload.rpartition(" ")[0]
        if contract_id in self._desks:
            self._desks[contract_id].is_due = True
            self._desks[contract_id].wait_s = _SOONEST_S
        elif not payload:  # listening began: anything may have happened before
            self._make_all_due()
        self._rung.set()

    def _make_all_due(self) -> None:
        for desk in self._desks.values():
            desk.is_due = True
        self._rung.set()

    async def _poll(self) -> None:
        """Look for what nobody rang for, at first for everything."""
        while True:
            try:
                await self._seat()
            except StorageUnavailable as error:
                log.warning("database_away", reason=str(error))
            self._make_all_due()
            await asyncio.sleep(self.params.poll_s)

    async def _seat(self) -> None:
        """Give each contract its place."""
        planned: dict[str, list[AnalyzerKey]] = {}
        for key in await self.plan():
            planned.setdefault(key.contract_id, []).append(key)
        for contract_id, keys in planned.items():
            if contract_id in self._desks:
                self._desks[contract_id].keys = keys
            elif contract_id not in self._left_out:
                await self._add(contract_id, keys)

    async def _add(self, contract_id: str, keys: Sequence[AnalyzerKey]) -> None:
        try:
            calendar = self.calendar_of(contract_id)
        except InvalidInput as error:
            # With products, contracts of former settings are among those kept.
            log.error("contract_left_out", contract=contract_id, reason=str(error))  # noqa: TRY400 - the message says it all
            self._left_out.add(contract_id)
        else:
            await self.store.open(self.rules.coordinator, contract_id)
            self._desks[contract_id] = _Desk(contract_id, calendar, keys)
            log.info("contract_added", contract=contract_id, analyzers=len(keys))

    async def _work(self) -> None:
        while not self._stopped:
            waiting = [desk.wait_s for desk in self._desks.values() if desk.told]
            try:
                async with asyncio.timeout(min(waiting, default=None)):
                    await self._rung.wait()
            except TimeoutError:
                pass
            self._rung.clear()
            try:
                for desk in list(self._desks.values()):
                    await self._work_on(desk)
            except StorageUnavailable as error:
                log.warning("database_away", reason=str(error))
                await asyncio.sleep(self.params.retry_s)

    async def _work_on(self, desk: _Desk) -> None:
        if self._stopped or not (desk.is_due or desk.told):
            return
        desk.is_due = False
        try:
            if await self._step(desk):
                desk.is_due = True
                self._rung.set()
        except BaseException:
            desk.is_due = True
            self._rung.set()
            raise

    async def _step(self, desk: _Desk) -> bool:
        """Weigh what can be weighed now; return whether there may be more.

        Raises:
            StorageError: nothing is lost; the same is read again.
        """
        given = await self.store.read(
            self.rules.coordinator, desk.contract_id, desk.keys, most=self.params.most,
            patience_s=self.params.patience_s,
        )  # fmt: skip
        self._tell_waiting(desk, given)
        if not (given.on_time or given.late or given.left):
            return False
        coordinator, desk.coordinator = self._coordinator(desk, given), None
        remarks = _weighed(coordinator, given)
        state = orjson.dumps(coordinator.snapshot()).decode()
        if not await self.store.commit(
            self.rules.coordinator, desk.contract_id, given, coordinator.at_ns, state, remarks
        ):
            self._counts["lost"] += 1
            return True
        desk.coordinator, desk.step = coordinator, given.standing.step + 1
        self._tell(given, remarks)
        return given.more

    def _coordinator(self, desk: _Desk, given: Given) -> Coordinator:
        """Return the contract's coordinator as it stands in the store."""
        if desk.coordinator is not None and desk.step == given.standing.step:
            coordinator = desk.coordinator
        else:
            coordinator = Coordinator(desk.contract_id, self.rules, desk.calendar)
            if given.standing.state is not None:
                try:
                    coordinator.restore(orjson.loads(given.standing.state))
                except InvalidInput as error:
                    raise StorageError(
                        f"coordinator_watermarks: {error}; set state to null there, and it goes on from flat"
                    ) from None
        coordinator.keep_only((str(key.timeframe), key.analyzer, key.version, key.params) for key in desk.keys)
        return coordinator

    def _tell_waiting(self, desk: _Desk, given: Given) -> None:
        if given.waits and given.waits != desk.told:
            log.debug("signals_wait", contract=desk.contract_id, reason=given.waits)
        desk.wait_s = min(desk.wait_s * 2, _LATEST_S) if given.waits else _SOONEST_S
        desk.told = given.waits

    def _tell(self, given: Given, remarks: Sequence[Remark]) -> None:
        self._counts["commits"] += 1
        self._counts["signals"] += len(given.on_time)
        self._counts["late"] += len(given.late)
        for decision in _decisions(remarks).values():
            self._counts["decisions"] += 1
            self._counts["unproven"] += not given.complete
            log.info(
                "decision", contract=decision.contract_id, at=iso_from_ns(decision.known_at_ns), words=decision.words,
                decision=decision.decision_id, data_complete=given.complete,
            )  # fmt: skip


def _weighed(coordinator: Coordinator, given: Given) -> list[Remark]:
    for key, left in given.left.items():
        coordinator.retract(key, left)
    remarks = [remark for heard in given.late for remark in coordinator.push(heard)]
    for heard in given.on_time:
        remarks += coordinator.push(heard)
    if given.on_time:
        remarks += coordinator.advance(max(heard.signal.known_at_ns for heard in given.on_time))
    return remarks


def _decisions(remarks: Sequence[Remark]) -> Mapping[str, Decision]:
    return {each.decision.decision_id: each.decision for each in remarks if each.decision is not None}
