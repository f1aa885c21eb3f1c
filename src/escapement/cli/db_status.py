"""``escapement db status``: what the database is and holds."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import orjson
import typer

from escapement.cli import settings_of
from escapement.cli.db import db_app, status_at, timescale_line, with_database
from escapement.cli.tables import size_text
from escapement.storage.timescale import Chunks


@db_app.command()
def status(context: typer.Context, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what server it is, what schema it has, what of TimescaleDB is used, its size, and what bars are stored."""
    settings = settings_of(context)
    state = with_database(settings, status_at)
    kind = "embedded" if settings.database.url is None else "external"
    if json:
        rows = [asdict(series) | {"timeframe": str(series.timeframe)} for series in state.series]
        plain = {"kind": kind, **asdict(state), "series": rows}
        plain["timescale"]["edition"] = state.timescale.edition
        typer.echo(orjson.dumps(plain, option=orjson.OPT_INDENT_2))
        return
    typer.echo(f"server     PostgreSQL {state.server_version}, {kind}")
    if settings.database.url is None:
        typer.echo(f"data       {settings.data_dir / 'postgres'}")
    needed = "" if state.revision == state.head else f", this program needs {state.head}: run escapement db init"
    typer.echo(f"schema     revision {state.revision or 'none'}{needed}")
    typer.echo(f"timescale  {timescale_line(state)}")
    for line in _chunk_lines(state.chunks):
        typer.echo(line)
    if state.tables:
        largest = ", ".join(f"{table.name} {size_text(table.bytes)}" for table in state.tables[:3])
        typer.echo(f"size       {size_text(sum(table.bytes for table in state.tables))}: {largest}, and others")
    for series in state.series:
        typer.echo(
            f"bars       {series.contract_id:24} {series.timeframe!s:>4} {series.bars:9,}  "
            f"{series.first:%Y-%m-%d %H:%M}Z to {series.last:%Y-%m-%d %H:%M}Z, {series.not_whole:,} not whole"
        )


def _chunk_lines(chunks: Chunks | None) -> list[str]:
    if chunks is None:
        return []
    span = f", {chunks.first:%Y-%m-%d} to {chunks.last:%Y-%m-%d}" if chunks.first and chunks.last else ""
    lines = [f"chunks     {chunks.chunks:,} of {chunks.chunk_days:g} days each{span}, {size_text(chunks.bytes)}"]
    if chunks.after_bytes:
        before, after = size_text(chunks.before_bytes), size_text(chunks.after_bytes)
        ratio = chunks.before_bytes / chunks.after_bytes
        lines.append(f"compressed {chunks.compressed_chunks:,} chunks, {before} to {after}, {ratio:.1f} to 1")
    else:
        lines.append(f"compressed {chunks.compressed_chunks:,} chunks")
    for policy in chunks.policies:
        last = f"last run {policy.last_run}" if policy.last_run else "not run yet"
        lines.append(f"policy     {policy.name} after {policy.days:g} days, {last}")
    return lines if chunks.policies else [*lines, "policy     none"]
