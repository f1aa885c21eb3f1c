"""How services are, in PostgreSQL, for those who look from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from escapement.moments import datetime_from_ns, ns_from_datetime
from escapement.storage import queries
from escapement.storage.database import DBHandler
from escapement.storage.failures import translated

HEARTBEAT_S = 3.0
SILENT_S = 5 * HEARTBEAT_S
_WELL = "starting", "running", "stopping", "stopped"
_PUT = queries.load("put_health")
_HEALTH = queries.load("health")


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """A service as its process told of it ``silent_s`` seconds ago; see the table ``service_health``."""

    service: str
    state: str
    since_ns: int
    restarts: int
    error: str
    process: str = ""
    silent_s: float = 0.0

    @property
    def state_seen(self) -> str:
        """How it stands for who looks from elsewhere: a process that no longer speaks is silent."""
        has_ended = self.state in {"stopped", "failed"}
        return self.state if has_ended or self.silent_s < SILENT_S else f"silent for {self.silent_s:.0f} s"

    @property
    def is_well(self) -> bool:
        """Whether it is as it should be."""
        return self.state_seen in _WELL


class HealthStore:
    """Keeps how the services of each process are; every method raises StorageError."""

    def __init__(self, database: DBHandler) -> None:
        self._pool = database.pool

    async def put(self, process: str, services: Sequence[ServiceHealth]) -> None:
        """Take note of how the services of a process are."""
        with translated():
            await self._pool.execute(
                _PUT, process, [each.service for each in services], [each.state for each in services],
                [datetime_from_ns(each.since_ns) for each in services], [each.restarts for each in services],
                [each.error.replace("\0", "") for each in services],
            )  # fmt: skip

    async def services(self, alive_s: float) -> list[ServiceHealth]:
        """Return how each service is, in the process that spoke of it last and in others that are at work with it.

        Args:
            alive_s: how many seconds ago a process that is alive spoke at most.
        """
        with translated():
            rows = await self._pool.fetch(_HEALTH, alive_s)
        return [
            ServiceHealth(
                row["service"], row["state"], ns_from_datetime(row["since"]), row["restarts"], row["error"],
                row["process"], row["silent_s"],
            )
            for row in rows
        ]  # fmt: skip
