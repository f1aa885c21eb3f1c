"""``escapement kill`` and ``escapement resume``: stop all trading at once, and let it go on."""

from __future__ import annotations

import asyncio
import getpass
import socket
import time
from typing import Annotated

import typer

from escapement import wiring
from escapement.cli import app, settings_of
from escapement.core.execution import HoldingNote
from escapement.errors import EscapementError, InvalidInput
from escapement.settings import Settings
from escapement.storage.execution import ExecutionStore

_LOOK_S = 0.2

Reason = Annotated[str, typer.Option(help="Why, for the record.")]


@app.command()
def kill(
    context: typer.Context,
    reason: Reason = "by hand",
    wait: Annotated[float, typer.Option(help="Seconds to wait until everything is closed; 0 does not wait.")] = 15.0,
) -> None:
    """Stop all trading: cancel every order, close every position, open nothing until escapement resume.

    Exit code 1 when positions were still open after the time to wait.
    """
    if wait < 0:
        raise InvalidInput(f"--wait {wait} is negative; use 0 or more seconds")
    left = asyncio.run(_kill(settings_of(context, logging={"level": "warning"}), reason, wait))
    typer.echo("Trading is stopped, and stays so until escapement resume.")
    if left:
        for each in left:
            typer.echo(f"{each.account}: {each.net} of {each.contract_id} as far as is known")
        raise EscapementError(
            "positions are still open: no execution or watchdog closed them; see to them on the platform"
        )
    if wait:
        typer.echo("No position is open.")


@app.command()
def resume(context: typer.Context, reason: Reason = "by hand") -> None:
    """Let trading go on after escapement kill; what was decided meanwhile is not made up for."""
    asyncio.run(_turn(settings_of(context, logging={"level": "warning"}), reason))
    typer.echo("Trading goes on.")


async def _kill(settings: Settings, reason: str, wait_s: float) -> list[HoldingNote]:
    async with wiring.database(settings) as database:
        store = ExecutionStore(database)
        await store.turn_kill_switch(killed=True, reason=reason, by=_who())
        until_s = time.monotonic() + wait_s
        while left := [each for each in await store.positions() if each.net]:
            if time.monotonic() >= until_s:
                return left if wait_s else []
            await asyncio.sleep(_LOOK_S)
    return []


async def _turn(settings: Settings, reason: str) -> None:
    async with wiring.database(settings) as database:
        await ExecutionStore(database).turn_kill_switch(killed=False, reason=reason, by=_who())


def _who() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"
