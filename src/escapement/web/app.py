"""The dashboard as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.middleware.gzip import GZipMiddleware
from nicegui import app as pages_app
from nicegui import ui
from starlette.types import ASGIApp, Receive, Scope, Send

from escapement.settings import Settings
from escapement.storage import DBHandler
from escapement.storage.audit import AuditStore
from escapement.storage.database import FORMING
from escapement.storage.doorbell import Doorbell
from escapement.web import pages
from escapement.web.api import PREFIX, api
from escapement.web.backtests import Backtests
from escapement.web.parts import Parts
from escapement.web.reading import Reading
from escapement.web.security.gate import Gate, is_here
from escapement.web.security.login import LogIn
from escapement.web.security.passwords import Passwords
from escapement.web.security.sessions import Sessions
from escapement.web.steering import Steering


def make_parts(settings: Settings, database: DBHandler, acts: DBHandler, sessions: Sessions) -> Parts:
    """Return what pages and API are made of; ``acts`` is the same database, for what is done and not looked at."""
    steering = Steering(acts, sessions.has_ended)
    bells = tuple(dict.fromkeys([*pages.BELLS, FORMING]))
    return Parts(Reading(settings, database), steering, Backtests(settings, steering), Doorbell(database, bells))


def create_app(
    settings: Settings,
    acts: DBHandler,
    parts: Parts,
    sessions: Sessions,
    operations: APIRouter,
    ready: Callable[[], None],
) -> FastAPI:
    """Return the application: API, pages, log-in, what ``operations`` answers, and the gate before all of them.

    ``acts`` is the database that what is done is written to.

    NiceGUI's pages belong to the process, so that this can be called once in each.

    Raises:
        ConfigurationError: a password's hash cannot be used.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        ready()
        yield

    chosen, audit = settings.dashboard, AuditStore(acts)
    passwords = Passwords(chosen)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan, redirect_slashes=False)
    app.include_router(LogIn(passwords, sessions, audit).router())
    # Before the pages, which take every other path; the gate lets them through from this machine without a log-in.
    app.include_router(operations)
    app.mount(PREFIX, api(parts, audit))
    pages.register(parts)
    pages_app.storage.path = settings.data_dir / "dashboard"
    # Tailwind would watch every change of a page, and slow its opening.
    ui.run_with(
        app, title="Escapement", dark=None, storage_secret=sessions.secret_for("pages"), show_welcome_message=False,
        session_middleware_kwargs={"same_site": "strict"}, tailwind=False,
        gzip_middleware_factory=_Compressing,
    )  # fmt: skip
    app.add_middleware(Gate, settings=chosen, passwords=passwords, sessions=sessions)
    return app


class _Compressing(GZipMiddleware):
    """Compresses answers, unless who asks is on this machine: there it only takes time."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, minimum_size=1_000, compresslevel=4)  # harder costs more than it saves

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_here(scope):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)
