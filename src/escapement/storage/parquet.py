"""Parts of an archive as Parquet files; needs pyarrow, which is an extra."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from escapement.errors import InvalidInput, not_installed
from escapement.storage.archive import ArchivedTable, Part

_MARK, _FORMAT = b"escapement", b"1"


class ParquetParts:
    """Writes and reads parts. Both block, for as long as the disk takes.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """

    def __init__(self) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415 - few need it, and it is large
            from pyarrow import parquet  # noqa: PLC0415
        except ImportError:
            raise not_installed("pyarrow reads and writes Parquet", "parquet") from None
        self._pa: Any = pa
        self._parquet: Any = parquet
        self._types = {
            "text": pa.string(), "timestamptz": pa.timestamp("us", "UTC"), "date": pa.date32(),
            "int": pa.int32(), "bigint": pa.int64(), "float": pa.float64(), "bool": pa.bool_(),
        }  # fmt: skip

    def write(self, part: Part, rows: Sequence[Sequence[object]]) -> bool:
        """Make the file hold these rows, columns as in the table; return whether it did not before.

        The file is there whole or not at all, whatever happens.

        Raises:
            InvalidInput: the folder cannot be written.
        """
        schema = self._schema(part.table)
        columns = [
            self._pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)
        ]
        table = self._pa.Table.from_arrays(columns, schema=schema)
        try:
            if self._holds(part, table):
                return False
            part.path.parent.mkdir(parents=True, exist_ok=True)
            partial = part.path.with_suffix(".partial")
            with partial.open("wb") as file:
                self._parquet.write_table(table, file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
            partial.rename(part.path)
        except OSError as error:
            raise InvalidInput(
                f"{part.path} cannot be written: {error.strerror or error}; name another folder"
            ) from error
        return True

    def read(self, part: Part) -> list[tuple[object, ...]]:
        """Return a part's rows, columns as in the table.

        Raises:
            InvalidInput: the file is damaged, is no part of an archive of ours, or holds what does not belong there.
        """
        try:
            table = self._parquet.read_table(part.path, partitioning=None)
        except (OSError, self._pa.ArrowException) as error:
            told = str(error).partition("\n")[0]
            raise InvalidInput(f"{part.path} cannot be read: {told}; export it again, or move it away") from error
        schema = self._schema(part.table)
        mark = (table.schema.metadata or {}).get(_MARK)
        if mark != _FORMAT:
            what = "comes from a newer version of this program" if mark else "was not written by escapement db export"
            raise InvalidInput(f"{part.path} {what}; update the program, or move the file away")
        if not table.schema.equals(schema):
            raise InvalidInput(
                f"{part.path} has the columns {_described(table.schema)} and not {_described(schema)}; export it "
                "again, or move it away"
            )
        columns = [column.to_pylist() for column in table.columns]
        rows = list(zip(*columns, strict=True))
        self._check_day(part, columns[schema.get_field_index(part.table.moment)])
        return rows

    def _holds(self, part: Part, table: Any) -> bool:
        if not part.path.exists():
            return False
        try:
            return bool(self._parquet.read_table(part.path, partitioning=None).equals(table, check_metadata=True))
        except (OSError, self._pa.ArrowException):
            return False

    def _schema(self, table: ArchivedTable) -> Any:
        fields = [(name, self._types[kind]) for name, kind in table.columns.items()]
        return self._pa.schema(fields, metadata={_MARK: _FORMAT})

    @staticmethod
    def _check_day(part: Part, moments: Sequence[Any]) -> None:
        for moment in moments:
            if moment is None or part.table.day_of(moment) != part.day:
                raise InvalidInput(
                    f"{part.path}: {part.table.moment} {moment} is not of the day {part.day}; export it again, or move "
                    "it away"
                )


def _described(schema: Any) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
