"""Backtests and sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from escapement.web.api.problems import MISSING, missing
from escapement.web.backtests import Backtests
from escapement.web.runwish import RunDetails, RunKind, RunShown, RunWish
from escapement.web.security.headers import REPORT
from escapement.web.visitor import visitor_of

Name = Annotated[str, Path(description="The run's name.", max_length=100)]
Values = Annotated[dict[str, str], Field(max_length=20)]


class Wish(BaseModel):
    """What to run over the stored bars.

    ``changes``: settings by their paths, such as execution.stop_ticks, as YAML. ``over``: for a sweep, settings and the
    values to try, such as ``10,20,40`` or ``10..50..5``.
    """

    model_config = ConfigDict(extra="forbid")
    kind: RunKind
    begin: str = Field(max_length=40, examples=["2025-03-17"])
    end: str = Field(max_length=40, examples=["2025-03-28"])
    contracts: Annotated[list[str], Field(max_length=50)] = []
    changes: Values = {}
    over: Values = {}
    method: Literal["grid", "random", "optuna"] = "grid"
    trials: int = Field(100, ge=1, le=10_000)
    objective: Literal["net", "sharpe", "sortino", "calmar", "profit_factor", "expectancy"] = "sharpe"
    windows: int = Field(1, ge=1, le=50)


def router(backtests: Backtests) -> APIRouter:
    """Return the routes of runs."""
    routes, runs = APIRouter(tags=["backtests"]), _Runs(backtests)
    routes.add_api_route("/backtests", runs.all, methods=["GET"])
    routes.add_api_route("/backtests", runs.start, methods=["POST"], status_code=202)
    routes.add_api_route("/backtests/{name}", runs.details, methods=["GET"], responses=MISSING)
    routes.add_api_route("/backtests/{name}/cancel", runs.cancel, methods=["POST"], responses=MISSING)
    routes.add_api_route(
        "/backtests/{name}/page", runs.page, methods=["GET"], response_class=FileResponse,
        responses={**MISSING, 200: {"content": {"text/html": {}}, "description": "The report, for a frame."}},
    )  # fmt: skip
    return routes


class _Runs:
    def __init__(self, backtests: Backtests) -> None:
        self._backtests = backtests

    async def all(self) -> Sequence[RunShown]:
        """List the newest runs, newest first."""
        return await self._backtests.runs()

    async def details(self, name: Name) -> RunDetails:
        """Return a run with all it told."""
        found = await self._backtests.details(name)
        if found is None:
            raise missing("the run")
        return found

    async def page(self, name: Name) -> FileResponse:
        """Return a run's report as a page, whose scripts can reach nothing."""
        file = await self._backtests.page(name)
        if file is None:
            raise missing("the report")
        return FileResponse(file, media_type="text/html", headers=dict(REPORT))

    async def start(self, request: Request, wish: Wish) -> RunShown:
        """Begin a backtest or a sweep, or let it wait for its turn."""
        whole = RunWish(**{**wish.model_dump(), "contracts": tuple(wish.contracts)})
        return await self._backtests.start(visitor_of(request.scope), whole)

    async def cancel(self, request: Request, name: Name) -> RunShown:
        """End a run, or take it out of the queue; one that has ended stays as it is."""
        await self._backtests.cancel(visitor_of(request.scope), name)
        found = await self._backtests.details(name)
        if found is None:
            raise missing("the run")
        return found.run
