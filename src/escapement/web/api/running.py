"""Backtests and sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Path, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from escapement.web.api.problems import MISSING, NOT_YET, missing
from escapement.web.backtests import Backtests
from escapement.web.runcommand import WHEN
from escapement.web.runwish import RunDetails, RunKind, RunShown, RunWish
from escapement.web.security.headers import REPORT
from escapement.web.visitor import visitor_of

Name = Annotated[str, Path(description="The run's name.", max_length=100)]
Values = Annotated[dict[str, str], Field(max_length=20)]
Contract = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[!-+\--~]+$")]
When = Annotated[str, Field(pattern=WHEN)]


class BacktestWish(BaseModel):
    """A backtest to run over the stored bars.

    ``changes``: settings by their paths, such as execution.stop_ticks, as YAML.
    """

    model_config = ConfigDict(extra="forbid")
    kind: Literal[RunKind.BACKTEST]
    begin: When = Field(examples=["2025-03-17"])
    end: When = Field(examples=["2025-03-28"])
    contracts: Annotated[list[Contract], Field(max_length=50)] = []
    changes: Values = {}


class SweepWish(BacktestWish):
    """A sweep to run over the stored bars.

    ``over``: settings and the values to try, such as ``10,20,40`` or ``10..50..5``.
    """

    kind: Literal[RunKind.SWEEP]  # type: ignore[assignment] # what tells the two apart
    over: Annotated[dict[str, str], Field(min_length=1, max_length=20)]
    method: Literal["grid", "random", "optuna"] = "grid"
    trials: int = Field(100, ge=1, le=10_000)
    objective: Literal["net", "sharpe", "sortino", "calmar", "profit_factor", "expectancy"] = "sharpe"
    windows: int = Field(1, ge=1, le=50)


Wish = Annotated[BacktestWish | SweepWish, Field(discriminator="kind")]


def router(backtests: Backtests) -> APIRouter:
    """Return the routes of runs."""
    routes, runs = APIRouter(tags=["backtests"]), _Runs(backtests)
    routes.add_api_route("/backtests", runs.all, methods=["GET"])
    routes.add_api_route("/backtests/start", runs.start, methods=["POST"], status_code=202)
    routes.add_api_route("/backtests/{name}", runs.details, methods=["GET"], responses=MISSING)
    routes.add_api_route("/backtests/{name}/cancel", runs.cancel, methods=["POST"], responses=MISSING)
    routes.add_api_route(
        "/backtests/{name}/page", runs.page, methods=["GET"], response_class=FileResponse,
        responses={**MISSING, **NOT_YET, 200: {"content": {"text/html": {}}, "description": "For a frame."}},
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
            if await self._backtests.details(name) is None:
                raise missing("the run")
            raise HTTPException(409, "the run has no report, or none yet")
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
