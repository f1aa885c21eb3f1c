"""``escapement bars aggregate``: bars from a file of trades or of smaller bars, offline."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

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
T = TypeVar("T")


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

    built: Built = {}
    if kind_of(file) == "trades":
        for name, trades in _trades_by_contract(_shown(read_trades(file, contract))).items():
            with _naming(file, name):
                built[name] = aggregate_trades(trades, calendar_for(name), chosen)
    else:
        for name, bars in _bars_by_contract(file, _shown(read_bars(file, calendar_for))).items():
            with _naming(file, name):
                built[name] = aggregate_bars(bars, calendar_for(name), chosen)
    if not built:
        raise InvalidInput(f"{file}: holds no rows after the first line")
    _write(built, out)


def parse_timeframes(text: str) -> list[Timeframe]:
    """Read ``1h,4h,1d``; raises InvalidTimeframe for an unknown one."""
    return [Timeframe.parse(part) for part in text.split(",")]


@contextmanager
def _naming(file: Path, contract_id: str) -> Iterator[None]:
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(f"{file}: {contract_id}: {error}") from None


def _shown(rows: Iterable[T]) -> Iterable[T]:
    """Show on a terminal how far reading has got."""
    console = Console(stderr=True)
    return track(rows, "reading", console=console, transient=True, disable=not console.is_terminal)


def _trades_by_contract(trades: Iterable[Trade]) -> dict[str, TradeColumns]:
    """Keep a day of millions of trades in 24 bytes each."""
    groups: dict[str, tuple[array[int], array[float], array[int]]] = {}
    for trade in trades:
        if trade.contract_id not in groups:
            groups[trade.contract_id] = array("q"), array("d"), array("q")
        at_ns, price, volume = groups[trade.contract_id]
        at_ns.append(trade.at_ns)
        price.append(trade.price)
        volume.append(trade.volume)
    return {
        name: TradeColumns(np.array(at_ns, np.int64), np.array(price, np.float64), np.array(volume, np.int64))
        for name, (at_ns, price, volume) in groups.items()
    }


def _bars_by_contract(file: Path, bars: Iterable[Bar]) -> dict[str, BarColumns]:
    groups: dict[str, list[Bar]] = {}
    for bar in bars:
        groups.setdefault(bar.contract_id, []).append(bar)
    timeframes = sorted({bar.timeframe for group in groups.values() for bar in group})
    if len(timeframes) > 1:
        names = ", ".join(map(str, timeframes))
        raise InvalidInput(f"{file}: holds bars of several timeframes ({names}); split it into one file each")
    return {
        name: BarColumns.of(timeframes[0], sorted(group, key=lambda bar: bar.start_ns))
        for name, group in groups.items()
    }


def _write(built: Built, out: Path) -> None:
    for contract_id in built:
        if Path(contract_id).name != contract_id:
            raise InvalidInput(f"contract {contract_id!r} cannot name a file in {out}; correct the contract_id column")
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
