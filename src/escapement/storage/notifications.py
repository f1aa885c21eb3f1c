"""The outbox: what people are to be told, found in the tables that trading writes, and what came of telling them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg
import orjson

from escapement.ports import Event
from escapement.storage import queries
from escapement.storage.database import DBHandler
from escapement.storage.failures import translated

_NEW = queries.load("new_events")
_PUT = queries.load("put_notifications")
_CLAIM = queries.load("claim_notifications")
_SETTLE = queries.load("settle_notifications")
_GIVE_UP = queries.load("give_up_notifications")
_LIST = queries.load("notifications")
_DAY = queries.load("day_summary")
_LOAD_STATE = queries.load("load_state")
_SAVE_STATE = queries.load("save_state")
_STATE = "notify"
_NOW = "SELECT clock_timestamp()"
# Rows bear the time at which they were written and are seen when their transaction ends, so that each look goes back
# a while; what was found before is known by its id.
_BACK = timedelta(minutes=10)
# What is older when it is found is no news.
_MOST_BACK = timedelta(days=1)
_SUMMARY_AFTER_S = 300.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of an event on a channel; ``channel`` is None when nobody is told."""

    event: Event
    channel: str | None
    state: str
    settled_at: datetime | None
    error: str


class NotificationStore:
    """The database as those who tell people see it; every method raises StorageError.

    Args:
        database: where.
        disconnect_s: how long a disconnect lasts that is told.
        silent_s: after how many seconds a process counts as silent.
    """

    def __init__(self, database: DBHandler, disconnect_s: float = 30.0, silent_s: float = 15.0) -> None:
        self._pool = database.pool
        self._disconnect_s = disconnect_s
        self._silent_s = silent_s

    async def gather(self, channels_of: Callable[[str], Sequence[str]], *, has_watched_s: float) -> int:
        """Write down what happened since the last time, each event once, and on which channels it is to be told.

        The first time there is nothing: what was before is not news.

        Args:
            channels_of: returns the channels of a kind of event.
            has_watched_s: for how long the database answered without a pause; a process counts as silent only when it
                could have spoken.

        Returns:
            How many events were not known.
        """
        # Twice: who was cut off from the database as well may take a moment longer to come back.
        silent_s = self._silent_s if has_watched_s > 2 * self._silent_s else None
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                now: datetime = await connection.fetchval(_NOW)
                text = await connection.fetchval(_LOAD_STATE, _STATE)
                saved = {name: datetime.fromisoformat(iso) for name, iso in orjson.loads(text or "{}").items()}
                begun = saved.get("begun_at", now)
                since = max(begun, now - _MOST_BACK, saved.get("looked_at", now) - _BACK)
                events = [
                    each for each in await self._new(connection, since, silent_s) if channels_of(each.kind)
                ]  # fmt: skip
                added = await self._put(connection, events, channels_of)
                state = orjson.dumps({"begun_at": begun, "looked_at": now}).decode()
                await connection.execute(_SAVE_STATE, _STATE, state)
        return added

    async def claim(self, channel: str, most: int, lease_s: float) -> list[Event]:
        """Take the oldest events that wait on a channel, or whose lease has run out; theirs is a new lease."""
        with translated():
            rows = await self._pool.fetch(_CLAIM, channel, most, lease_s)
        return [_kept(row, row["attempts"]) for row in rows]

    async def settle(self, channel: str, event_ids: Sequence[str], state: str, error: str = "") -> None:
        """Say what came of events that were claimed: ``sent``, ``summarised``, or ``waiting`` to be sent again."""
        with translated():
            await self._pool.execute(_SETTLE, channel, list(event_ids), state, error)

    async def give_up(self, channel: str, after_s: float) -> int:
        """Give up what could not be told within so many seconds; return how many."""
        with translated():
            return int(await self._pool.fetchval(_GIVE_UP, channel, after_s))

    async def newest(self, most: int) -> list[Delivery]:
        """Return the newest events with what became of each on each channel, newest first."""
        with translated():
            rows = await self._pool.fetch(_LIST, most)
        return [
            Delivery(
                _kept(row, row["attempts"] or 0), row["channel"], row["state"] or "nobody is told", row["settled_at"],
                row["error"] or "",
            )
            for row in rows
        ]  # fmt: skip

    async def _new(
        self, connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record], since: datetime, silent_s: float | None
    ) -> list[Event]:
        rows = await connection.fetch(_NEW, since, self._disconnect_s, silent_s, _SUMMARY_AFTER_S)
        events = [_kept(row, 1) for row in rows]
        return [
            replace(each, details=await self._day(connection, each.details)) if each.kind == "summary" else each
            for each in events
        ]

    async def _day(
        self, connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record], details: Mapping[str, Any]
    ) -> dict[str, Any]:
        begins, ends = (datetime.fromisoformat(details[name]) for name in ("opens_at", "closes_at"))
        row = await connection.fetchrow(_DAY, date.fromisoformat(details["trade_date"]), begins, ends)
        assert row is not None  # noqa: S101 - a SELECT without FROM has one row
        return {**details, **row, "accounts": orjson.loads(row["accounts"])}

    async def _put(
        self,
        connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record],
        events: Sequence[Event],
        channels_of: Callable[[str], Sequence[str]],
    ) -> int:
        addressed = [(event.event_id, channel) for event in events for channel in channels_of(event.kind)]
        added = await connection.fetch(
            _PUT, [event.event_id for event in events], [event.kind for event in events],
            [event.at for event in events], [orjson.dumps(event.details).decode() for event in events],
            [event_id for event_id, _ in addressed], [channel for _, channel in addressed],
        )  # fmt: skip
        return len(added)


def _kept(row: asyncpg.Record, attempts: int) -> Event:
    return Event(row["event_id"], row["kind"], row["at"], orjson.loads(row["details"]), attempts)
