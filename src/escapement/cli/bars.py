"""``escapement bars aggregate``: bars from a file of trades or of smaller bars, offline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from escapement.calendars import calendar_for_contract, calendar_names
from escapement.cli import app
from escapement.core.aggregation.columns import BarColumns, TradeColumns, aggregate_bars, aggregate_trades
from escapement.csvfiles import kind_of, read_bars, read_trades, write_bars
from escapement.errors import InvalidInput
from escapement.model import Bar, SessionCalendar, Timeframe, Trade
from escapement.moments import iso_from_ns

bars_app = typer.Typer(help="Bars in files.", no_args_is_help=True)
app.add_typer(bars_app, name="bars")

Built = dict[str, dict[Timeframe, BarColumns]]
CalendarFor = Callable[[str], SessionCalendar]


@bars_app.command()
def aggregate(
    file: Annotated[Path, typer.Argument(help="CSV of trades or of smaller bars; the header tells which.")],
    timeframes: Annotated[str, typer.Option(help="What to build, such as 1h,4h,1d.")],
    out: Annotated[Path, typer.Option(help="Folder for one CSV per contract and timeframe; made when missing.")],
    contract: Annotated[str | None, typer.Option(help="Whose trades they are when the file does not say.")] = None,
    calendar: Annotated[
        str | None, typer.Option(help=f"Trading sessions, one of {', '.join(calendar_names())}; else by product.")
    ] = None,
) -> None:
    """Aggregate trades or bars to larger bars, as the venue aligns them; the cut-off last bar is included."""
    chosen = parse_timeframes(timeframes)

    def calendar_for(contract_id: str) -> SessionCalendar:
        return calendar_for_contract(contract_id, calendar)

    if kind_of(file) == "trades":
        built = {
            contract_id: aggregate_trades(_trade_columns(trades), calendar_for(contract_id), chosen)
            for contract_id, trades in _trades_by_contract(file, contract).items()
        }
    else:
        built = {
            contract_id: aggregate_bars(_bar_columns(file, bars), calendar_for(contract_id), chosen)
            for contract_id, bars in _bars_by_contract(file, calendar_for).items()
        }
    if not built:
        raise InvalidInput(f"{file}: holds no rows after the first line")
    _write(built, out)


def parse_timeframes(text: str) -> list[Timeframe]:
    """Read ``1h,4h,1d``; raises InvalidTimeframe for an unknown one."""
    return [Timeframe.parse(part) for part in text.split(",")]


def _trades_by_contract(file: Path, contract: str | None) -> dict[str, list[Trade]]:
    groups: dict[str, list[Trade]] = {}
    for trade in read_trades(file, contract):
        groups.setdefault(trade.contract_id, []).append(trade)
    return groups


def _bars_by_contract(file: Path, calendar_for: CalendarFor) -> dict[str, list[Bar]]:
    groups: dict[str, list[Bar]] = {}
    for bar in read_bars(file, calendar_for):
        groups.setdefault(bar.contract_id, []).append(bar)
    return groups


def _trade_columns(trades: Sequence[Trade]) -> TradeColumns:
    return TradeColumns(
        np.array([trade.at_ns for trade in trades], np.int64),
        np.array([trade.price for trade in trades], np.float64),
        np.array([trade.volume for trade in trades], np.int64),
    )


def _bar_columns(file: Path, bars: Sequence[Bar]) -> BarColumns:
    timeframes = sorted({bar.timeframe for bar in bars})
    if len(timeframes) > 1:
        names = ", ".join(map(str, timeframes))
        raise InvalidInput(f"{file}: holds bars of several timeframes ({names}); split it into one file each")
    ordered = sorted(bars, key=lambda bar: bar.start_ns)
    return BarColumns(
        timeframes[0],
        np.array([bar.start_ns for bar in ordered], np.int64),
        np.array([bar.end_ns for bar in ordered], np.int64),
        np.array([bar.open for bar in ordered], np.float64),
        np.array([bar.high for bar in ordered], np.float64),
        np.array([bar.low for bar in ordered], np.float64),
        np.array([bar.close for bar in ordered], np.float64),
        np.array([bar.volume for bar in ordered], np.int64),
    )


def _write(built: Built, out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"--out {str(out)!r}: {error.strerror}; name a folder that can be written") from error
    for contract_id, by_timeframe in built.items():
        for timeframe, columns in by_timeframe.items():
            path = out / f"{contract_id}_{timeframe}.csv"
            write_bars(path, columns.bars(contract_id))
            first, last = iso_from_ns(int(columns.start_ns[0])), iso_from_ns(int(columns.start_ns[-1]))
            rows, volume = len(columns.start_ns), int(columns.volume.sum())
            typer.echo(f"{path}: {rows:,} {timeframe} bars of {contract_id}, {first} to {last}, volume {volume:,}")
