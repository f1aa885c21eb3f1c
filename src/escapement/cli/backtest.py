"""``escapement backtest``: the whole system over history."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
import yaml
from rich.console import Console

from escapement import wiring, wiring_backtest
from escapement.backtest.page import page
from escapement.backtest.report import report
from escapement.backtest.run import History, Outcome
from escapement.cli import app, settings_of
from escapement.cli.spans import From, Span, To
from escapement.cli.tables import print_table
from escapement.errors import InvalidInput
from escapement.settings import Settings, setting_paths
from escapement.settings.fields import from_yaml

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
    bars: Annotated[list[Path] | None, typer.Option(help="CSV of bars; may be given several times.")] = None,
    trades: Annotated[list[Path] | None, typer.Option(help="CSV of trades; may be given several times.")] = None,
    contracts: Annotated[
        str | None, typer.Option(metavar="IDS", help="Contracts, separated by commas; else those of settings or files.")
    ] = None,
    begin: From = None,
    end: To = None,
    settings_file: Annotated[
        Path | None, typer.Option("--settings", metavar="FILE", help="Settings file, as before the command.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting, such as execution.stop_ticks=20; repeatable."),
    ] = None,
    tick_size: Annotated[str | None, typer.Option(help="Tick of contracts that are not well known, in points.")] = None,
    tick_value: Annotated[str | None, typer.Option(help="What a tick of those is worth, in account money.")] = None,
    check: Annotated[
        bool, typer.Option(help="Find out whether the analyzers know more than they could have known live.")
    ] = True,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as a page.")] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON; - prints it.")
    ] = None,
) -> None:
    """Trade history as the settings would: the same analyzers, rules, limits and orders as live."""
    context.obj = settings_file or context.obj
    own = {} if contracts is None else {"contracts": contracts}
    settings = settings_of(context, **{**own, **_overrides(changes or []), "logging": {"level": "warning"}})
    ticks = wiring_backtest.Ticks(_decimal("--tick-size", tick_size), _decimal("--tick-value", tick_value))
    span = Span.parse(begin, end)
    if bars and trades:
        raise InvalidInput("--bars and --trades are both named; orders fill in one of them, so name one kind")
    if html is not None and html.suffix.lower() not in {".html", ".htm"}:
        raise InvalidInput(f"--html {str(html)!r} does not end in .html; name a page")
    console = Console(stderr=True)
    with console.status("reading history") if console.is_terminal else nullcontext():
        settings, histories, from_ns, to_ns = _history(settings, bars, trades, ticks, span)
    with console.status("trading it") if console.is_terminal else nullcontext():
        outcome = wiring_backtest.run(settings, histories, from_ns, to_ns)
        told = report(outcome, wiring_backtest.dishonest(settings, histories) if check else ())
    told["settings"] = _plain(settings)
    if json_file == "-":
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
    else:
        if json_file is not None:
            _write("--json", Path(json_file), orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        _print(told)
    if html is not None:
        _write("--html", html, _page(outcome, told))
        typer.echo(f"report: {html}", err=json_file == "-")


def _page(outcome: Outcome, told: Mapping[str, Any]) -> str:
    return page(outcome, told, yaml.safe_dump(told["settings"], sort_keys=False, allow_unicode=True))


def _history(
    settings: Settings,
    bars: Sequence[Path] | None,
    trades: Sequence[Path] | None,
    ticks: wiring_backtest.Ticks,
    span: Span,
) -> tuple[Settings, list[History], int, int]:
    if bars:
        own, histories = wiring_backtest.from_bars(settings, wiring_backtest.read_bar_files(bars, settings), ticks)
    elif trades:
        only = settings.contracts[0].id if len(settings.contracts) == 1 else None
        own, histories = wiring_backtest.from_trades(settings, wiring_backtest.read_trade_files(trades, only), ticks)
    else:
        wiring.check_contracts_are_named(settings)
        calendar = next(iter(wiring.contract_calendars(settings.contracts).values()))
        from_ns, to_ns = span.within(calendar)
        if from_ns is None or to_ns is None:
            raise InvalidInput("--from and --to are needed without --bars or --trades; name the stretch to trade")
        own, histories = asyncio.run(_stored(settings, ticks, from_ns, to_ns))
        return own, histories, from_ns, to_ns
    from_ns, to_ns = span.within(histories[0].calendar)
    first, last = wiring_backtest.extent(histories)
    return own, histories, first if from_ns is None else from_ns, last if to_ns is None else to_ns


async def _stored(
    settings: Settings, ticks: wiring_backtest.Ticks, from_ns: int, to_ns: int
) -> tuple[Settings, list[History]]:
    async with wiring.database(settings) as database:
        return await wiring_backtest.from_database(settings, database, ticks, from_ns, to_ns)


def _overrides(changes: Sequence[str]) -> dict[str, Any]:
    """Return ``section.name=value`` as nested settings; values are YAML."""
    found: dict[str, Any] = {}
    known = {*setting_paths()}
    for change in changes:
        path, is_given, text = change.partition("=")
        if not is_given:
            raise InvalidInput(f"--set {change!r}: write NAME=VALUE, such as execution.stop_ticks=20")
        names = path.split(".")
        if not any(path == each or path.startswith(f"{each}.") or each.startswith(f"{path}.") for each in known):
            raise InvalidInput(f"--set {path} is no setting; escapement config show lists them")
        inner = found
        for name in names[:-1]:
            inner = inner.setdefault(name, {})
        inner[names[-1]] = from_yaml(text)
    return found


def _decimal(option: str, text: str | None) -> Decimal | None:
    try:
        value = None if text is None else Decimal(text)
    except InvalidOperation:
        value = Decimal(0)
    if value is not None and not (value.is_finite() and value > 0):
        raise InvalidInput(f"{option} {text!r} is not a positive number")
    return value


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
    print_table(
        ["", ""],
        [(name, "-" if totals[key] is None else form.format(totals[key])) for name, key, form in _LINES],
    )
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


def _write(option: str, path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{option} {str(path)!r}: {error.strerror}; name a place that can be written") from error
