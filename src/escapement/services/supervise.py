"""Several services in one process: each is started again when it fails, and all are stopped in order.

Services are given in the order in which they depend on one another, those that others live on first. To stop, the
first is asked to end and waited for, then the next: so each reads what those before it stored last.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

import structlog

from escapement.errors import ConfigurationError, EscapementError, InvalidInput, InvariantViolated, SchemaMismatch

log = structlog.get_logger(service="supervise")

# A person has to act, or the program is at fault: starting again would not help.
_FATAL = ConfigurationError, SchemaMismatch, InvariantViolated
# How long what was cut off may take to clean up: a connection to a server that hangs never closes.
_CUT_OFF_S = 3.0


class ServiceState(StrEnum):
    """Where a service stands."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"  # it failed, and is started again after a while
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"  # it is not started again


@dataclass(frozen=True, slots=True)
class Health:
    """How a service is: since when it stands so (nanoseconds UTC), how often it was started again, and why at last."""

    service: str
    state: ServiceState
    since_ns: int
    restarts: int = 0
    error: str = ""


Report = Callable[[], Mapping[str, object]]


class Ready(Protocol):
    """What a service calls once when it is up, with what tells of it from then on, if anything: plain JSON data."""

    def __call__(self, report: Report | None = None) -> None:
        """Take note that the service is up."""
        ...


def unheard(report: Report | None = None) -> None:
    """Take the place of ``Ready`` where nobody listens."""
    del report


@dataclass(frozen=True, slots=True)
class Service:
    """Something that runs: ``run`` returns in good order after the event is set, and calls back once when it is up."""

    name: str
    run: Callable[[asyncio.Event, Ready], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class SuperviseParams:
    """How services are kept running.

    ``first_delay_s``, ``longest_delay_s``: how soon a service that failed is started again, at first and at last; what
    ran for ``settled_s`` begins with the first again. ``grace_s``: how long a service may take to end.
    """

    first_delay_s: float = 1.0
    longest_delay_s: float = 60.0
    settled_s: float = 60.0
    grace_s: float = 90.0

    def __post_init__(self) -> None:
        for name in ("first_delay_s", "longest_delay_s", "settled_s", "grace_s"):
            if getattr(self, name) <= 0:
                raise InvalidInput(f"run.{name} is {getattr(self, name)}; use more than 0")


async def run_until(stopping: asyncio.Event, stop: Callable[[], None], running: Coroutine[Any, Any, None]) -> None:
    """Await ``running``; once the event is set, call ``stop``, which has to let it return in good order."""

    async def watch() -> None:
        await stopping.wait()
        stop()

    watching = asyncio.create_task(watch())
    try:
        await running
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


class _Seat:
    """A service at work."""

    def __init__(self, service: Service, changed: Callable[[], None]) -> None:
        self.service = service
        self.stopping = asyncio.Event()
        self.is_cut_off = False
        self._changed = changed
        self.health = Health(service.name, ServiceState.STARTING, time.time_ns())
        self.report: Report = dict

    def is_up(self, report: Report | None = None) -> None:
        """Take note that the service is up, unless it was asked to end meanwhile."""
        self.report = report or dict
        if not self.stopping.is_set():
            self.stands(ServiceState.RUNNING)

    def told(self) -> Mapping[str, object]:
        """Return what the service says of itself; nothing when it cannot, which must not silence the others."""
        try:
            return self.report()
        except Exception:
            log.exception("report_failed", name=self.service.name)
            return {}

    def stands(self, state: ServiceState, error: str | None = None, *, again: bool = False) -> None:
        """Take note of where the service stands."""
        self.health = replace(
            self.health,
            state=state,
            since_ns=time.time_ns(),
            restarts=self.health.restarts + again,
            error=self.health.error if error is None else error,
        )
        log.info("service_state", name=self.service.name, state=str(state), restarts=self.health.restarts)
        self._changed()


class Supervisor:
    """Keeps services running until ``stop``; ``changed`` is called whenever one of them stands otherwise."""

    def __init__(
        self,
        services: Sequence[Service],
        params: SuperviseParams | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._params = params or SuperviseParams()
        self._seats = [_Seat(service, changed) for service in services]
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._fatal: BaseException | None = None

    def health(self) -> list[Health]:
        """Return how each service is, in the order of their dependence."""
        return [seat.health for seat in self._seats]

    def reports(self) -> list[Mapping[str, object]]:
        """Return what each service last said of itself, in the same order."""
        return [seat.told() for seat in self._seats]

    def left_behind(self) -> list[str]:
        """Return the services that, once ``run`` has returned, still have not ended."""
        return [task.get_name() for task in self._tasks if not task.done()]

    def stop(self) -> None:
        """Ask for an orderly end; the second time for one at once."""
        if self._stopping.is_set():
            self._at_once.set()
        self._stopping.set()

    async def run(self) -> None:
        """Run all services until ``stop``, or until one fails in a way that starting again would not mend.

        Raises:
            EscapementError: what that service failed with, when all others were stopped in order; or a service did not
                end in good order.
        """
        self._tasks = tasks = [asyncio.create_task(self._keep(seat), name=seat.service.name) for seat in self._seats]
        try:
            await self._stopping.wait()
            for seat, task in zip(self._seats, tasks, strict=True):
                await self._end(seat, task)
        finally:
            for seat, task in zip(self._seats, tasks, strict=True):
                seat.is_cut_off = True
                task.cancel()
            await asyncio.wait(tasks, timeout=_CUT_OFF_S)
        if self._fatal is not None:
            raise self._fatal
        failed = [each for each in self.health() if each.state is ServiceState.FAILED]
        if failed:
            raise EscapementError(
                "\n".join(f"{each.service} did not end in good order: {each.error}" for each in failed)
            )

    async def _end(self, seat: _Seat, task: asyncio.Task[None]) -> None:
        if not task.done():
            seat.stands(ServiceState.STOPPING)
        seat.stopping.set()
        hurry = asyncio.create_task(self._at_once.wait())
        await asyncio.wait((task, hurry), timeout=self._params.grace_s, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not task.done():
            log.error("service_cut_off", name=seat.service.name, grace_s=self._params.grace_s)
            seat.is_cut_off = True
            task.cancel()
            await asyncio.wait((task,), timeout=_CUT_OFF_S)
            seat.stands(ServiceState.FAILED, "it was cut off, because it did not end in time")

    async def _keep(self, seat: _Seat) -> None:
        """Run a service, again and again."""
        delay_s = self._params.first_delay_s
        while True:
            started_s = time.monotonic()
            error = await self._run_once(seat)
            if seat.stopping.is_set():
                seat.stands(ServiceState.STOPPED if error is None else ServiceState.FAILED, error)
                return
            if self._fatal is not None:
                if seat.health.state is not ServiceState.FAILED:
                    seat.stands(ServiceState.FAILED, error)
                return
            if time.monotonic() - started_s >= self._params.settled_s:
                delay_s = self._params.first_delay_s
            seat.stands(ServiceState.WAITING, error or "it ended without having been asked to")
            # Services that fail together for one reason do not come back all at the same moment.
            pause_s = random.uniform(0.5, 1.0) * delay_s  # noqa: S311 - nothing secret
            log.warning("service_restarts", name=seat.service.name, in_s=round(pause_s, 2), reason=seat.health.error)
            try:
                async with asyncio.timeout(pause_s):
                    await seat.stopping.wait()
            except TimeoutError:
                delay_s = min(delay_s * 2, self._params.longest_delay_s)
                seat.stands(ServiceState.STARTING, again=True)
            else:
                seat.stands(ServiceState.STOPPED)
                return

    async def _run_once(self, seat: _Seat) -> str | None:
        """Run a service; return what it failed with."""
        try:
            await seat.service.run(seat.stopping, seat.is_up)
        except _FATAL as error:
            log.error("service_cannot_go_on", name=seat.service.name, reason=str(error))  # noqa: TRY400 - it says it all
            seat.stands(ServiceState.FAILED, str(error))
            if self._fatal is None:
                self._fatal = error
            self._stopping.set()
            return str(error)
        except EscapementError as error:
            return str(error)
        except Exception as error:
            log.exception("service_failed", name=seat.service.name)
            return str(error) or type(error).__name__
        except asyncio.CancelledError:
            # Of something that the service awaited. Taken for our own, it would end the service without a word.
            if seat.is_cut_off:
                raise
            log.exception("service_failed", name=seat.service.name)
            return "something that it waited for was cancelled"
        finally:
            seat.report = dict  # what ended is no longer connected to anything
        return None
