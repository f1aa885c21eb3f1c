"""How an archive of market data lies in a folder: a Parquet file for each table, contract and UTC day.

The folders are named as Hive names partitions, ``ohlc_bars/contract_id=CON.F.US.MES.H25/day=2025-03-03/part.parquet``,
so that other programs read the whole as one table. What only numbers rows of one database is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

from escapement.errors import InvalidInput

ColumnType = Literal["text", "timestamptz", "date", "int", "bigint", "float", "bool"]
FILE_NAME = "part.parquet"


@dataclass(frozen=True, slots=True)
class ArchivedTable:
    """A table of the archive.

    Args:
        name: as in the database.
        columns: types by name, without the contract, which the folder names.
        moment: the column whose UTC day says in which file a row is.
        order: how rows stand in a file.
    """

    name: str
    columns: Mapping[str, ColumnType]
    moment: str
    order: str

    def day_of(self, value: date | datetime) -> date:
        """Return the day of a value of the moment column."""
        return value.astimezone(UTC).date() if isinstance(value, datetime) else value


_SERIES: dict[str, ColumnType] = {"timestamp": "timestamptz", "timeframe_unit": "int", "timeframe_value": "int"}
_VALUES: dict[str, ColumnType] = {
    "open": "float", "high": "float", "low": "float", "close": "float", "volume": "bigint",
}  # fmt: skip
_STRETCH: dict[str, ColumnType] = {"begins_at": "timestamptz", "ends_at": "timestamptz"}

# In the order in which they are read back: what is said of bars comes after the bars.
TABLES = (
    ArchivedTable(
        "ohlc_bars",
        {**_SERIES, **_VALUES, "ends_at": "timestamptz", "whole": "bool", "source": "text", "revision": "int"},
        "timestamp", "timestamp, timeframe_unit, timeframe_value",
    ),
    ArchivedTable(
        "bar_revisions",
        {**_SERIES, "revision": "int", **_VALUES, "whole": "bool", "source": "text", "revised_at": "timestamptz"},
        "timestamp", "timestamp, revision_id",
    ),
    ArchivedTable("coverage", {**_STRETCH, "source": "text"}, "begins_at", "begins_at, source"),
    ArchivedTable(
        "data_gaps",
        {
            **_STRETCH, "cause": "text", "detail": "text", "state": "text", "opened_at": "timestamptz",
            "closed_at": "timestamptz", "attempts": "int", "reason": "text", "revised": "int",
        },
        "begins_at", "begins_at, cause",
    ),
    ArchivedTable(
        "trading_periods", {"trade_date": "date", "opens_at": "timestamptz", "closes_at": "timestamptz"}, "trade_date",
        "trade_date, opens_at",
    ),
    ArchivedTable(
        "tracked_series", {"timeframe_unit": "int", "timeframe_value": "int", "since": "timestamptz"}, "since",
        "since, timeframe_unit, timeframe_value",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the archive: rows of one table, contract and day."""

    table: ArchivedTable
    contract_id: str
    day: date
    path: Path


def part_of(folder: Path, table: ArchivedTable, contract_id: str, day: date) -> Part:
    """Return the part of the archive in ``folder`` that holds these rows."""
    place = folder / table.name / f"contract_id={quote(contract_id, safe='')}" / f"day={day}" / FILE_NAME
    return Part(table, contract_id, day, place)


def parts_in(folder: Path) -> list[Part]:
    """Return what is there, contract after contract, in the order in which it is to be read back.

    Raises:
        InvalidInput: the folder holds something else than an archive.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is no folder; name one that escapement db export filled")
    found = [part for table in TABLES for part in _parts_of(folder, table)]
    if not found:
        raise InvalidInput(f"{folder} holds no {TABLES[0].name}/contract_id=…/day=…; name one that export filled")
    places = {table: place for place, table in enumerate(table.name for table in TABLES)}
    return sorted(found, key=lambda part: (part.contract_id, places[part.table.name], part.day))


def _parts_of(folder: Path, table: ArchivedTable) -> Iterator[Part]:
    for path in (folder / table.name).glob(f"*/*/{FILE_NAME}"):
        contract, _, quoted = path.parts[-3].partition("=")
        day_word, _, text = path.parts[-2].partition("=")
        try:
            day = date.fromisoformat(text)
        except ValueError:
            day = None
        if (contract, day_word) != ("contract_id", "day") or not quoted or day is None:
            raise InvalidInput(f"{path} does not lie in contract_id=…/day=YYYY-MM-DD; move it where it came from")
        yield Part(table, unquote(quoted), day, path)
