"""``escapement positions``: what is held."""

from __future__ import annotations

import asyncio
from typing import Annotated

import orjson
import typer

from escapement import wiring
from escapement.cli import app, settings_of
from escapement.cli.accounts import Json, money
from escapement.cli.tables import print_table
from escapement.core.execution import HoldingNote
from escapement.settings import Settings
from escapement.storage.execution import ExecutionStore


@app.command()
def positions(
    context: typer.Context,
    account: Annotated[str | None, typer.Option(metavar="NAME", help="An account; else all.")] = None,
    json: Json = False,
) -> None:
    """Show what every account holds, whether stops protect it, and what each contract made."""
    settings = settings_of(context, logging={"level": "warning"})

    async def find(settings: Settings) -> list[HoldingNote]:
        async with wiring.database(settings) as database:
            return await ExecutionStore(database).positions(account)

    found = asyncio.run(find(settings))
    if json:
        plain = [
            {
                "account": each.account, "contract": each.contract_id, "net": each.net, "others": each.foreign_net,
                "average_price": each.average_price, "protected": each.protected, "made": str(each.made),
            }
            for each in found
        ]  # fmt: skip
        typer.echo(orjson.dumps(plain, option=orjson.OPT_INDENT_2))
    elif not found:
        typer.echo("Nothing was ever held.")
    else:
        print_table(
            ["account", "contract", "net", "average", "protected", "of others", "made"],
            [
                (
                    each.account, each.contract_id, each.net,
                    "" if each.average_price is None else f"{each.average_price:.10g}", each.protected,
                    each.foreign_net, money(each.made),
                )
                for each in found
            ],
        )  # fmt: skip
