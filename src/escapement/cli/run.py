"""``escapement run``: several services in one process, each started again when it fails, until stopped."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Annotated

import structlog
import typer

from escapement import wiring
from escapement.cli import analyze, app, coordinate, dashboard, execute, ingest, notify, operations, settings_of
from escapement.cli.ingest import stop_on_signals
from escapement.errors import ConfigurationError, EscapementError
from escapement.logs import redact
from escapement.ports import ServiceHealth
from escapement.services.supervise import Ready, Service, SuperviseParams, Supervisor
from escapement.settings import Settings
from escapement.storage.health import HEARTBEAT_S, HealthStore

log = structlog.get_logger(service="supervise")

_LAST_WORD_S = 3.0


@dataclass(frozen=True, slots=True)
class Runnable:
    """What a service can be started with: a check of its settings, and what serves until told to stop."""

    check: Callable[[Settings], None]
    serve: Callable[[Settings, asyncio.Event, Ready], Awaitable[None]]


# Those that others live on come first.
RUNNABLE = {
    "ingest": Runnable(ingest.check, ingest.serve),
    "analyze": Runnable(analyze.check, analyze.SERVICE.serve),
    "coordinate": Runnable(coordinate.check, coordinate.SERVICE.serve),
    "execute": Runnable(execute.check, execute.serve),
    "dashboard": Runnable(dashboard.check, dashboard.serve),
    "notify": Runnable(notify.check, notify.serve),
    "operations": Runnable(operations.check, operations.serve),
}


@app.command()
def run(
    context: typer.Context,
    services: Annotated[
        str | None, typer.Option(metavar="NAMES", help=f"Some of {','.join(RUNNABLE)}; else those of the settings.")
    ] = None,
) -> None:
    """Run services in one process until SIGTERM or Ctrl-C; a service that fails is started again."""
    settings = settings_of(context, **({} if services is None else {"run": {"services": services}}))
    chosen = [name for name in RUNNABLE if name in settings.services()]
    if not chosen:
        raise ConfigurationError(
            f"run.services {', '.join(settings.run.services)} has nothing to do: notify needs notify.channels, "
            "operations needs operations.port"
        )
    check(settings, chosen)
    asyncio.run(_run(settings, chosen))


def check(settings: Settings, chosen: Sequence[str]) -> None:
    """Refuse settings that some service cannot use, before anything starts.

    Raises:
        ConfigurationError: a line for each fault.
    """
    faults: dict[str, None] = {}
    for name in chosen:
        try:
            RUNNABLE[name].check(settings)
        except ConfigurationError as error:
            faults |= dict.fromkeys(str(error).splitlines())
    if faults:
        raise ConfigurationError("\n".join(faults))


async def _run(settings: Settings, chosen: Sequence[str]) -> None:
    left_behind: list[str] = []
    try:
        async with wiring.located(settings) as own:
            services = [service(own, name) for name in chosen]
            async with supervised(own, services, left_behind) as supervisor:
                stop_on_signals(supervisor.stop)
                await supervisor.run()
    finally:
        leave(left_behind)


def leave(left_behind: Sequence[str]) -> None:
    """End the process at once where something has not ended: the event loop would wait for it without end."""
    if left_behind:
        # All that was stored stays, as after kill -9.
        log.error("left_behind", names=left_behind)
        os._exit(1)


def service(settings: Settings, name: str) -> Service:
    """Return a service of ``RUNNABLE`` as supervisors run it."""
    return Service(name, lambda stopping, ready: RUNNABLE[name].serve(settings, stopping, ready))


@asynccontextmanager
async def supervised(
    settings: Settings, services: Sequence[Service], left_behind: list[str]
) -> AsyncIterator[Supervisor]:
    """Supervise services inside the context, and keep the database told of how they are.

    Args:
        settings: in force.
        services: in the order of their dependence.
        left_behind: takes the names of what has not ended when the context has.
    """
    changed = asyncio.Event()
    params = SuperviseParams(
        settings.run.first_delay_seconds, settings.run.longest_delay_seconds, grace_s=settings.run.grace_seconds
    )
    supervisor = Supervisor(services, params, changed.set)
    telling = asyncio.create_task(_tell(settings, supervisor, changed), name="health")
    try:
        yield supervisor
    finally:
        telling.cancel()
        await asyncio.wait((telling,), timeout=_LAST_WORD_S)
        if telling.done():  # else the database hangs
            telling = asyncio.create_task(_tell_once(settings, supervisor), name="health")
            await asyncio.wait((telling,), timeout=_LAST_WORD_S)
        left_behind += supervisor.left_behind()
        if not telling.done():
            left_behind.append(telling.get_name())


async def _tell(settings: Settings, supervisor: Supervisor, changed: asyncio.Event) -> None:
    """Keep the database told of how the services are, whenever it answers."""
    while True:
        try:
            async with wiring.database(settings) as database:
                while True:
                    changed.clear()
                    await _put(HealthStore(database), supervisor)
                    try:
                        async with asyncio.timeout(HEARTBEAT_S):
                            await changed.wait()
                    except TimeoutError:
                        continue
        except EscapementError as error:
            log.warning("health_untold", reason=str(error))
            await asyncio.sleep(HEARTBEAT_S)


async def _tell_once(settings: Settings, supervisor: Supervisor) -> None:
    """Say the last word, unless the database is away."""
    try:
        async with wiring.database(settings) as database:
            await _put(HealthStore(database), supervisor)
    except EscapementError as error:
        log.warning("health_untold", reason=str(error))


@cache
def _process() -> str:
    """Name this process; in a container every run has the same number, so that the time makes it another one."""
    return f"{socket.gethostname()}:{os.getpid()}:{datetime.now(UTC):%Y%m%dT%H%M%S}"


async def _put(store: HealthStore, supervisor: Supervisor) -> None:
    await store.put(
        _process(),
        [
            ServiceHealth(
                each.service, str(each.state), each.since_ns, each.restarts, redact(each.error), report=report
            )
            for each, report in zip(supervisor.health(), supervisor.reports(), strict=True)
        ],
    )
