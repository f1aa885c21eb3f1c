"""``escapement orders``: what was ordered, and what became of it."""

from __future__ import annotations

import asyncio
from typing import Annotated

import orjson
import typer

from escapement import wiring, wiring_execution
from escapement.cli import app, settings_of
from escapement.cli.accounts import Account, Json, short_time
from escapement.cli.tables import print_table
from escapement.core.execution import OrderNote
from escapement.moments import iso_from_ns, ns_from_iso
from escapement.settings import Settings
from escapement.storage.execution import ExecutionStore


@app.command()
def orders(
    context: typer.Context,
    account: Account = None,
    open: Annotated[bool, typer.Option("--open", help="Only those that have not ended.")] = False,  # noqa: A002 - the option's name
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Changed since, ISO 8601.")] = None,
    json: Json = False,
) -> None:
    """List an account's orders, ours and those of others, oldest first."""
    settings = settings_of(context, logging={"level": "warning"})
    since_ns = None if since is None else ns_from_iso(since)

    async def find(settings: Settings) -> list[OrderNote]:
        async with wiring.database(settings) as database:
            return await ExecutionStore(database).orders(
                wiring_execution.account_of(settings, account), working=open, since_ns=since_ns
            )

    found = asyncio.run(find(settings))
    if json:
        typer.echo(orjson.dumps([_plain(each) for each in found], option=orjson.OPT_INDENT_2))
    elif not found:
        typer.echo("No orders.")
    else:
        print_table(
            ["time", "contract", "role", "side", "type", "size", "price", "status", "filled", "at", "order", "note"],
            [
                (
                    short_time(each.created_ns or each.intended_ns), each.contract_id, each.role,
                    each.side.name.lower(), each.type.name.lower(), each.size, _price(each), each.status,
                    each.filled_size, "" if each.filled_price is None else each.filled_price, each.key, each.refusal,
                )
                for each in found
            ],
            wrapped="note",
        )  # fmt: skip


def _price(note: OrderNote) -> str:
    price = note.limit_price if note.limit_price is not None else note.stop_price
    return "" if price is None else f"{price}"


def _plain(note: OrderNote) -> dict[str, object]:
    times = {"intended": note.intended_ns, "accepted": note.accepted_ns, "created": note.created_ns}
    plain: dict[str, object] = {
        "order": note.key, "venue_order_id": note.venue_order_id, "contract": note.contract_id,
        "decision": note.decision_id, "role": str(note.role), "type": note.type.name.lower(),
        "side": note.side.name.lower(), "size": note.size, "limit_price": note.limit_price,
        "stop_price": note.stop_price, "status": note.status, "filled_size": note.filled_size,
        "filled_price": note.filled_price, "refusal": note.refusal,
    }  # fmt: skip
    return plain | {name: None if at_ns is None else iso_from_ns(at_ns) for name, at_ns in times.items()}
