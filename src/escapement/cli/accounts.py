"""Whose records commands show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

import typer

from escapement import wiring, wiring_execution
from escapement.errors import EscapementError, InvalidInput
from escapement.model import Contract, Fill
from escapement.moments import datetime_from_ns
from escapement.settings import Settings
from escapement.storage.execution import ExecutionStore

Account = Annotated[
    str | None, typer.Option(metavar="NAME", help="The account: paper, or its name; else that of the settings.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True)
class Books:
    """An account's fills, and the contracts they are of."""

    account: str
    fills: Sequence[Fill]
    contracts: dict[str, Contract]


async def books(settings: Settings, account: str | None) -> Books:
    """Read all fills of an account.

    Raises:
        EscapementError: it was never traded here, or the database does not answer.
    """
    name = wiring_execution.account_of(settings, account)
    async with wiring.database(settings) as database:
        store = ExecutionStore(database)
        if await store.account(name) is None:
            others = ", ".join(await store.accounts()) or "none yet"
            raise EscapementError(
                f"account {name!r} was never traded here; run escapement execute, or name another with --account "
                f"({others})"
            )
        fills, notes = await store.fills(name), await store.positions(name)
    # A holding's note has all that profit needs of a contract.
    contracts = {
        each.contract_id: Contract(each.contract_id, "", "", each.tick_size, each.tick_value, active=True, symbol_id="")
        for each in notes
    }
    return Books(name, fills, contracts)


def short_time(at_ns: int | None) -> str:
    """Return a time for a table, to the second."""
    return "" if at_ns is None else f"{datetime_from_ns(at_ns):%Y-%m-%d %H:%M:%S}Z"


def money(value: Decimal) -> str:
    """Return money for a table, to the cent."""
    return f"{value:,.2f}"


def chosen(name: str, value: str, known: Sequence[str]) -> str:
    """Return a choice among words.

    Raises:
        InvalidInput: it is none of them.
    """
    if value not in known:
        raise InvalidInput(f"{name} {value!r} is unknown; use one of {', '.join(known)}")
    return value
