"""Leases: which process may write and trade what, for some seconds at a time, by the clock of the database."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import uuid4

from escapement.moments import ns_from_datetime
from escapement.storage import queries
from escapement.storage.database import DBHandler
from escapement.storage.failures import translated
from escapement.storage.fence import Fence

_TAKE = queries.load("take_leases")
_RENEW = queries.load("renew_leases")
_RETURN = queries.load("return_leases")
_LEASES = queries.load("leases")
_MEMBER = "member "


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as it stands; times in nanoseconds UTC. ``token`` has grown by one each time it was taken."""

    resource: str
    holder: str
    token: int
    since_ns: int
    until_ns: int
    is_held: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """Who takes part in a service, by holder, and which of its resources somebody holds."""

    members: frozenset[str]
    holders: dict[str, str]


class Leases:
    """What one process holds for one service; every method that asks the database raises StorageError.

    Args:
        database: where leases are.
        service: such as ``ingest``; resources are called ``SERVICE NAME``.
        seconds: for how long a lease is taken; who does not renew it until then loses it to whoever waits.
    """

    def __init__(self, database: DBHandler, service: str, seconds: float) -> None:
        self._database = database
        self._pool = database.pool
        self._service = service
        self.seconds = seconds
        self.holder = f"{socket.gethostname()}:{os.getpid()}/{uuid4().hex[:6]}"
        self._held: dict[str, tuple[int, float]] = {}  # token, and until when it surely holds by our own clock

    @property
    def names(self) -> list[str]:
        """The names of what is held, in alphabetical order."""
        return sorted(self._name(each) for each in self._held if not each.startswith(_MEMBER))

    async def join(self) -> None:
        """Say that this process takes part, unless that is known."""
        await self._take([f"{_MEMBER}{self._service} {self.holder}"])

    async def standing(self) -> Standing:
        """Return who takes part, and what is held by whom."""
        prefix, own = f"{_MEMBER}{self._service} ", f"{self._service} "
        rows = [each for each in await leases(self._database, [prefix, own]) if each.is_held]
        return Standing(
            frozenset(each.holder for each in rows if each.resource.startswith(prefix)),
            {self._name(each.resource): each.holder for each in rows if each.resource.startswith(own)},
        )

    async def take(self, names: Sequence[str]) -> list[str]:
        """Take those of the leases that are free; return their names."""
        return [self._name(each) for each in await self._take([f"{self._service} {name}" for name in names])]

    async def renew(self) -> list[str]:
        """Hold everything for longer; return the names of what another process has taken meanwhile."""
        asked_s, held = _now_s(), dict(self._held)
        with translated():
            rows = await self._pool.fetch(
                _RENEW, list(held), [token for token, _ in held.values()], self.holder, self.seconds
            )
        kept = {row["resource"] for row in rows}
        for resource, (token, _) in held.items():
            if resource in kept and resource in self._held:
                self._held[resource] = token, asked_s + self.seconds
            elif resource not in kept:
                self._held.pop(resource, None)
        return [self._name(each) for each in held if each not in kept and not each.startswith(_MEMBER)]

    async def give_back(self, names: Iterable[str] | None = None) -> None:
        """Let others take these leases at once; without names everything, because this process no longer takes part."""
        chosen = list(self._held) if names is None else [f"{self._service} {name}" for name in names]
        given = {each: self._held.pop(each)[0] for each in chosen if each in self._held}
        if given:
            with translated():
                await self._pool.execute(_RETURN, list(given), list(given.values()), self.holder)

    def holds(self, name: str, for_s: float = 0.0) -> bool:
        """Whether a lease is surely ours for so many seconds more, by a clock that goes on while we are frozen."""
        held = self._held.get(f"{self._service} {name}")
        return held is not None and _now_s() + for_s < held[1]

    def fence(self, names: Iterable[str]) -> Fence:
        """Return what lets a transaction write only while these leases are held, as they were taken last."""
        tokens = {each: self._held.get(each, (0, 0.0))[0] for each in (f"{self._service} {name}" for name in names)}
        return Fence(self.holder, tokens, self.seconds)

    async def _take(self, resources: Sequence[str]) -> list[str]:
        wanted, asked_s = [each for each in resources if each not in self._held], _now_s()
        if not wanted:
            return []
        with translated():
            rows = await self._pool.fetch(_TAKE, wanted, self.holder, self.seconds)
        self._held |= {row["resource"]: (row["token"], asked_s + self.seconds) for row in rows}
        return [row["resource"] for row in rows]

    def _name(self, resource: str) -> str:
        return resource.removeprefix(f"{self._service} ")


async def leases(database: DBHandler, prefixes: Sequence[str] = ("",)) -> list[Lease]:
    """Return every lease whose resource begins with one of ``prefixes``, in alphabetical order.

    Raises:
        StorageError: the database does not answer or refuses.
    """
    with translated():
        rows = await database.pool.fetch(_LEASES, prefixes)
    return [
        Lease(
            row["resource"], row["holder"], row["token"], ns_from_datetime(row["since"]),
            ns_from_datetime(row["until"]), row["is_held"],
        )
        for row in rows
    ]  # fmt: skip


def _now_s() -> float:
    # Where there is one, a clock that also goes on while the machine sleeps.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
