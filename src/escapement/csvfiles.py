"""Trades and bars in CSV files.

Bars: ``contract_id,timestamp,timeframe_unit,timeframe_value,open,high,low,close,volume``. Trades:
``timestamp,price,volume`` and optionally ``contract_id,aggressor_side``. Timestamps are ISO 8601 with a zone; a name
ending in .gz is compressed. Columns may stand in any order, others are ignored. Every fault names file, line, field,
value and remedy.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO, TypeVar

from escapement.errors import InvalidInput, InvalidTimeframe
from escapement.model import AggressorSide, Bar, SessionCalendar, Timeframe, TimeframeUnit, Trade
from escapement.moments import iso_from_ns, ns_from_iso

if TYPE_CHECKING:
    from _csv import Reader

Row = dict[str, str]
T = TypeVar("T")

BAR_COLUMNS = (
    "contract_id", "timestamp", "timeframe_unit", "timeframe_value", "open", "high", "low", "close", "volume",
)  # fmt: skip
TRADE_COLUMNS = ("timestamp", "price", "volume")
_PRICES = ("open", "high", "low", "close")
_END_NS = ns_from_iso("2262-01-01T00:00:00Z")  # columns and the database hold 64 bits
_VOLUME_DIGITS = 12
_SIDES = {side.value: side for side in AggressorSide} | {"": AggressorSide.NONE}


def kind_of(path: Path) -> Literal["bars", "trades"]:
    """Tell by its header whether a file holds bars or trades.

    Raises:
        InvalidInput: it holds neither, or cannot be read.
    """
    with _reading(path) as reader:
        header = next(reader, [])
    if set(BAR_COLUMNS) <= set(header):
        return "bars"
    if set(TRADE_COLUMNS) <= set(header):
        return "trades"
    raise InvalidInput(
        f"{path}: the first line is {','.join(header)!r}; bars need the columns {','.join(BAR_COLUMNS)}, "
        f"trades need {','.join(TRADE_COLUMNS)}"
    )


def read_trades(path: Path, contract_id: str | None = None) -> Iterator[Trade]:
    """Yield the trades of a file in its order.

    Args:
        path: the file.
        contract_id: whose trades they are when the file has no ``contract_id`` column.

    Raises:
        InvalidInput: something in the file cannot be used.
    """

    def trade(row: Row) -> Trade:
        named = row.get("contract_id") or contract_id
        if not named:
            raise InvalidInput("contract_id is missing; add the column or name the contract with --contract")
        side = row.get("aggressor_side", "")
        if side not in _SIDES:
            raise InvalidInput(f"aggressor_side {side!r} is unknown; use buy, sell, none or nothing")
        return Trade(named, _time(row), _price(row, "price"), _volume(row), _SIDES[side])

    return _records(path, TRADE_COLUMNS, trade)


def read_bars(path: Path, calendar_for: Callable[[str], SessionCalendar]) -> Iterator[Bar]:
    """Yield the bars of a file in its order; the calendar of each contract tells when a bar ends.

    Raises:
        InvalidInput: something in the file cannot be used, or the calendar has no such bar.
    """
    calendars: dict[str, SessionCalendar] = {}
    timeframes: dict[tuple[str, str], Timeframe] = {}

    def bar(row: Row) -> Bar:
        contract_id = row["contract_id"]
        if contract_id not in calendars:
            calendars[contract_id] = calendar_for(contract_id)
        unit_and_value = row["timeframe_unit"], row["timeframe_value"]
        if unit_and_value not in timeframes:
            timeframes[unit_and_value] = _timeframe(*unit_and_value)
        timeframe = timeframes[unit_and_value]
        label_ns = _time(row)
        interval = calendars[contract_id].interval_labelled(timeframe, label_ns)
        if interval is None:
            raise InvalidInput(
                f"timestamp {row['timestamp']!r} begins no {timeframe} bar of calendar "
                f"{calendars[contract_id].name}; bars are labelled with their start, days with 00:00Z of the trade date"
            )
        opened, high, low, close = (_price(row, name) for name in _PRICES)
        if high < max(opened, low, close) or low > min(opened, close):
            raise InvalidInput(f"high {high} and low {low} do not enclose open {opened} and close {close}")
        return Bar(contract_id, timeframe, label_ns, interval.end_ns, opened, high, low, close, _volume(row))

    return _records(path, BAR_COLUMNS, bar)


def write_bars(path: Path, bars: Iterable[Bar]) -> None:
    """Write bars in the order given; prices as the shortest text that reads back as the same number."""
    with _writing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(BAR_COLUMNS)
        for bar in bars:
            frame = bar.timeframe
            writer.writerow(
                (
                    bar.contract_id, iso_from_ns(bar.start_ns), int(frame.unit), frame.value,
                    bar.open, bar.high, bar.low, bar.close, bar.volume,
                )
            )  # fmt: skip


def write_trades(path: Path, trades: Iterable[Trade]) -> None:
    """Write trades in the order given, with contract and aggressor side."""
    with _writing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*TRADE_COLUMNS, "contract_id", "aggressor_side"))
        for trade in trades:
            writer.writerow(
                (iso_from_ns(trade.at_ns), trade.price, trade.volume, trade.contract_id, trade.aggressor.value)
            )


@contextmanager
def _reading(path: Path) -> Iterator[Reader]:
    """Open a file for reading by line; say where, when a line cannot be used."""
    with io.TextIOWrapper(_opened(path), encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            yield reader
        except InvalidInput as error:
            raise InvalidInput(f"{path}: line {reader.line_num}: {error}") from None
        except (csv.Error, UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
            raise InvalidInput(f"{path}: line {reader.line_num}: is not CSV text: {error}") from error


def _opened(path: Path) -> gzip.GzipFile | io.BufferedReader:
    try:
        return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}; name a file that can be read") from error


def _records(path: Path, needed: tuple[str, ...], parse: Callable[[Row], T]) -> Iterator[T]:
    with _reading(path) as reader:
        header = next(reader, [])
        for name in needed:
            if header.count(name) != 1:
                times = "missing from" if name not in header else "named twice in"
                raise InvalidInput(f"column {name} is {times} {','.join(header)!r}; it needs {','.join(needed)}")
        for fields in reader:
            if len(fields) == len(header):
                yield parse(dict(zip(header, fields, strict=True)))
            elif fields:
                raise InvalidInput("has not as many fields as the first line has columns")


def _writing(path: Path) -> TextIO:
    try:
        if path.suffix == ".gz":
            return io.TextIOWrapper(gzip.open(path, "wb"), encoding="utf-8", newline="")
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}; name a place that can be written") from error


def _time(row: Row) -> int:
    try:
        at_ns = ns_from_iso(row["timestamp"])
    except InvalidInput as error:
        raise InvalidInput(f"timestamp: {error}") from None
    if not 0 <= at_ns < _END_NS:
        raise InvalidInput(f"timestamp {row['timestamp']!r} is not of the years 1970 to 2261; correct the line")
    return at_ns


def _price(row: Row, name: str) -> float:
    try:
        price = float(row[name])
    except ValueError:
        price = -1.0
    if not 0 < price < inf:
        raise InvalidInput(f"{name} {row[name]!r} is not a positive number; correct or remove the line")
    return price


def _volume(row: Row) -> int:
    text = row["volume"]
    if not (text.isascii() and text.isdigit() and len(text) <= _VOLUME_DIGITS):
        raise InvalidInput(
            f"volume {text!r} is not a whole number of contracts, zero to {10**_VOLUME_DIGITS - 1}; correct or remove "
            "the line"
        )
    return int(text)


def _timeframe(unit: str, value: str) -> Timeframe:
    try:
        return Timeframe(TimeframeUnit(int(unit)), int(value))
    except InvalidTimeframe as error:
        raise InvalidInput(str(error)) from None
    except ValueError:
        raise InvalidInput(
            f"timeframe_unit {unit!r} and timeframe_value {value!r} name no timeframe; units are 1 second, 2 minute, "
            "3 hour, 4 day, 5 week, 6 month"
        ) from None
