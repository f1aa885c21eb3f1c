"""``escapement dashboard``: everything there is to see, in a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import structlog
import typer

from escapement.cli import app, settings_of
from escapement.cli.ingest import stop_on_signals
from escapement.settings import Settings
from escapement.web import process

log = structlog.get_logger(service="dashboard")

dashboard_app = typer.Typer(help="Everything there is to see, in a browser.", invoke_without_command=True)
app.add_typer(dashboard_app, name="dashboard")


@dashboard_app.callback()
def dashboard(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="The address to listen on; else that of the settings.")] = None,
    port: Annotated[int | None, typer.Option(help="The port, 0 for any; else that of the settings.")] = None,
) -> None:
    """Serve the dashboard of the settings' database until SIGTERM or Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    given: dict[str, Any] = {name: each for name, each in (("host", host), ("port", port)) if each is not None}
    settings = settings_of(context, **({"dashboard": given} if given else {}))
    check(settings)
    asyncio.run(_serve(settings))


@dashboard_app.command()
def password() -> None:
    """Ask for a password and print what the settings keep of it (argon2id), for ESCAPEMENT_DASHBOARD__PASSWORD_HASH."""
    from escapement.web.security.passwords import hash_of  # noqa: PLC0415 - other commands start without it

    typer.echo(hash_of(typer.prompt("Password", hide_input=True, confirmation_prompt=True)))


def check(settings: Settings) -> None:
    """Refuse, before anything is started for nothing, settings that would let others in without a password.

    Raises:
        ConfigurationError: they would.
    """
    process.check(settings)


async def serve(settings: Settings, stopping: asyncio.Event, ready: Callable[[], None]) -> None:
    """Serve in a child process until ``stopping``; call ``ready`` when it begins.

    Raises:
        EscapementError: the database, the address or a setting stands in the way.
    """

    def is_up(address: str) -> None:
        log.info("dashboard_ready", address=address)
        ready()

    await process.serve_in_child(settings, stopping, is_up)


async def _serve(settings: Settings) -> None:
    from escapement.web.dashboard import serve as serve_here  # noqa: PLC0415 - other commands start without it

    stopping = asyncio.Event()
    stop_on_signals(stopping.set)
    await serve_here(settings, stopping, lambda address: typer.echo(f"dashboard: {address}"))
