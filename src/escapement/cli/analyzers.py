"""``escapement analyzers``: which there are, a new one, and whether one keeps its promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from escapement.analyzers import available_analyzers, check_honesty, find_analyzer, write_template
from escapement.cli import app
from escapement.cli.signals import Calendar, Params, named_values, one_stream
from escapement.cli.tables import print_table

analyzers_app = typer.Typer(help="Analyzers: bars in, signals out.", no_args_is_help=True)
app.add_typer(analyzers_app, name="analyzers")


@analyzers_app.command("list")
def list_analyzers(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """List the analyzers that are built in or installed; exit code 1 when an installed one cannot be used."""
    found, faults = available_analyzers()
    columns = ("name", "version", "warm_up_bars", "parameters", "origin", "summary")
    rows = [
        (
            each.name, each.version, each.create(each.params_type()).warm_up_bars, each.describe_params(), each.origin,
            each.summary,
        )
        for each in found
    ]  # fmt: skip
    if as_json:
        typer.echo(json.dumps({"analyzers": [dict(zip(columns, row, strict=True)) for row in rows], "faults": faults}))
    else:
        print_table(columns, rows, wrapped="summary")
        for fault in faults:
            typer.echo(f"error: {fault}", err=True)
    if faults:
        raise typer.Exit(1)


@analyzers_app.command()
def new(
    name: Annotated[str, typer.Argument(help="Small letters, digits and _, such as my_rules.")],
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write; made when missing.")] = Path(),
) -> None:
    """Write a documented analyzer that works, to be changed, and its test."""
    for path in write_template(name, folder):
        typer.echo(f"wrote {path}")


@analyzers_app.command()
def check(
    name: Annotated[str, typer.Argument(help="A name of escapement analyzers list, or a .py file.")],
    bars: Annotated[Path, typer.Option(metavar="FILE", help="CSV of bars of one contract and timeframe.")],
    param: Params = None,
    calendar: Calendar = None,
) -> None:
    """Prove that an analyzer neither looks ahead nor hides state, and that its warm-up suffices; exit code 1 if not."""
    stream = one_stream(bars, calendar)
    plugin = find_analyzer(name)
    params = plugin.params(named_values(param))
    with Console(stderr=True).status(f"checking {plugin.name} on {len(stream):,} bars"):
        report = check_honesty(lambda: plugin.create(params), stream)
    for line in report.proved:
        typer.echo(f"proved    {line}")
    for line in report.unproved:
        typer.echo(f"unproved  {line}")
    if report.finding is not None:
        typer.echo(f"found     {report.finding}")
    if not report.is_honest:
        raise typer.Exit(1)
