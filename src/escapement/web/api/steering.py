"""What can be steered, and who steered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from escapement.storage.audit import Act, AuditStore
from escapement.web.steering import Steering
from escapement.web.visitor import Role, visitor_of


class Because(BaseModel):
    """Why, for the record."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field("by hand", max_length=200, pattern=r"^[^\x00-\x1f]*$")


@dataclass(frozen=True, slots=True)
class Me:
    """What this log-in may do."""

    role: Role
    may_steer: bool


@dataclass(frozen=True, slots=True)
class Turned:
    """Whether trading is stopped now."""

    killed: bool


def router(steering: Steering, audit: AuditStore) -> APIRouter:
    """Return the routes that steer."""
    routes, acts = APIRouter(tags=["steering"]), _Acts(steering, audit)
    routes.add_api_route("/me", acts.me, methods=["GET"])
    routes.add_api_route("/audit", acts.audit, methods=["GET"])
    routes.add_api_route("/kill", acts.kill, methods=["POST"])
    routes.add_api_route("/resume", acts.resume, methods=["POST"])
    return routes


class _Acts:
    def __init__(self, steering: Steering, audit: AuditStore) -> None:
        self._steering = steering
        self._audit = audit

    async def me(self, request: Request) -> Me:
        """Say what this log-in may do."""
        visitor = visitor_of(request.scope)
        return Me(visitor.role, visitor.may_steer)

    async def audit(self, most: Annotated[int, Query(ge=1, le=1_000)] = 100) -> Sequence[Act]:
        """List who logged in and steered, newest first."""
        return await self._audit.newest(most)

    async def kill(self, request: Request, because: Because) -> Turned:
        """Cancel every order, close every position, open nothing until resume."""
        await self._steering.kill(visitor_of(request.scope), because.reason)
        return Turned(killed=True)

    async def resume(self, request: Request, because: Because) -> Turned:
        """Let trading go on."""
        await self._steering.resume(visitor_of(request.scope), because.reason)
        return Turned(killed=False)
