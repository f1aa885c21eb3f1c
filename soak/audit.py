"""Who wrote what, and who held the lease for it: written down by the database itself.

Each program connects as a user of its own. A trigger on the tables that a lease covers notes the user, and the holder
of the lease at that moment, whose process id tells which program it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

_SCHEMA = """
CREATE TABLE audit (place text, who text, resource text, holder text, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
    kept jsonb := to_jsonb(NEW);
    named text := CASE TG_TABLE_NAME
        WHEN 'stage_states' THEN kept ->> 'name'
        WHEN 'orders' THEN 'execute ' || (kept ->> 'account')
        WHEN 'execution_wishes' THEN 'execute ' || (kept ->> 'account')
        ELSE 'ingest ' || (kept ->> 'contract_id') END;
BEGIN
    INSERT INTO audit (place, who, resource, holder)
    SELECT TG_TABLE_NAME, current_user, named, (SELECT holder FROM leases WHERE resource = named);
    RETURN NULL;
END $body$
"""
TABLES = "ohlc_bars", "coverage", "data_gaps", "stage_states", "orders", "execution_wishes"


@dataclass
class Audit:
    """Of one database."""

    url: str
    users: list[str] = field(default_factory=list)

    async def begin(self) -> None:
        connection = await asyncpg.connect(self.url)
        await connection.execute(_SCHEMA)
        for table in TABLES:
            await connection.execute(
                f"CREATE TRIGGER audited AFTER INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION audit()"
            )
        await connection.close()

    async def user(self) -> tuple[str, str]:
        """Make a user; return the name and the URL with which a program connects as this one."""
        name = f"user_{uuid4().hex[:12]}"
        connection = await asyncpg.connect(self.url)
        await connection.execute(f"CREATE ROLE {name} LOGIN SUPERUSER")
        await connection.close()
        self.users.append(name)
        parts = urlsplit(self.url)
        _, at, place = parts.netloc.rpartition("@")
        return name, urlunsplit(parts._replace(netloc=f"{name}{at or '@'}{place}"))

    async def end(self) -> None:
        connection = await asyncpg.connect(self.url)
        for name in self.users:
            await connection.execute(f"DROP ROLE {name}")
        await connection.close()

    async def wrong(self, pids: dict[str, Sequence[int]]) -> list[str]:
        """Return the writes by anyone but the holder; ``pids``: of each user the processes that connected as it."""
        connection = await asyncpg.connect(self.url)
        rows = await connection.fetch(
            "SELECT place, who, resource, holder, count(*) AS rows, min(at) AS at FROM audit"
            " GROUP BY place, who, resource, holder ORDER BY min(at)"
        )
        await connection.close()
        return [
            f"{row['at']} {row['rows']} rows of {row['place']} by {row['who']}: {row['holder']} held {row['resource']}"
            for row in rows
            if row["who"] in pids and not any(f":{pid}/" in (row["holder"] or "") for pid in pids[row["who"]])
        ]

    async def writers(self, prefix: str = "") -> set[str]:
        """Return who wrote what a resource of this name covers."""
        connection = await asyncpg.connect(self.url)
        rows = await connection.fetch("SELECT DISTINCT who FROM audit WHERE starts_with(resource, $1)", prefix)
        await connection.close()
        return {row["who"] for row in rows}
