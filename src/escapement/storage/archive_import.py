"""An archive back into a database, which need not be empty."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import asyncpg

from escapement.errors import InvalidInput, StorageError, StorageUnavailable
from escapement.model import Timeframe, TimeframeUnit
from escapement.storage import queries
from escapement.storage.archive import TABLES, Part, parts_in
from escapement.storage.database import DBHandler
from escapement.storage.failures import translated
from escapement.storage.parquet import ParquetParts

_INSERTS = {table.name: queries.load(f"import_{table.name}") for table in TABLES}
_DIFFERING = queries.load("differing_bar")
_STAGED = "staged_rows"


@dataclass(frozen=True, slots=True)
class Imported:
    """How many rows of how many files were read, and how many of the rows were not there yet."""

    rows: int
    files: int
    added: int


async def import_archive(
    database: DBHandler, folder: Path, progress: Callable[[int, int], None] | None = None
) -> Imported:
    """Put what an archive holds and the database does not into it, a file at a time, each whole or not at all.

    Bars keep their provenance and revision; one that comes in behind others counts as revised, as always. What is
    there is never changed, except that coverage grows. It can be stopped and repeated at will.

    Args:
        database: with our tables.
        folder: of the archive.
        progress: told how many files of how many are done.

    Raises:
        ConfigurationError: a file cannot be used, the database has another bar in place of one, or pyarrow lacks.
        StorageError: the database does not answer, or refuses what a file holds.
    """
    parts = ParquetParts()
    found = await asyncio.to_thread(parts_in, folder)
    rows = added = 0
    for number, part in enumerate(found, start=1):
        held = await asyncio.to_thread(parts.read, part)
        try:
            with translated():
                async with database.pool.acquire() as connection, connection.transaction():
                    added += await _put(connection, part, held)
        except StorageUnavailable:
            raise
        except StorageError as error:
            raise StorageError(f"{part.path}: {error}; what was read before it stays") from error
        rows += len(held)
        if progress is not None:
            progress(number, len(found))
    return Imported(rows, len(found), added)


async def _put(
    connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record], part: Part, rows: list[tuple[object, ...]]
) -> int:
    columns = ["contract_id", *part.table.columns]
    await connection.execute(
        f"CREATE TEMPORARY TABLE {_STAGED} ON COMMIT DROP AS "  # noqa: S608 - names of our own
        f"SELECT {', '.join(columns)} FROM {part.table.name} WITH NO DATA"
    )
    records = [(part.contract_id, *row) for row in rows]
    await connection.copy_records_to_table(_STAGED, records=records, columns=columns)
    await connection.execute(f"ANALYZE {_STAGED}")
    if part.table.name != "ohlc_bars":
        return int(await connection.fetchval(_INSERTS[part.table.name]))
    begin = datetime.combine(part.day, time(), UTC)
    stretch = part.contract_id, begin, begin + timedelta(days=1)
    other = await connection.fetchrow(_DIFFERING, *stretch)
    if other is not None:
        raise InvalidInput(f"{part.path}: {_difference(other)}; import into an empty database, or move the file away")
    return int(await connection.fetchval(_INSERTS[part.table.name], *stretch))


def _difference(row: asyncpg.Record) -> str:
    timeframe = Timeframe(TimeframeUnit(row["timeframe_unit"]), row["timeframe_value"])
    return (
        f"the {timeframe} bar of {row['timestamp']:%Y-%m-%d %H:%M:%S}Z (revision {row['revision']}) is another "
        f"one in the database (revision {row['stored_revision']})"
    )
