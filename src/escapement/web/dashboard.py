"""Serving the dashboard until it is asked to end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import structlog
import uvicorn

from escapement import wiring, wiring_operations
from escapement.errors import EscapementError
from escapement.settings import DashboardSettings, Settings
from escapement.web.app import create_app, make_parts
from escapement.web.operations import router
from escapement.web.process import check
from escapement.web.security.sessions import Sessions, signing_key
from escapement.web.server import Server, address_of, listen

log = structlog.get_logger(service="dashboard")

_GRACE_S = 3
# The doorbells of pages and readings, and a few calls at once besides what the settings say.
_CONNECTIONS = 4
_FOR_ACTS = 2
_MOST_AT_ONCE = 500  # requests and web sockets; beyond that the answer is 503


async def serve(
    settings: Settings, stopping: asyncio.Event, ready: Callable[[str], None], services: Sequence[str] | None = None
) -> None:
    """Serve until ``stopping``; call ``ready`` with the address once requests are answered.

    ``services``: what has to run for the program to be ready; None for all that were started anywhere.

    Raises:
        EscapementError: the database, the address or a setting stands in the way.
    """
    check(settings)
    with contextlib.closing(listen(settings.dashboard.host, settings.dashboard.port, "dashboard")) as listening:
        async with (
            wiring.located(settings) as own,
            wiring.database(own, more_connections=_CONNECTIONS) as database,
            wiring.database(_for_acts(own)) as acts,
            wiring_operations.lookout(own, services) as lookout,
        ):
            chosen, address = settings.dashboard, address_of(listening)
            key = signing_key(chosen, settings.data_dir)
            sessions = Sessions(key, chosen.session_hours, settings.data_dir / "dashboard.ended")
            parts = make_parts(settings, database, acts, sessions)
            await parts.reading.prepare()
            app = create_app(settings, acts, parts, sessions, router(lookout), lambda: ready(address))
            server = Server(_config(chosen, app))
            beside = [
                asyncio.create_task(parts.reading.listen(parts.doorbell), name="forming"),
                asyncio.create_task(_stop(server, stopping), name="stop"),
            ]
            log.info("dashboard_started", address=address)
            try:
                await server.serve(sockets=[listening])
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
                await parts.backtests.aclose()
            log.info("dashboard_stopped")
    if not stopping.is_set():
        raise EscapementError("the dashboard's server ended by itself; its log says why")


def _config(chosen: DashboardSettings, app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, lifespan="on",  # type: ignore[arg-type] # ASGI
        proxy_headers=bool(chosen.proxies), forwarded_allow_ips=list(chosen.proxies), ws_max_size=1_048_576,
        timeout_graceful_shutdown=_GRACE_S, limit_concurrency=_MOST_AT_ONCE, h11_max_incomplete_event_size=65_536,
    )  # fmt: skip


def _for_acts(settings: Settings) -> Settings:
    """Return settings of a few connections of their own: who stops all trading waits for nobody who looks at charts."""
    few = settings.database.model_copy(update={"connections": _FOR_ACTS})
    return settings.model_copy(update={"database": few})


async def _stop(server: uvicorn.Server, stopping: asyncio.Event) -> None:
    await stopping.wait()
    server.should_exit = True
