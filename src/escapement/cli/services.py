"""``escapement services``: how the services of ``escapement run`` are, seen from elsewhere."""

from __future__ import annotations

import asyncio
from typing import Annotated

import orjson
import typer

from escapement import wiring
from escapement.cli import app, settings_of
from escapement.cli.tables import print_table
from escapement.moments import datetime_from_ns, iso_from_ns
from escapement.ports import ServiceHealth
from escapement.settings import Settings
from escapement.storage.health import ALIVE_S, HealthStore, is_well, state_seen


@app.command()
def services(context: typer.Context, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show how each service of escapement run is; exit code 1 when one failed, waits to be started, or fell silent."""
    settings = settings_of(context, logging={"level": "warning"})
    found = asyncio.run(_services(settings))
    if json:
        plain = [
            {
                "service": each.service, "state": state_seen(each), "since": iso_from_ns(each.since_ns),
                "restarts": each.restarts, "error": each.error or None, "process": each.process,
                "silent_s": round(each.silent_s, 1),
            }
            for each in found
        ]  # fmt: skip
        typer.echo(orjson.dumps(plain, option=orjson.OPT_INDENT_2))
    elif not found:
        typer.echo("No service was ever run with escapement run.")
    else:
        print_table(
            ["service", "state", "since", "restarts", "process", "last error"],
            [
                (
                    each.service, state_seen(each), f"{datetime_from_ns(each.since_ns):%Y-%m-%d %H:%M:%S}Z",
                    each.restarts, each.process, each.error,
                )
                for each in found
            ],
            wrapped="last error",
        )  # fmt: skip
    if any(not is_well(each) for each in found):
        raise typer.Exit(1)


async def _services(settings: Settings) -> list[ServiceHealth]:
    async with wiring.database(settings) as database:
        return await HealthStore(database).services(ALIVE_S)
