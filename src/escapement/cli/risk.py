"""``escapement risk``: firms' rules, what the checks said of each entry, and where the venue differed from our book."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from typing import Annotated, Any

import orjson
import typer

from escapement import firms, wiring
from escapement.cli import app, settings_of
from escapement.cli.accounts import Json
from escapement.cli.tables import print_table
from escapement.errors import InvalidInput
from escapement.settings import Settings
from escapement.storage.execution import ExecutionStore

risk_app = typer.Typer(help="Limits: firms' rules, what was refused and why.", no_args_is_help=True)
app.add_typer(risk_app, name="risk")

AnyAccount = Annotated[str | None, typer.Option(metavar="NAME", help="An account; else all.")]
Last = Annotated[int, typer.Option(min=1, help="How many, the newest.")]


@risk_app.command()
def packs(
    on: Annotated[str | None, typer.Option(metavar="DATE", help="The day whose rules are meant; else today.")] = None,
) -> None:
    """List the shipped packs of firms' rules, with their main numbers."""
    try:
        day = datetime.now(UTC).date() if on is None else date.fromisoformat(on)
    except ValueError:
        raise InvalidInput(f"--on {on!r} is no date; write for example 2026-11-24") from None
    rows = []
    for name in firms.pack_names():
        try:
            pack = firms.pack(name, day)
        except InvalidInput:
            continue  # not valid yet on that day
        numbers = pack.starting_balance, pack.maximum_loss, pack.daily_loss, pack.most_lots
        rows.append((
            name, pack.title, pack.valid_from, *("" if each is None else f"{each:,}" for each in numbers),
            str(pack.trailing), "" if pack.flatten_at is None else f"{pack.flatten_at:%H:%M}",
        ))  # fmt: skip
    print_table(
        ["pack", "account", "valid from", "start", "maximum loss", "daily loss", "lots", "trails", "flat by"], rows
    )


@risk_app.command()
def checks(
    context: typer.Context,
    account: AnyAccount = None,
    decision: Annotated[str | None, typer.Option(metavar="ID", help="The beginning of a decision's id.")] = None,
    refusals: Annotated[bool, typer.Option("--refusals", help="Only entries that were refused.")] = False,
    last: Last = 20,
    json: Json = False,
) -> None:
    """Show what the risk checks said of each entry that was wished, with the numbers they compared."""
    settings = settings_of(context, logging={"level": "warning"})

    async def find(settings: Settings) -> list[dict[str, Any]]:
        async with wiring.database(settings) as database:
            return await ExecutionStore(database).risk_checks(account, last, refusals=refusals, decision_id=decision)

    found = asyncio.run(find(settings))
    if json:
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    elif not found:
        typer.echo("No entry was checked.")
    elif decision is not None:
        for each in found:
            typer.echo(f"{each['at']:%Y-%m-%d %H:%M:%S}Z {each['contract_id']} {each['size']} of {each['decision_id']}")
            for check in each["checks"]:
                typer.echo(f"  {'passed ' if check['passed'] else 'REFUSED'} {check['code']}: {check['words']}")
    else:
        print_table(
            ["time", "account", "contract", "decision", "size", "outcome", "why"],
            [
                (
                    f"{each['at']:%Y-%m-%d %H:%M:%S}Z", each["account"], each["contract_id"], each["decision_id"][:8],
                    each["size"], "approved" if each["approved"] else each["code"], each["words"],
                )
                for each in found
            ],
            wrapped="why",
        )  # fmt: skip


@risk_app.command()
def reconciliations(context: typer.Context, account: AnyAccount = None, last: Last = 50, json: Json = False) -> None:
    """List where the venue and our book differed, and what was done about it."""
    settings = settings_of(context, logging={"level": "warning"})

    async def find(settings: Settings) -> list[dict[str, Any]]:
        async with wiring.database(settings) as database:
            return await ExecutionStore(database).differences(account, last)

    found = asyncio.run(find(settings))
    if json:
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    elif not found:
        typer.echo("The venue and our book never differed.")
    else:
        print_table(
            ["time", "account", "cause", "what", "subject", "ours", "the venue's", "done"],
            [
                (
                    f"{each['at']:%Y-%m-%d %H:%M:%S}Z", each["account"], each["cause"], each["kind"], each["subject"],
                    each["ours"], each["venues"], each["action"],
                )
                for each in found
            ],
            wrapped="the venue's",
        )  # fmt: skip
