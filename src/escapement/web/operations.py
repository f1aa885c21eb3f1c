"""``/healthz``, ``/readyz`` and ``/metrics``: for containers, load balancers and Prometheus, which log in nowhere.

Nothing here is secret, but account names and positions are nobody's business: keep it off the internet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from escapement.ports import Check


@dataclass(frozen=True, slots=True)
class Readiness:
    """The answer of ``/readyz``: ``ready`` when every check is well."""

    ready: bool
    checks: Sequence[Check]


class Lookout(Protocol):
    """Who looks after the program; answers within seconds, whatever is wrong."""

    async def ready(self) -> Sequence[Check]:
        """Return everything that has to be well."""
        ...

    async def metrics(self) -> bytes:
        """Return what was counted, in Prometheus's text format."""
        ...


def router(lookout: Lookout) -> APIRouter:
    """Return the three paths, to be included in an application."""
    made = APIRouter(tags=["operations"])

    @made.get("/healthz", summary="Whether the process lives and its event loop turns")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @made.get(
        "/readyz",
        summary="Whether the program can do its work now, check by check",
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "At least one check is not well"}},
    )
    async def readyz() -> JSONResponse:
        checks = await lookout.ready()
        found = Readiness(all(each.ok for each in checks), checks)
        return JSONResponse(asdict(found), 200 if found.ready else 503, headers={"Cache-Control": "no-store"})

    @made.get(
        "/metrics",
        summary="Counts, lags and states in Prometheus's text format",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}},
    )
    async def metrics() -> Response:
        return Response(await lookout.metrics(), media_type=CONTENT_TYPE_LATEST)

    return made
