"""``escapement pnl``: what was made, by trading day or by contract."""

from __future__ import annotations

import asyncio
from typing import Annotated

import orjson
import typer

from escapement import wiring_execution
from escapement.cli import app, settings_of
from escapement.cli.accounts import Account, Books, Json, books, chosen, money
from escapement.cli.tables import print_table
from escapement.core.execution import Result, results, total
from escapement.settings import Settings


@app.command()
def pnl(
    context: typer.Context,
    account: Account = None,
    by: Annotated[str, typer.Option(metavar="WHAT", help="day or contract.")] = "day",
    json: Json = False,
) -> None:
    """Show what an account made in ticks, points and money, with fees; days are trade dates of the exchange."""
    chosen("--by", by, ("day", "contract"))
    settings = settings_of(context, logging={"level": "warning"})
    found = asyncio.run(books(settings, account))
    rows = grouped(settings, found, by)
    if json:
        plain = [{by: name, **_plain(each)} for name, each in rows.items()]
        typer.echo(orjson.dumps({"rows": plain, "total": _plain(total(rows.values()))}, option=orjson.OPT_INDENT_2))
    elif not rows:
        typer.echo("No fills yet.")
    else:
        print_table(
            [by, "ticks", "points", "money", "fees", "net"],
            [
                (name, each.ticks, f"{each.points.normalize():f}", money(each.money), money(each.fees), money(each.net))
                for name, each in [*rows.items(), ("total", total(rows.values()))]
            ],
        )


def grouped(settings: Settings, found: Books, by: str) -> dict[str, Result]:
    """Return what was made by day or by contract, in order."""
    calendar_of = wiring_execution.calendars_of(settings)
    rows: dict[str, Result] = {}
    for contract_id, contract in found.contracts.items():
        own = [fill for fill in found.fills if fill.contract_id == contract_id]
        for fill, made in results(contract, own):
            name = contract_id
            if by == "day":
                located = calendar_of(contract_id).locate(fill.at_ns)
                name = "outside sessions" if located is None else located[1].trade_date.isoformat()
            rows[name] = rows.get(name, Result()) + made
    return dict(sorted(rows.items()))


def _plain(result: Result) -> dict[str, object]:
    return {
        "ticks": result.ticks, "points": str(result.points), "money": str(result.money), "fees": str(result.fees),
        "net": str(result.net),
    }  # fmt: skip
