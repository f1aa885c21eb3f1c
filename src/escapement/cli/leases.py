"""``escapement leases``: which process holds what, seen from elsewhere."""

from __future__ import annotations

import asyncio
from typing import Annotated

import orjson
import typer

from escapement import wiring
from escapement.cli import app, settings_of
from escapement.cli.tables import print_table
from escapement.moments import datetime_from_ns, iso_from_ns
from escapement.settings import Settings
from escapement.storage.leases import Lease, leases


@app.command(name="leases")
def show_leases(
    context: typer.Context, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Show which process may write and trade what, since when and until when, and which stand by."""
    settings = settings_of(context, logging={"level": "warning"})
    found = asyncio.run(_leases(settings))
    if json:
        plain = [
            {
                "resource": each.resource, "state": state, "holder": each.holder or None, "token": each.token,
                "since": iso_from_ns(each.since_ns), "until": iso_from_ns(each.until_ns),
            }
            for each, state in found
        ]  # fmt: skip
        typer.echo(orjson.dumps(plain, option=orjson.OPT_INDENT_2))
    elif not found:
        typer.echo("No lease was ever taken.")
    else:
        print_table(
            ["resource", "state", "holder", "token", "since", "until"],
            [(each.resource, state, each.holder, each.token, _moment(each.since_ns), _moment(each.until_ns))
             for each, state in found],
            wrapped="holder",
        )  # fmt: skip


async def _leases(settings: Settings) -> list[tuple[Lease, str]]:
    """Return leases with what they are: held, free, or of a process that takes part and holds nothing."""
    async with wiring.database(settings) as database:
        found = await leases(database)
    busy = {(_service(each), each.holder) for each in found if each.is_held and not _is_member(each)}
    shown = [(each, "held" if each.is_held else "free") for each in found if not _is_member(each)]
    shown += [
        (each, "stands by")
        for each in found
        if _is_member(each) and each.is_held and (_service(each), each.holder) not in busy
    ]
    return shown


def _is_member(lease: Lease) -> bool:
    return lease.resource.startswith("member ")


def _service(lease: Lease) -> str:
    words = lease.resource.split()
    return words[1] if _is_member(lease) else words[0]


def _moment(at_ns: int) -> str:
    return f"{datetime_from_ns(at_ns):%Y-%m-%d %H:%M:%S}Z"
