"""Who looks at the dashboard, and what he may do."""

from __future__ import annotations

import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from escapement.errors import EscapementError

_KEY = "escapement.visitor"


class Forbidden(EscapementError):
    """The visitor may look, but not do this; or his log-in is over."""


class Role(StrEnum):
    """What a visitor may do."""

    OPERATOR = "operator"  # everything
    VIEWER = "viewer"  # look, and nothing else


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sent a request: ``address`` is where from, ``until_s`` (seconds since 1970) when his log-in ends.

    ``session`` tells log-ins apart; it is empty where no password is set, so that whoever reaches the dashboard may use
    it.
    """

    role: Role
    address: str
    until_s: float = float("inf")
    session: str = ""

    @property
    def may_steer(self) -> bool:
        """Whether he may do more than look, now."""
        return self.role is Role.OPERATOR and time.time() < self.until_s


def visitor_of(scope: Mapping[str, Any]) -> Visitor:
    """Return who sent the request of an ASGI scope (``request.scope``); every request that gets through has one."""
    found: Visitor = scope[_KEY]
    return found


def attach(scope: MutableMapping[str, Any], visitor: Visitor) -> None:
    """Let a request carry who sent it."""
    scope[_KEY] = visitor
