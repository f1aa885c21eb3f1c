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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, TextIO

from escapement.errors import InvalidInput, InvalidTimeframe
from escapement.model import AggressorSide, Bar, SessionCalendar, Timeframe, TimeframeUnit, Trade
from escapement.moments import iso_from_ns, ns_from_iso

BAR_COLUMNS = (
    "contract_id", "timestamp", "timeframe_unit", "timeframe_value", "open", "high", "low", "close", "volume",
)  # fmt: skip
TRADE_COLUMNS = ("timestamp", "price", "volume")
_PRICES = ("open", "high", "low", "close")
_SIDES = {side.value: side for side in AggressorSide} | {"": AggressorSide.NONE}


def kind_of(path: Path) -> Literal["bars", "trades"]:
    """Tell by its header whether a file holds bars or trades.

    Raises:
        InvalidInput: it holds neither, or cannot be read.
    """
    with _reading(path) as file:
        header = next(csv.reader(file), [])
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
    for where, row in _rows(path, TRADE_COLUMNS):
        named = row.get("contract_id") or contract_id
        if not named:
            raise InvalidInput(f"{where}: contract_id is missing; add the column or name the contract with --contract")
        side = row.get("aggressor_side") or ""
        if side not in _SIDES:
            raise InvalidInput(f"{where}: aggressor_side {side!r} is unknown; use buy, sell, none or nothing")
        yield Trade(named, _time(where, row), _price(where, row, "price"), _volume(where, row), _SIDES[side])


def read_bars(path: Path, calendar_for: Callable[[str], SessionCalendar]) -> Iterator[Bar]:
    """Yield the bars of a file in its order; the calendar of each contract tells when a bar ends.

    Raises:
        InvalidInput: something in the file cannot be used, or the calendar has no such bar.
    """
    calendars: dict[str, SessionCalendar] = {}
    timeframes: dict[tuple[str, str], Timeframe] = {}
    for where, row in _rows(path, BAR_COLUMNS):
        contract_id = row["contract_id"]
        if contract_id not in calendars:
            calendars[contract_id] = calendar_for(contract_id)
        unit_and_value = row["timeframe_unit"], row["timeframe_value"]
        if unit_and_value not in timeframes:
            timeframes[unit_and_value] = _timeframe(where, row)
        timeframe = timeframes[unit_and_value]
        label_ns = _time(where, row)
        interval = calendars[contract_id].interval_labelled(timeframe, label_ns)
        if interval is None:
            raise InvalidInput(
                f"{where}: timestamp {row['timestamp']!r} begins no {timeframe} bar of calendar "
                f"{calendars[contract_id].name}; bars are labelled with their start, days with 00:00Z of the trade date"
            )
        opened, high, low, close = (_price(where, row, name) for name in _PRICES)
        if high < max(opened, low, close) or low > min(opened, close):
            raise InvalidInput(f"{where}: high {high} and low {low} do not enclose open {opened} and close {close}")
        yield Bar(contract_id, timeframe, label_ns, interval.end_ns, opened, high, low, close, _volume(where, row))


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


def _reading(path: Path) -> TextIO:
    try:
        if path.suffix == ".gz":
            return io.TextIOWrapper(gzip.open(path, "rb"), encoding="utf-8", newline="")
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}; name a file that can be read") from error


def _writing(path: Path) -> TextIO:
    try:
        if path.suffix == ".gz":
            return io.TextIOWrapper(gzip.open(path, "wb"), encoding="utf-8", newline="")
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}; name a place that can be written") from error


def _rows(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    with _reading(path) as file:
        reader = csv.DictReader(file, strict=True)
        try:
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                found = ",".join(reader.fieldnames or ())
                raise InvalidInput(
                    f"{path}: column {missing[0]} is missing from {found!r}; it needs {','.join(needed)}"
                )
            for row in reader:
                where = f"{path}: line {reader.line_num}"
                if None in row or None in row.values():
                    raise InvalidInput(f"{where}: has not as many fields as the first line has columns")
                yield where, row
        except (csv.Error, UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
            raise InvalidInput(f"{path}: line {reader.line_num}: is not CSV text: {error}") from error


def _time(where: str, row: dict[str, str]) -> int:
    try:
        return ns_from_iso(row["timestamp"])
    except InvalidInput as error:
        raise InvalidInput(f"{where}: timestamp: {error}") from None


def _price(where: str, row: dict[str, str], name: str) -> float:
    try:
        price = float(row[name])
    except ValueError:
        price = -1.0
    if not 0 < price < float("inf"):
        raise InvalidInput(f"{where}: {name} {row[name]!r} is not a positive number; correct or remove the line")
    return price


def _volume(where: str, row: dict[str, str]) -> int:
    text = row["volume"]
    try:
        return _whole(text)
    except ValueError:
        raise InvalidInput(
            f"{where}: volume {text!r} is not a whole number of contracts, zero or more; correct or remove the line"
        ) from None


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(text)
    return int(text)


def _timeframe(where: str, row: dict[str, str]) -> Timeframe:
    try:
        return Timeframe(TimeframeUnit(int(row["timeframe_unit"])), int(row["timeframe_value"]))
    except InvalidTimeframe as error:
        raise InvalidInput(f"{where}: {error}") from None
    except ValueError:
        raise InvalidInput(
            f"{where}: timeframe_unit {row['timeframe_unit']!r} and timeframe_value {row['timeframe_value']!r} name no "
            "timeframe; units are 1 second, 2 minute, 3 hour, 4 day, 5 week, 6 month"
        ) from None
