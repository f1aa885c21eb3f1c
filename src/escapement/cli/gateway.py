"""``escapement gateway``: look at the venue, as tables for people and JSON for programs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any

import msgspec
import orjson
import typer
from rich.console import Console
from rich.table import Table

from escapement import wiring
from escapement.calendars import calendar_for_contract
from escapement.cli import app, settings_of
from escapement.errors import InvalidInput
from escapement.model import Bar, Timeframe
from escapement.moments import iso_from_ns, ns_from_datetime, ns_from_iso
from escapement.projectx import GatewayClient

gateway_app = typer.Typer(help="Ask the gateway; nothing here changes anything.", no_args_is_help=True)
app.add_typer(gateway_app, name="gateway")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AccountId = Annotated[int, typer.Option("--account", help="Account number, as escapement gateway accounts lists it.")]
Since = Annotated[str | None, typer.Option(help="Begin, ISO 8601 with a zone; else a week ago.")]
_WEEK = timedelta(days=7)


@gateway_app.command()
def login(context: typer.Context) -> None:
    """Log in and say whether it worked; the token is not shown."""

    async def ask(client: GatewayClient) -> Sequence[object]:
        await client.token()
        return ()

    _ask(context, ask)
    typer.echo("Logged in.")


@gateway_app.command()
def accounts(context: typer.Context, json: Json = False) -> None:
    """List the user's accounts with their balances."""
    _print(_ask(context, lambda client: client.accounts()), json)


@gateway_app.command()
def contracts(
    context: typer.Context,
    search: Annotated[str, typer.Argument(help="Part of a name, such as MES.")],
    json: Json = False,
) -> None:
    """Search contracts; at most 20 are found."""
    _print(_ask(context, lambda client: client.search_contracts(search)), json)


@gateway_app.command()
def bars(
    context: typer.Context,
    contract: Annotated[str, typer.Argument(help="The contract's id.")],
    timeframe: Annotated[str, typer.Option(help="1m, 5m, 1h, 1d and the like; not several hours.")] = "1m",
    since: Since = None,
    until: Annotated[str | None, typer.Option(help="End, ISO 8601 with a zone; else now.")] = None,
    calendar: Annotated[str | None, typer.Option(help="Trading sessions; else by product.")] = None,
    json: Json = False,
) -> None:
    """Show bars of the venue's history, oldest first."""
    asked = Timeframe.parse(timeframe)
    sessions = calendar_for_contract(contract, calendar)
    from_ns, to_ns = _begin(since), _now() if until is None else ns_from_iso(until)
    _print(_ask(context, lambda client: client.bars(contract, asked, from_ns, to_ns, sessions)), json)


@gateway_app.command()
def orders(
    context: typer.Context,
    account: AccountId,
    since: Since = None,
    open: Annotated[bool, typer.Option("--open", help="Only those that work now.")] = False,  # noqa: A002 - the option's name
    json: Json = False,
) -> None:
    """List an account's orders."""
    begin_ns = _begin(since)

    async def ask(client: GatewayClient) -> Sequence[object]:
        return await (client.open_orders(account) if open else client.orders(account, begin_ns))

    _print(_ask(context, ask), json)


@gateway_app.command()
def positions(context: typer.Context, account: AccountId, json: Json = False) -> None:
    """List what an account holds."""
    _print(_ask(context, lambda client: client.positions(account)), json)


@gateway_app.command()
def trades(context: typer.Context, account: AccountId, since: Since = None, json: Json = False) -> None:
    """List an account's own executions."""
    begin_ns = _begin(since)
    _print(_ask(context, lambda client: client.fills(account, begin_ns)), json)


def _ask(context: typer.Context, ask: Callable[[GatewayClient], Awaitable[Sequence[object]]]) -> Sequence[object]:
    params = wiring.gateway_params(settings_of(context, logging={"level": "warning"}))

    async def run() -> Sequence[object]:
        async with GatewayClient(params) as client:
            return await ask(client)

    return asyncio.run(run())


def _print(items: Sequence[object], json: bool) -> None:
    rows = [_row(item) for item in items]
    if json:
        typer.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
        return
    if not rows:
        typer.echo("None.")
        return
    table = Table(*rows[0], box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    console = Console()
    # A pipe has no width, so there nothing is cut.
    (console if console.is_terminal else Console(width=1_000)).print(table)


def _row(item: Any) -> dict[str, object]:
    """Return the fields of a model value as plain data; times as text, names without ``_ns``."""
    hidden = {"end_ns", "whole"} if isinstance(item, Bar) else set()
    names = item.__struct_fields__ if isinstance(item, msgspec.Struct) else [field.name for field in fields(item)]
    return {name.removesuffix("_ns"): _plain(name, getattr(item, name)) for name in names if name not in hidden}


def _plain(name: str, value: object) -> object:
    if name.endswith("_ns") and isinstance(value, int):
        return iso_from_ns(value)
    if isinstance(value, Enum):
        return value.name.lower()
    return str(value) if isinstance(value, Timeframe | Decimal) else value


def _begin(since: str | None) -> int:
    try:
        return ns_from_datetime(datetime.now(UTC) - _WEEK) if since is None else ns_from_iso(since)
    except InvalidInput as error:
        raise InvalidInput(f"--since: {error}") from None


def _now() -> int:
    return ns_from_datetime(datetime.now(UTC))
