"""``escapement db export`` and ``escapement db import``: market data as Parquet files, and back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from escapement import wiring
from escapement.cli import settings_of
from escapement.cli.db import db_app, with_database
from escapement.cli.progress import shown_progress
from escapement.settings import Settings
from escapement.storage.archive_export import Exported, export_archive
from escapement.storage.archive_import import Imported, import_archive


@db_app.command("export")
def export_(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Of the archive, new or filled before.")],
    contract: Annotated[list[str] | None, typer.Option(help="A contract's id, repeatable; else all.")] = None,
) -> None:
    """Write bars with their revisions, and what is known of their completeness, to a Parquet file a contract and day.

    Files that are as they should be are left alone, so it can be stopped and repeated.
    """

    async def work(url: str) -> Exported:
        with shown_progress(f"Writing to {folder}") as progress:
            return await export_archive(url, folder, contract or None, progress)

    done = with_database(settings_of(context), work)
    typer.echo(f"{done.rows:,} rows in {done.files:,} files, {done.written:,} of them written now.")


@db_app.command("import")
def import_(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Filled by escapement db export.")],
) -> None:
    """Put what an archive holds and the database does not into it; what is there is not changed.

    A file with a bar of which the database has another one is refused. It can be stopped and repeated.
    """
    done = asyncio.run(_import(settings_of(context), folder))
    typer.echo(f"{done.rows:,} rows in {done.files:,} files, {done.added:,} of them new.")


async def _import(settings: Settings, folder: Path) -> Imported:
    async with wiring.database(settings) as database:
        with shown_progress(f"Reading {folder}") as progress:
            return await import_archive(database, folder, progress)
