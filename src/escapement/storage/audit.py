"""Who steered from the dashboard, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from escapement.storage import queries
from escapement.storage.database import DBHandler
from escapement.storage.failures import translated

_PUT = queries.load("put_audit")
_NEWEST = queries.load("audit_log")
_MOST_TEXT = 500


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a visitor did, or was refused; see the table ``audit_log``."""

    at: datetime
    who: str
    address: str
    act: str
    subject: str
    outcome: str


class AuditStore:
    """Keeps who steered; every method raises StorageError."""

    def __init__(self, database: DBHandler) -> None:
        self._pool = database.pool

    async def put(self, who: str, address: str, act: str, subject: str = "", *, done: bool) -> None:
        """Take note of an act; a subject is cut to 500 characters."""
        words = subject.replace("\0", "")[:_MOST_TEXT]
        with translated():
            await self._pool.execute(_PUT, who, address, act, words, "done" if done else "refused")

    async def newest(self, most: int) -> Sequence[Act]:
        """Return the newest acts, newest first."""
        with translated():
            rows = await self._pool.fetch(_NEWEST, most)
        return [Act(row["at"], row["who"], row["address"], row["act"], row["subject"], row["outcome"]) for row in rows]
