"""``escapement backtest``: the whole system over history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
import yaml
from rich.console import Console

from escapement import wiring_backtest, wiring_sweep
from escapement.backtest.page import page
from escapement.backtest.report import report
from escapement.backtest.run import History, Outcome
from escapement.cli import app
from escapement.cli.past import (
    Bars,
    Changes,
    Contracts,
    SettingsFile,
    TickSize,
    TickValue,
    Trades,
    check_html,
    past,
    settings_of_past,
    ticks_of,
    write,
)
from escapement.cli.spans import From, Span, To
from escapement.cli.tables import print_table
from escapement.errors import ConfigurationError
from escapement.moments import iso_from_ns
from escapement.settings import Settings

_SHOWN = "timeframes", "analyzers", "coordinator", "execution", "risk", "backtest"
_LINES = (
    ("net", "net", "{:,.2f}"), ("trades", "trades", "{:,}"), ("win rate", "win_rate", "{:.1%}"),
    ("profit factor", "profit_factor", "{:.2f}"), ("expectancy", "expectancy", "{:,.2f}"),
    ("average winner", "average_winner", "{:,.2f}"), ("average loser", "average_loser", "{:,.2f}"),
    ("fees", "fees", "{:,.2f}"), ("largest drawdown", "max_drawdown", "{:,.2f}"),
    ("of its peak", "max_drawdown_share", "{:.1%}"), ("CAGR", "cagr", "{:.1%}"), ("Sharpe", "sharpe", "{:.2f}"),
    ("Sortino", "sortino", "{:.2f}"), ("Calmar", "calmar", "{:.2f}"), ("time in the market", "exposure", "{:.1%}"),
    ("sessions", "days", "{:,}"),
)  # fmt: skip


@app.command()
def backtest(
    context: typer.Context,
    bars: Bars = None,
    trades: Trades = None,
    contracts: Contracts = None,
    begin: From = None,
    end: To = None,
    settings_file: SettingsFile = None,
    changes: Changes = None,
    tick_size: TickSize = None,
    tick_value: TickValue = None,
    check: Annotated[
        bool, typer.Option(help="Find out whether the analyzers know more than they could have known live.")
    ] = True,
    quick: Annotated[
        bool, typer.Option("--quick", help="Reckon the figures alone, many times quicker where the settings allow.")
    ] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as a page.")] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON; - prints it.")
    ] = None,
) -> None:
    """Trade history as the settings would: the same analyzers, rules, limits and orders as live."""
    chosen = settings_of_past(context, settings_file, contracts, changes)
    ticks = ticks_of(tick_size, tick_value)
    span = Span.parse(begin, end)
    check_html(html)
    if quick and html is not None:
        raise ConfigurationError("--quick reckons figures alone, and --html shows every trade; leave out one")
    console = Console(stderr=True)
    with console.status("reading history") if console.is_terminal else nullcontext():
        settings, histories, from_ns, to_ns = past(chosen, bars, trades, ticks, span)
    if quick:
        _quick(settings, histories, from_ns, to_ns, json_file)
        return
    with console.status("trading it") if console.is_terminal else nullcontext():
        outcome = wiring_backtest.run(settings, histories, from_ns, to_ns)
        told = report(outcome, wiring_backtest.dishonest(settings, histories) if check else ())
    told["settings"] = _plain(settings)
    if json_file == "-":
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
    else:
        if json_file is not None:
            write("--json", Path(json_file), orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        _print(told)
    if html is not None:
        write("--html", html, _page(outcome, told))
        typer.echo(f"report: {html}", err=json_file == "-")


def _quick(
    settings: Settings, histories: Sequence[History], from_ns: int, to_ns: int, json_file: str | None
) -> None:  # fmt: skip
    """Tell what it comes to in figures, as a point of a sweep is told."""
    work = wiring_sweep.PointWork(wiring_sweep.plain(settings), histories)
    found = work({}, from_ns, to_ns)
    totals = {key: value for key, value in found.items() if key != "returns"}
    told = {"from": iso_from_ns(from_ns), "to": iso_from_ns(to_ns), "figures": totals, "settings": _plain(settings)}
    if json_file is not None:
        text = orjson.dumps(told, option=orjson.OPT_INDENT_2).decode()
        if json_file == "-":
            typer.echo(text)
            return
        write("--json", Path(json_file), text)
    typer.echo(f"{told['from']} to {told['to']}\n")
    _print_figures(totals)


def _page(outcome: Outcome, told: Mapping[str, Any]) -> str:
    return page(outcome, told, yaml.safe_dump(told["settings"], sort_keys=False, allow_unicode=True))


def _plain(settings: Settings) -> dict[str, Any]:
    shown = settings.model_dump(mode="json", by_alias=True)
    return {name: shown[name] for name in _SHOWN}


def _print(told: Mapping[str, Any]) -> None:
    account, totals = told["account"], told["figures"]
    for contract_id, each in told["contracts"].items():
        counts = ", ".join(f"{count:,} of {name}" for name, count in each["bars"].items())
        typer.echo(f"{contract_id}: filled by {each['filled_by']}; bars: {counts}")
    typer.echo(f"{told['from']} to {told['to']}")
    typer.echo(f"balance {account['start_balance']:,.2f} -> {account['balance']:,.2f}\n")
    _print_figures(totals)
    orders, counts = told["other_orders"], told["counts"]
    if orders is not None:
        typer.echo(
            f"\nthe same trades in {orders['orders']:,} other orders: largest drawdown {orders['median']:,.2f} in the "
            f"middle, {orders['deep']:,.2f} or deeper in 5 of 100"
        )
    typer.echo(
        f"\n{counts['signals']:,} signals, {counts['decisions']:,} decisions, {counts['orders']:,} orders, "
        f"{counts['fills']:,} fills"
    )
    if counts["refusals"]:
        typer.echo("refused: " + ", ".join(f"{code} {count:,}" for code, count in counts["refusals"].items()))
    for each in told["open"]:
        typer.echo(f"still open: {each['net']:+} {each['contract']}")
    for each in told["warnings"]:
        typer.echo(f"warning: {each}", err=True)


def _print_figures(totals: Mapping[str, Any]) -> None:
    print_table(
        ["", ""],
        [(name, "-" if totals[key] is None else form.format(totals[key])) for name, key, form in _LINES],
    )
