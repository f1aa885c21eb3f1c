"""How services are, in PostgreSQL, for those who look from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from escapement.moments import datetime_from_ns, ns_from_datetime
from escapement.ports import ServiceHealth
from escapement.storage import queries
from escapement.storage.database import DBHandler
from escapement.storage.failures import translated

# How often each process tells of its services, and after how many seconds without a word it counts as silent.
HEARTBEAT_S = 3.0
ALIVE_S = 5 * HEARTBEAT_S
_WELL = "starting", "running", "stopping", "stopped"
_PUT = queries.load("put_health")
_HEALTH = queries.load("health")


def state_seen(health: ServiceHealth) -> str:
    """Return how a service stands for who looks from elsewhere: a process that no longer speaks is silent."""
    has_ended = health.state in {"stopped", "failed"}
    return health.state if has_ended or health.silent_s < ALIVE_S else f"silent for {health.silent_s:.0f} s"


def is_well(health: ServiceHealth) -> bool:
    """Whether a service is as it should be."""
    return state_seen(health) in _WELL


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
                [orjson.dumps(each.report).decode() for each in services],
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
                row["process"], row["silent_s"], orjson.loads(row["report"]),
            )
            for row in rows
        ]  # fmt: skip
