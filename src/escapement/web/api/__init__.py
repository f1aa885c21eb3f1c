"""The JSON API under ``/api/v1``: all that pages show, and the same steering, described by its own OpenAPI."""

from __future__ import annotations

from fastapi import FastAPI

from escapement import __version__
from escapement.storage.audit import AuditStore
from escapement.web.api import looking, problems, running, steering
from escapement.web.parts import Parts

PREFIX = "/api/v1"


def api(parts: Parts, audit: AuditStore) -> FastAPI:
    """Return the API as an application to mount at ``PREFIX``: what it does not know is not taken for a page."""
    # FastAPI's own pages of documentation would load scripts from elsewhere.
    app = FastAPI(
        title="Escapement", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False,
        responses=problems.RESPONSES,
    )  # fmt: skip
    problems.handle(app)
    for routes in (
        looking.router(parts.reading),
        steering.router(parts.steering, audit),
        running.router(parts.backtests),
    ):
        app.include_router(routes)
    return app
