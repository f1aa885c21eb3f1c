"""Work on contracts shared by all processes that offer to do it, through leases.

Every process that runs a service takes part. Of the contracts that nobody holds it takes its fair share, and works on
those that it took together as one group. When one more process comes, who has more than his share ends a group and
takes what is left to him anew; when one goes, is killed or freezes, the others take what was his, once its leases have
run out. One process alone works on everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from escapement.errors import LeaseLost, StorageUnavailable

# How often leases are looked at and renewed while one lasts.
_LOOKS = 3
# What has lost its lease cleans up for so long at most; nothing that it does is written any more.
_CUT_OFF_S = 5.0


class Standing(Protocol):
    """Who takes part, by holder, and by whom what is held."""

    @property
    def members(self) -> frozenset[str]:
        """The processes that take part."""
        ...

    @property
    def holders(self) -> dict[str, str]:
        """Of each name that is held, by whom."""
        ...


class SharedLeases(Protocol):
    """What a process holds."""

    seconds: float
    holder: str

    @property
    def names(self) -> list[str]:
        """The names of what is held."""
        ...

    async def join(self) -> None:
        """Say that this process takes part."""
        ...

    async def standing(self) -> Standing:
        """Return who takes part, and what is held by whom."""
        ...

    async def take(self, names: Sequence[str]) -> list[str]:
        """Take those that are free; return their names."""
        ...

    async def renew(self) -> list[str]:
        """Hold everything for longer; return what was lost."""
        ...

    async def give_back(self, names: Iterable[str] | None = None) -> None:
        """Let others take these, or all."""
        ...

    def holds(self, name: str, for_s: float = 0.0) -> bool:
        """Whether a lease is surely held for so many seconds more."""
        ...


Work = Callable[[Sequence[str], asyncio.Event], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class _Group:
    names: tuple[str, ...]
    stopping: asyncio.Event
    task: asyncio.Task[None]


class Sharing:
    """Works on this process's share of some contracts.

    Args:
        service: its name, for the log.
        leases: of this process.
        names: returns what there is to work on; asked again at each look, because contracts come and go.
        work: works on some of it until the event is set, or until it fails.
        idle: called when others do all the work.
    """

    def __init__(
        self,
        service: str,
        leases: SharedLeases,
        names: Callable[[], Awaitable[Sequence[str]]],
        work: Work,
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._log = structlog.get_logger(service=service)
        self._leases = leases
        self._names = names
        self._work = work
        self._idle = idle
        self._groups: list[_Group] = []
        self._was_idle = False

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until ``stopping``, or until some work ends by itself.

        Raises:
            EscapementError: what some work failed with; what lost its lease to another process is no failure.
        """
        wake = asyncio.create_task(stopping.wait())
        try:
            while not stopping.is_set():
                try:
                    await self._look()
                except StorageUnavailable as error:
                    self._log.warning("leases_wait", reason=str(error))
                running = [group.task for group in self._groups]
                done, _ = await asyncio.wait(
                    {wake, *running}, timeout=self._leases.seconds / _LOOKS, return_when=asyncio.FIRST_COMPLETED
                )
                if wake not in done and await self._has_ended(done):
                    return
        finally:
            wake.cancel()
            await self._end()

    async def _look(self) -> None:
        """Renew what is held, give up what is more than our share, take what is free of it."""
        self._cut_off(await self._leases.renew())
        await self._leases.join()
        names, standing = list(await self._names()), await self._leases.standing()
        members = standing.members | {self._leases.holder}
        share = -(-len(names) // len(members))
        mine = [name for group in self._groups for name in group.names]
        counts = dict.fromkeys(members, 0)
        for name in names:
            if standing.holders.get(name) in counts:
                counts[standing.holders[name]] += 1
        if len(mine) > share and min(counts.values()) < len(names) // len(members):
            group = self._groups[-1]
            if not group.stopping.is_set():
                self._log.info("share_shrinks", contracts=group.names, share=share, processes=len(members))
                group.stopping.set()
            return
        free = [name for name in names if name not in standing.holders and name not in mine]
        taken = await self._leases.take(free[: share - len(mine)]) if share > len(mine) else []
        if taken:
            self._log.info("leases_taken", contracts=taken, holder=self._leases.holder)
            group_stopping = asyncio.Event()
            task = asyncio.create_task(self._work(tuple(taken), group_stopping))
            self._groups.append(_Group(tuple(taken), group_stopping, task))
        elif not mine and not self._was_idle:
            self._log.info("leases_wait", reason="other processes do all the work; this one stands by")
            self._idle()
        self._was_idle = not mine and not taken

    def _cut_off(self, lost: Sequence[str]) -> None:
        for group in self._groups:
            if set(lost) & set(group.names):
                self._log.warning("leases_lost", contracts=lost)
                group.task.cancel()

    async def _has_ended(self, done: set[asyncio.Task[Any]]) -> bool:
        """Give back what ended groups held; return whether one of them ended although nobody asked it to."""
        by_itself = False
        for group in [each for each in self._groups if each.task in done]:
            self._groups.remove(group)
            try:
                await self._leases.give_back(group.names)
            except StorageUnavailable as error:
                self._log.warning("leases_wait", reason=str(error))
            if group.task.cancelled():
                continue
            failure = group.task.exception()
            if isinstance(failure, LeaseLost):
                self._log.warning("leases_lost", reason=str(failure))
            elif failure is not None:
                raise failure
            else:
                by_itself = by_itself or not group.stopping.is_set()
        return by_itself

    async def _end(self) -> None:
        """End all work in good order, under leases that go on, and give everything back."""
        tasks = [group.task for group in self._groups]
        for group in self._groups:
            group.stopping.set()
        try:
            while not all(task.done() for task in tasks):
                try:
                    self._cut_off(await self._leases.renew())
                except StorageUnavailable as error:
                    self._log.warning("leases_wait", reason=str(error))
                await asyncio.wait(tasks, timeout=self._leases.seconds / _LOOKS)
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=_CUT_OFF_S)
        try:
            await self._leases.give_back()
        except StorageUnavailable as error:
            self._log.warning("leases_wait", reason=str(error))
        for task in tasks:
            failure = None if task.cancelled() or not task.done() else task.exception()
            if failure is not None and not isinstance(failure, LeaseLost):
                raise failure


async def hold(
    leases: SharedLeases, name: str, stopping: asyncio.Event, stands_by: Callable[[], None] = lambda: None
) -> bool:
    """Wait until a lease is ours; return False when ``stopping`` was set before.

    ``stands_by`` is called whenever another process holds it.

    Raises:
        StorageError: the database refused for good.
    """
    log, told = structlog.get_logger(service="lease"), ""
    while not stopping.is_set():
        reason = "another process holds it; this one stands by"
        try:
            await leases.renew()
            await leases.join()
            # What was taken for lost although nobody else took it is taken anew: what it was used for may not be over.
            await leases.give_back([name])
            if await leases.take([name]):
                return True
            stands_by()
        except StorageUnavailable as error:
            reason = str(error)
        if reason != told:
            log.info("lease_waits", lease=name, reason=reason)
            told = reason
        try:
            async with asyncio.timeout(leases.seconds / _LOOKS):
                await stopping.wait()
        except TimeoutError:
            continue
    return False


async def while_held(leases: SharedLeases, name: str, work: Coroutine[Any, Any, None]) -> None:
    """Do ``work`` as long as a lease is ours, which is renewed meanwhile.

    Raises:
        LeaseLost: another process has taken it; the work was cut off.
        EscapementError: what the work failed with.
    """
    log = structlog.get_logger(service="lease")
    working = asyncio.create_task(work)
    try:
        while not working.done():
            try:
                await leases.renew()
                if name not in leases.names:  # whoever found that out: the work itself may have asked before us
                    raise LeaseLost(f"the lease of {name} went to another process")
            except StorageUnavailable as error:
                log.warning("lease_not_renewed", lease=name, reason=str(error))
            await asyncio.wait({working}, timeout=leases.seconds / _LOOKS)
        await working
    finally:
        working.cancel()
        await asyncio.wait({working}, timeout=_CUT_OFF_S)
