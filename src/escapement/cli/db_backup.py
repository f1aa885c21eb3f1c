"""``escapement db backup`` and ``escapement db restore``: the whole database in one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from escapement.cli import settings_of
from escapement.cli.db import db_app, status_at, timescale_params, with_database
from escapement.cli.tables import size_text
from escapement.storage import migrate
from escapement.storage.backup import Backup, back_up
from escapement.storage.backup import restore as restore_backup


@db_app.command()
def backup(context: typer.Context, file: Annotated[Path, typer.Argument(help="A new file.")]) -> None:
    """Write everything in the database to a new file, as at one moment; services may go on meanwhile."""

    async def work(url: str) -> Backup:
        return await back_up(url, file)

    done = with_database(settings_of(context), work)
    typer.echo(f"{file}: {size_text(done.bytes)}, revision {done.revision} of PostgreSQL {done.server_version}.")


@db_app.command()
def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file made by escapement db backup.")],
    replace: Annotated[bool, typer.Option("--replace", help="Throw away all that is in the database.")] = False,
) -> None:
    """Put a backup into the database, all of it or, when anything fails, nothing; then update its tables.

    Everything in the database's schema goes; without --replace a database with rows is refused.
    """
    settings = settings_of(context)

    async def work(url: str) -> str:
        await restore_backup(url, file, replace=replace)
        await migrate(url, timescale_params(settings))
        state = await status_at(url)
        bars = sum(series.bars for series in state.series)
        return f"Restored: {bars:,} bars, {len(state.tables)} tables, the schema is at revision {state.revision}."

    typer.echo(with_database(settings, work))
