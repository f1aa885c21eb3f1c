"""``escapement signals``: what analyzers say about the bars of a file, and what they said about stored ones."""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import orjson
import typer

from escapement import wiring
from escapement.analyzers import find_analyzer
from escapement.calendars import calendar_for_contract, calendar_names
from escapement.charts import write_chart
from escapement.cli import app, settings_of
from escapement.cli.tables import print_table
from escapement.core.analysis import check_follows
from escapement.csvfiles import read_bars
from escapement.errors import InvalidInput
from escapement.model import Bar, Signal, Timeframe
from escapement.moments import iso_from_ns, ns_from_iso
from escapement.settings import Settings
from escapement.storage.analysis import AnalysisStore, KeptSignal

signals_app = typer.Typer(help="What analyzers say about bars.", no_args_is_help=True)
app.add_typer(signals_app, name="signals")

COLUMNS = ("trigger_bar", "trigger_timestamp", "bar", "timestamp", "signal_type", "price", "rule")

BarsFile = Annotated[Path, typer.Argument(metavar="BARS.csv", help="CSV of bars of one contract and timeframe.")]
AnalyzerName = Annotated[str, typer.Option(metavar="NAME", help="A name of escapement analyzers list, or a .py file.")]
Params = Annotated[
    list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="A parameter of the analyzer; repeatable.")
]
Calendar = Annotated[
    str | None, typer.Option(help=f"Trading sessions, one of {', '.join(calendar_names())}; else by product.")
]


@signals_app.command("list")
def list_signals(
    context: typer.Context,
    contract: Annotated[list[str] | None, typer.Option(help="A contract's id; repeatable.")] = None,
    timeframe: Annotated[list[str] | None, typer.Option(help="Such as 5m; repeatable.")] = None,
    analyzer: Annotated[list[str] | None, typer.Option(metavar="NAME", help="An analyzer; repeatable.")] = None,
    signal_type: Annotated[list[str] | None, typer.Option("--type", help="Such as uptrendStart; repeatable.")] = None,
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Known from then on, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Known before then, ISO 8601.")] = None,
    superseded: Annotated[
        bool, typer.Option("--superseded", help="Also those that no longer hold since bars were revised.")
    ] = False,
    last: Annotated[int, typer.Option(min=0, help="How many, the newest; 0 for all.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the signals that escapement analyze stored, in the order in which they became known."""
    settings = settings_of(context, logging={"level": "warning"})
    timeframes = None if timeframe is None else [Timeframe.parse(each) for each in timeframe]
    bounds = [None if each is None else ns_from_iso(each) for each in (since, until)]

    async def find(settings: Settings) -> list[KeptSignal]:
        async with wiring.database(settings) as database:
            return await AnalysisStore(database).signals(
                contracts=contract, timeframes=timeframes, analyzers=analyzer, signal_types=signal_type,
                from_ns=bounds[0], to_ns=bounds[1], superseded=superseded, most=last or None,
            )  # fmt: skip

    found = asyncio.run(find(settings))
    if json:
        typer.echo(orjson.dumps([_plain(each) for each in found], option=orjson.OPT_INDENT_2))
    elif not found:
        typer.echo("No signals.")
    else:
        print_table(
            ["number", "known at", "contract", "timeframe", "analyzer", "signal", "price", "bar", "rule", "note"],
            [
                (
                    str(each.signal_id), iso_from_ns(each.known_at_ns), each.key.contract_id, each.key.timeframe,
                    each.key.analyzer, each.signal_type, each.price, iso_from_ns(each.bar_start_ns), each.rule,
                    _note(each),
                )
                for each in found
            ],
            wrapped="note",
        )  # fmt: skip


def _note(each: KeptSignal) -> str:
    notes = [] if each.trigger_whole else ["trigger bar not whole"]
    if each.superseded_ns is not None:
        notes.append(f"superseded {'' if each.superseded_by is None else f'by {each.superseded_by}'}".strip())
    return "; ".join(notes)


def _plain(each: KeptSignal) -> dict[str, object]:
    return {
        "signal_id": each.signal_id,
        "analyzer": each.key.analyzer,
        "version": each.key.version,
        "params": orjson.loads(each.key.params),
        "contract_id": each.key.contract_id,
        "timeframe": str(each.key.timeframe),
        "signal_type": each.signal_type,
        "timestamp": iso_from_ns(each.bar_start_ns),
        "trigger_timestamp": iso_from_ns(each.trigger_start_ns),
        "known_at": iso_from_ns(each.known_at_ns),
        "price": each.price,
        "rule": each.rule,
        "trigger_whole": each.trigger_whole,
        "stored_at": iso_from_ns(each.stored_ns),
        "superseded_at": None if each.superseded_ns is None else iso_from_ns(each.superseded_ns),
        "superseded_by": each.superseded_by,
    }


@signals_app.command()
def detect(
    bars_file: BarsFile,
    analyzer: AnalyzerName,
    out: Annotated[Path, typer.Option(metavar="FILE", help="CSV to write, or - for standard output.")],
    param: Params = None,
    calendar: Calendar = None,
    columns: Annotated[str, typer.Option(help="Which columns to write, in which order.")] = ",".join(COLUMNS),
) -> None:
    """Run an analyzer over a file of bars and write its signals in the order in which they become known.

    trigger_bar and bar count the file's bars from 1; trigger_timestamp and timestamp are their starts.
    """
    chosen = columns.split(",")
    unknown = [name for name in chosen if name not in COLUMNS]
    if unknown:
        raise InvalidInput(f"--columns {', '.join(unknown)!r} is unknown; use some of {','.join(COLUMNS)}")
    bars = one_stream(bars_file, calendar)
    signals = detected(bars, analyzer, param)
    write_signals(out, bars, signals, chosen)
    if str(out) != "-":
        typer.echo(f"{out}: {len(signals):,} signals of {analyzer} on {len(bars):,} bars")


@signals_app.command()
def plot(
    bars_file: BarsFile,
    analyzer: AnalyzerName,
    out: Annotated[Path, typer.Option(metavar="FILE", help="A picture (.png) or a page to zoom in (.html).")],
    param: Params = None,
    calendar: Calendar = None,
    last: Annotated[int, typer.Option(min=0, help="How many bars to draw, counted from the end; 0 for all.")] = 200,
) -> None:
    """Draw candles with an analyzer's signals; the analyzer reads the whole file whatever part is drawn."""
    bars = one_stream(bars_file, calendar)
    signals = detected(bars, analyzer, param)
    shown = bars[-last:]
    write_chart(out, shown, signals, f"{shown[0].contract_id} {shown[0].timeframe}: {analyzer}")
    typer.echo(f"{out}: {len(shown):,} bars")


def one_stream(path: Path, calendar: str | None) -> list[Bar]:
    """Read the bars of one contract and timeframe, in order of time.

    Raises:
        InvalidInput: the file holds anything else.
    """
    bars: list[Bar] = []
    for bar in read_bars(path, lambda contract_id: calendar_for_contract(contract_id, calendar)):
        try:
            check_follows(bar, bars[-1] if bars else None)
        except InvalidInput as error:
            raise InvalidInput(f"{path}: line {len(bars) + 2}: {error}") from None
        bars.append(bar)
    if not bars:
        raise InvalidInput(f"{path}: holds no rows after the first line")
    return bars


def detected(bars: list[Bar], analyzer: str, param: list[str] | None) -> list[Signal]:
    """Run an analyzer, named and with parameters as on the command line, over bars."""
    plugin = find_analyzer(analyzer)
    machine = plugin.create(plugin.params(named_values(param)))
    return [signal for bar in bars for step in (machine.push(bar), machine.advance(bar.end_ns)) for signal in step]


def named_values(texts: list[str] | None) -> dict[str, object]:
    """Read ``["fast=10"]``; raises InvalidInput for a text without a name."""
    values: dict[str, object] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise InvalidInput(f"--param {text!r} is not NAME=VALUE; write for example --param fast=10")
        values[name] = value
    return values


def rows(bars: list[Bar], signals: list[Signal]) -> Iterator[dict[str, object]]:
    """Yield a row for each signal."""
    number = {bar.start_ns: count for count, bar in enumerate(bars, 1)}
    for signal in signals:
        yield {
            "trigger_bar": number[signal.trigger_start_ns],
            "trigger_timestamp": iso_from_ns(signal.trigger_start_ns),
            "bar": number[signal.bar_start_ns],
            "timestamp": iso_from_ns(signal.bar_start_ns),
            "signal_type": signal.signal_type,
            "price": signal.price,
            "rule": signal.rule,
        }


def write_signals(out: Path, bars: list[Bar], signals: list[Signal], columns: list[str]) -> None:
    """Write the chosen columns; raises InvalidInput when the file cannot be written."""
    try:
        to_stdout = str(out) == "-"
        with nullcontext(sys.stdout) if to_stdout else out.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows(bars, signals))
    except OSError as error:
        raise InvalidInput(f"--out {str(out)!r}: {error.strerror}; name a place that can be written") from error
