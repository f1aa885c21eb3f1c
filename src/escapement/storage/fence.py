"""The fence around what a lease covers: a transaction that writes first makes sure that the lease is still held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

from escapement.errors import LeaseLost
from escapement.storage import queries

_FENCE = queries.load("fence")

_LONGEST = 3


@dataclass(frozen=True, slots=True)
class Fence:
    """Leases as they were taken: by whom, and with which token.

    A process that was frozen does not know that its lease went to another one. Its writes fail here: the tokens are
    compared in the transaction that writes, and their rows stay locked until it ends, so that nobody takes the lease
    in between. A transaction whose client is frozen in the middle is ended by the server after ``patience_s``, or after
    three times as long where it froze in the middle of a query.
    """

    holder: str
    tokens: Mapping[str, int]
    patience_s: float

    async def check(self, connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
        """Make sure, for the rest of the connection's transaction, that the leases are held.

        Raises:
            LeaseLost: another process has taken one, or it was given back.
        """
        held = await connection.fetchval(
            _FENCE, list(self.tokens), list(self.tokens.values()), self.holder, f"{self.patience_s * 1_000:.0f}",
            f"{self.patience_s * _LONGEST * 1_000:.0f}",
        )  # fmt: skip
        if held != len(self.tokens):
            raise LeaseLost(f"{self.holder} no longer holds the lease of {', '.join(self.tokens)}; nothing was written")
