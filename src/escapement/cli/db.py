"""``escapement db``: the database behind the settings."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import typer

from escapement.cli import app, settings_of
from escapement.cli.progress import shown_progress
from escapement.settings import Settings
from escapement.storage import POSTGRES_BIN_PATH, DBHandler, Status, TimescaleParams, database_url, migrate, status_of
from escapement.storage.programs import without_password

db_app = typer.Typer(help="The database: its schema, its state, its content.", no_args_is_help=True)
app.add_typer(db_app, name="db")

Result = TypeVar("Result")


@db_app.command()
def init(context: typer.Context) -> None:
    """Create or update the tables; on TimescaleDB make ohlc_bars a hypertable, as the settings say. Safe to repeat."""
    settings = settings_of(context)
    params = timescale_params(settings)

    async def work(url: str) -> tuple[Status, list[str]]:
        with shown_progress("ohlc_bars becomes a hypertable; nobody reads or writes it meanwhile") as progress:
            notes = await migrate(url, params, progress)
        return await status_at(url), notes

    state, notes = with_database(settings, work)
    typer.echo(f"The schema is at revision {state.revision}. {timescale_line(state)}")
    for note in notes:
        typer.echo(f"warning: {note}.", err=True)


@db_app.command()
def url(context: typer.Context) -> None:
    """Print the database's URL with its password; the embedded server's works while a program uses it."""
    settings = settings_of(context)

    async def work(found: str) -> str:
        return found

    typer.echo(with_database(settings, work))
    if settings.database.url is None:
        sys.stderr.write(
            "The embedded server runs only while a program uses it; escapement db psql keeps it running.\n"
        )


@db_app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def psql(context: typer.Context) -> None:
    """Open psql, the installed or else our own, on the database; further arguments go to psql."""
    program = shutil.which("psql") or str(POSTGRES_BIN_PATH / "psql")

    async def work(found: str) -> int:
        url, secret = without_password(found)
        # Ctrl-C is for psql, which cancels a query by it.
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
        process = await asyncio.create_subprocess_exec(program, *context.args, url, env=os.environ | secret)
        return await process.wait()

    raise typer.Exit(with_database(settings_of(context), work))


@db_app.command()
def query(context: typer.Context, sql: Annotated[str, typer.Argument(help="One statement that only reads.")]) -> None:
    """Print the rows of a query as CSV, times in UTC."""

    async def work(found: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        async with await DBHandler.open(found, connections=1) as database:
            return await database.read(sql)

    columns, rows = with_database(settings_of(context), work)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_plain(value) for value in row] for row in rows)
    typer.echo(text.getvalue(), nl=False)


def timescale_params(settings: Settings) -> TimescaleParams:
    """Return what the settings wish of TimescaleDB."""
    wished = settings.timescale
    return TimescaleParams(wished.chunk_days, wished.compress_after_days, wished.keep_days)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return {True: "t", False: "f"}[value] if isinstance(value, bool) else value


async def status_at(url: str) -> Status:
    """Look at a database, whatever its schema."""
    async with await DBHandler.open(url, connections=1) as database:
        return await status_of(database)


def timescale_line(state: Status) -> str:
    """Say in a sentence what of TimescaleDB is used."""
    scale = state.timescale
    if scale.hypertable:
        text = f"TimescaleDB {scale.installed}, {scale.edition} edition: ohlc_bars is a hypertable."
        is_current = scale.available in {None, scale.installed}
        return (
            text if is_current else f"{text} Its programs are of {scale.available}: ALTER EXTENSION timescaledb UPDATE."
        )
    if scale.available or scale.installed:
        return "TimescaleDB is there but not used: its extension could not be created; ask the server's owner."
    return "TimescaleDB is not there; plain PostgreSQL serves."


def with_database(settings: Settings, work: Callable[[str], Awaitable[Result]]) -> Result:
    """Do ``work`` with the URL of the settings' database, or of the embedded one, which runs meanwhile."""

    async def run() -> Result:
        named = settings.database.url
        async with database_url(None if named is None else named.get_secret_value(), settings.data_dir) as found:
            return await work(found)

    return asyncio.run(run())
