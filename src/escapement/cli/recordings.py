"""``escapement recordings``: what the recorder has kept."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from escapement import wiring
from escapement.cli import app, settings_of
from escapement.errors import ConfigurationError
from escapement.recordings import recording_files

recordings_app = typer.Typer(help="Recorded messages of the market hub.", no_args_is_help=True)
app.add_typer(recordings_app, name="recordings")


@recordings_app.command("list")
def list_recordings(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the files of the recorder, oldest first, with their UTC day and size."""
    directory = wiring.recordings_directory(settings_of(context))
    try:
        files = recording_files(directory) if directory.exists() else []
        rows = [(file, file.path.stat().st_size) for file in files]
    except OSError as error:
        raise ConfigurationError(f"recorder.directory {directory}: {error.strerror}; name a folder") from error
    if json:
        plain = [{"file": str(file.path), "day": file.day.isoformat(), "bytes": size} for file, size in rows]
        typer.echo(orjson.dumps(plain, option=orjson.OPT_INDENT_2))
        return
    table = Table("day", "file", "bytes", box=None)
    for file, size in rows:
        table.add_row(file.day.isoformat(), file.path.name, f"{size:,}")
    Console().print(table)
    typer.echo(f"{len(rows)} files, {sum(size for _, size in rows):,} bytes in {directory}")
