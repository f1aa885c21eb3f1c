"""The JSON API under ``/api/v1``: all that pages show, and the same steering, described by its own OpenAPI."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from escapement.storage.audit import AuditStore
from escapement.web.api import looking, problems, running, steering
from escapement.web.parts import Parts

PREFIX = "/api/v1"


def add_api(app: FastAPI, parts: Parts, audit: AuditStore) -> None:
    """Let an application answer the API's calls."""
    problems.handle(app)
    api = APIRouter(prefix=PREFIX, responses=problems.RESPONSES)
    for routes in (
        looking.router(parts.reading),
        steering.router(parts.steering, audit),
        running.router(parts.backtests),
    ):
        api.include_router(routes)
    app.include_router(api)
