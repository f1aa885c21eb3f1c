"""The past that a command trades: files or the database, and what settings are changed for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer

from escapement import wiring, wiring_backtest
from escapement.backtest.run import History
from escapement.cli import settings_of
from escapement.cli.spans import Span
from escapement.errors import InvalidInput
from escapement.settings import Settings, setting_paths
from escapement.settings.fields import from_yaml

Bars = Annotated[list[Path] | None, typer.Option(help="CSV of bars; may be given several times.")]
Trades = Annotated[list[Path] | None, typer.Option(help="CSV of trades; may be given several times.")]
Contracts = Annotated[
    str | None, typer.Option(metavar="IDS", help="Contracts, separated by commas; else those of settings or files.")
]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings", metavar="FILE", help="Settings file, as before the command.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting, such as execution.stop_ticks=20; repeatable."),
]
TickSize = Annotated[str | None, typer.Option(help="Tick of contracts that are not well known, in points.")]
TickValue = Annotated[str | None, typer.Option(help="What a tick of those is worth, in account money.")]


def settings_of_past(
    context: typer.Context, file: Path | None, contracts: str | None, changes: Sequence[str] | None
) -> Settings:
    """Return the settings that trade the past.

    Raises:
        EscapementError: they cannot be used.
    """
    context.obj = file or context.obj
    own = {} if contracts is None else {"contracts": contracts}
    return settings_of(context, **{**own, **_overrides(changes or []), "logging": {"level": "warning"}})


def ticks_of(size: str | None, value: str | None) -> wiring_backtest.Ticks:
    """Return the tick that was named.

    Raises:
        InvalidInput: it is not a positive number.
    """
    return wiring_backtest.Ticks(_decimal("--tick-size", size), _decimal("--tick-value", value))


def check_html(html: Path | None) -> None:
    """Refuse a page with another ending.

    Raises:
        InvalidInput: it has one.
    """
    if html is not None and html.suffix.lower() not in {".html", ".htm"}:
        raise InvalidInput(f"--html {str(html)!r} does not end in .html; name a page")


def past(
    settings: Settings,
    bars: Sequence[Path] | None,
    trades: Sequence[Path] | None,
    ticks: wiring_backtest.Ticks,
    span: Span,
) -> tuple[Settings, list[History], int, int]:
    """Return what there is of the past, with settings of it, and from when to when it is traded (nanoseconds UTC).

    Raises:
        EscapementError: there is nothing, or it cannot be used.
    """
    if bars and trades:
        raise InvalidInput("--bars and --trades are both named; orders fill in one of them, so name one kind")
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


def write(option: str, path: Path, text: str) -> None:
    """Write a file that an option named.

    Raises:
        InvalidInput: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{option} {str(path)!r}: {error.strerror}; name a place that can be written") from error
