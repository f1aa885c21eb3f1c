"""What to do next about one contract, by comparing what is with what shall be.

Nothing here remembers what was done: whatever happened, and in whatever order it became known, the next step follows
from how things stand. So a step that failed is found wanting again, and one that was done is not.

| what stands                                               | next step                                               |
|-----------------------------------------------------------|---------------------------------------------------------|
| what is held is not known                                 | none, until it is                                       |
| all shall go, or another direction is wished              | cancel the entry, close the position, cancel the rest   |
| nothing is held                                           | cancel what is left of a position; enter if so wished   |
| less or more contracts are protected than are held        | place, change or cancel stops and targets               |
| the position lies against the wish                        | close it                                                |
| more is held than was wished: an order came late          | close what is too much                                  |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from escapement.core.execution.orders import STOPS, remaining
from escapement.core.execution.tags import Role, role_of
from escapement.model import FLAT, Order, OrderSide, OrderStatus


class Standing(StrEnum):
    """Where the entry of the present wish stands."""

    WAITING = "waiting"  # nothing was sent yet
    SENT = "sent"  # an order was written down, so no other one will be
    DROPPED = "dropped"  # refused, too old, or replaced; nothing will be sent


@dataclass(frozen=True, slots=True)
class Case:
    """How one contract stands. Sizes in contracts, negative when short; prices in ticks.

    ``held``: of ours, ``foreign``: of others, which are left alone. ``direction``: the position wished; None when
    nothing was wished yet. ``must_go``: all of ours has to go now. ``takes_all``: with it what is foreign too.
    ``entry_ticks``: the average price of what is held. ``working``: our orders, with legs that wait. ``is_known``: what
    is held is certain. ``most``: more than so many contracts were never wished.
    """

    held: int
    foreign: int
    direction: int | None
    standing: Standing
    must_go: bool
    takes_all: bool
    is_known: bool
    entry_ticks: int
    stop_ticks: int
    target_ticks: int | None
    most: int
    working: Sequence[Order]


@dataclass(frozen=True, slots=True)
class Enter:
    """Send the entry that is wished."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close ``size`` contracts at the market; None closes all there is."""

    size: int | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel an order."""

    order: Order


@dataclass(frozen=True, slots=True)
class Resize:
    """Give an order another size, all its contracts counted, filled ones too."""

    order: Order
    size: int


@dataclass(frozen=True, slots=True)
class Protect:
    """Place a stop or target: ``size`` contracts of ``side`` at ``ticks``."""

    role: Role
    side: OrderSide
    size: int
    ticks: int


Step = Enter | Close | Cancel | Resize | Protect


def next_step(case: Case) -> Step | None:
    """Return what to do next; None when all is as it shall be, or has to be waited for."""
    if not case.is_known:
        return None
    entries = [order for order in case.working if role_of(order.custom_tag) is Role.ENTRY]
    if case.must_go or _is_unwished(case):
        return _wind_up(case, entries)
    if not case.held:
        exits = [order for order in case.working if order not in entries]
        # While an entry works, legs that wait belong to it.
        if exits and not entries:
            return Cancel(exits[0])
        return Enter() if case.standing is Standing.WAITING and case.direction and not entries else None
    if abs(case.held) > case.most:
        return Close(abs(case.held) - case.most)
    return _protect(case)


def _is_unwished(case: Case) -> bool:
    if case.direction is None:
        return False
    if case.held:
        return case.held * case.direction <= 0
    entry = next((order for order in case.working if role_of(order.custom_tag) is Role.ENTRY), None)
    return entry is not None and (case.direction == FLAT or (entry.side is OrderSide.BUY) != (case.direction > 0))


def _wind_up(case: Case, entries: Sequence[Order]) -> Step | None:
    """Return what to do to get rid of all: what may still open first, and what protects last."""
    if entries:
        return Cancel(entries[0])
    held = case.held + case.foreign if case.takes_all else case.held
    if held:
        return Close(None if not case.foreign or case.takes_all else abs(case.held))
    if case.working:
        return Cancel(case.working[0])
    wishes_entry = case.standing is Standing.WAITING and case.direction
    return Enter() if wishes_entry and not case.must_go else None


def _protect(case: Case) -> Step | None:
    side = OrderSide.SELL if case.held > 0 else OrderSide.BUY
    exits = [order for order in case.working if order.side is side and role_of(order.custom_tag) is not Role.ENTRY]
    astray = [order for order in case.working if order.side is not side and role_of(order.custom_tag) is not Role.ENTRY]
    if astray:
        return Cancel(astray[0])
    sign = 1 if case.held > 0 else -1
    stops = [order for order in exits if order.type in STOPS]
    step = _matched(case, Role.STOP, side, stops, case.entry_ticks - sign * case.stop_ticks)
    targets = [order for order in exits if order.type not in STOPS]
    if step is None and case.target_ticks is not None:
        step = _matched(case, Role.TARGET, side, targets, case.entry_ticks + sign * case.target_ticks)
    return step


def _matched(case: Case, role: Role, side: OrderSide, orders: Sequence[Order], ticks: int) -> Step | None:
    """Return the step towards orders that together close just what is held."""
    working = [order for order in orders if order.status is not OrderStatus.SUSPENDED]
    wanted = abs(case.held) - sum(map(remaining, working))
    if not wanted:
        return None
    if not working:
        return Protect(role, side, wanted, ticks)
    if wanted > 0:
        return Resize(working[0], working[0].size + wanted)
    last = working[-1]
    return Cancel(last) if remaining(last) <= -wanted else Resize(last, last.size + wanted)
