"""``escapement trades``: round trips, contracts opened and closed again."""

from __future__ import annotations

import asyncio
from typing import Annotated

import orjson
import typer

from escapement.cli import app, settings_of
from escapement.cli.accounts import Account, Books, Json, books, money, short_time
from escapement.cli.tables import print_table
from escapement.core.execution import Holding, RoundTrip
from escapement.model import PriceGrid
from escapement.moments import iso_from_ns


@app.command()
def trades(
    context: typer.Context,
    account: Account = None,
    last: Annotated[int, typer.Option(min=0, help="How many, the newest; 0 for all.")] = 50,
    json: Json = False,
) -> None:
    """List an account's round trips, first in first out, in the order in which they were closed."""
    found = asyncio.run(books(settings_of(context, logging={"level": "warning"}), account))
    trips = round_trips(found)[-last:]
    if json:
        typer.echo(orjson.dumps([_plain(found, each) for each in trips], option=orjson.OPT_INDENT_2))
    elif not trips:
        typer.echo("No round trips yet.")
    else:
        print_table(
            ["opened", "closed", "contract", "side", "size", "entry", "exit", "ticks", "money", "fees", "net"],
            [
                (
                    short_time(each.opened_ns), short_time(each.closed_ns), each.contract_id, _side(each),
                    abs(each.size), *_prices(found, each), each.ticks, money(each.money), money(each.fees),
                    money(each.money - each.fees),
                )
                for each in trips
            ],
        )  # fmt: skip


def round_trips(found: Books) -> list[RoundTrip]:
    """Return the round trips of an account, in the order in which they were closed."""
    holdings = {contract_id: Holding(contract) for contract_id, contract in found.contracts.items()}
    for fill in found.fills:
        holdings[fill.contract_id].see(fill)
    return sorted((trip for each in holdings.values() for trip in each.trips), key=lambda trip: trip.closed_ns)


def _side(trip: RoundTrip) -> str:
    return "long" if trip.size > 0 else "short"


def _prices(found: Books, trip: RoundTrip) -> tuple[float, float]:
    grid = PriceGrid(found.contracts[trip.contract_id].tick_size)
    return grid.price(trip.entry_ticks), grid.price(trip.exit_ticks)


def _plain(found: Books, trip: RoundTrip) -> dict[str, object]:
    entry, exit_ = _prices(found, trip)
    return {
        "opened": iso_from_ns(trip.opened_ns), "closed": iso_from_ns(trip.closed_ns), "contract": trip.contract_id,
        "side": _side(trip), "size": abs(trip.size), "entry": entry, "exit": exit_, "ticks": trip.ticks,
        "points": str(trip.ticks * found.contracts[trip.contract_id].tick_size), "money": str(trip.money),
        "fees": str(trip.fees), "net": str(trip.money - trip.fees), "entry_order": trip.entry_order_id,
        "exit_order": trip.exit_order_id,
    }  # fmt: skip
