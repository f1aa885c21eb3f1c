"""Market data out of the database into an archive, as at one moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path

import asyncpg

from escapement.errors import InvalidInput
from escapement.storage import queries
from escapement.storage.archive import TABLES, ArchivedTable, part_of
from escapement.storage.failures import connecting, translated
from escapement.storage.parquet import ParquetParts

_CONTRACTS = queries.load("archived_contracts")
_FETCHED = 20_000
Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Exported:
    """How many rows are in how many files, and how many of these were not as they are now."""

    rows: int
    files: int
    written: int


async def export_archive(
    url: str, folder: Path, contracts: Sequence[str] | None = None, progress: Callable[[int, int], None] | None = None
) -> Exported:
    """Make the files in ``folder`` hold the market data of the database; files that do already are left alone.

    Files of days that the database no longer has stay as they are. It can be stopped and repeated at will.

    Args:
        url: of the database.
        folder: of the archive.
        contracts: which; None: all.
        progress: told how many rows of how many are done.

    Raises:
        ConfigurationError: the URL is refused, a contract is unknown, the folder cannot be written, or pyarrow lacks.
        StorageError: the database does not answer or refuses.
    """
    parts = ParquetParts()
    with connecting():
        # No limit on how long a statement takes: a contract's bars are sorted before the first is read.
        connection = await asyncpg.connect(url, timeout=30, server_settings={"TimeZone": "UTC"})
    rows = files = written = 0
    try:
        with translated():
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                counts = {row["contract_id"]: row["rows"] for row in await connection.fetch(_CONTRACTS)}
                chosen = _chosen(counts, contracts)
                total = sum(counts[each] for each in chosen)
                for contract_id in chosen:
                    for table in TABLES:
                        async for day, held in _days(connection, table, contract_id):
                            part = part_of(folder, table, contract_id, day)
                            written += await asyncio.to_thread(parts.write, part, held)
                            files, rows = files + 1, rows + len(held)
                            if progress is not None:
                                progress(rows, total)
    finally:
        await connection.close()
    return Exported(rows, files, written)


def _chosen(counts: dict[str, int], contracts: Sequence[str] | None) -> list[str]:
    if contracts is None:
        return sorted(counts)
    for each in contracts:
        if each not in counts:
            raise InvalidInput(
                f"contract {each!r} has nothing in the database; escapement db status names those that do"
            )
    return sorted(set(contracts))


async def _days(
    connection: asyncpg.Connection[asyncpg.Record], table: ArchivedTable, contract_id: str
) -> AsyncIterator[tuple[date, list[Row]]]:
    """Give a contract's rows of a table, a day at a time."""
    columns = list(table.columns)
    moment = columns.index(table.moment)
    sql = f"SELECT {', '.join(columns)} FROM {table.name} WHERE contract_id = $1 ORDER BY {table.order}"  # noqa: S608 - names of our own
    cursor = await connection.cursor(sql, contract_id)
    day: date | None = None
    held: list[Row] = []
    while fetched := await cursor.fetch(_FETCHED):
        for each, group in groupby(map(tuple, fetched), key=lambda row: table.day_of(row[moment])):
            if day is not None and each != day:
                yield day, held
                held = []
            day = each
            held += group
    if day is not None:
        yield day, held
