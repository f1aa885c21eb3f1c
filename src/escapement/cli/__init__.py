"""The command line: one file a command.

Exit codes: 0 done; 1 the work failed or found something wrong; 2 a setting, argument or input file must be changed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from escapement import __version__
from escapement.errors import ConfigurationError, EscapementError
from escapement.logs import configure_logging, redact
from escapement.settings import Settings, load_settings

app = typer.Typer(
    name="escapement",
    help="A mechanical trading system for futures traded through the ProjectX Gateway.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings file; else config/settings.yaml when it is there.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and end.")
    ] = False,
) -> None:
    """Take the options that every command shares."""
    del version
    context.obj = settings


def settings_of(context: typer.Context, **overrides: Any) -> Settings:
    """Load the settings a command runs with and set up logging by them.

    Raises:
        ConfigurationError: they cannot be used.
    """
    settings = load_settings(context.obj, **overrides)
    chosen = settings.logging
    configure_logging(chosen.level, chosen.format, stream=chosen.stream, event_key=chosen.event_key)
    return settings


def main() -> None:
    """Run the command line; errors raised on purpose end it with their message and an exit code, never a traceback."""
    try:
        app()
    except EscapementError as error:
        for line in redact(str(error)).splitlines():
            sys.stderr.write(f"error: {line}\n")
        sys.exit(2 if isinstance(error, ConfigurationError) else 1)


# Commands register themselves on ``app``, so they are imported after it.
from escapement.cli import (  # noqa: E402
    analyze,  # noqa: F401
    analyzers,  # noqa: F401
    backtest,  # noqa: F401
    bars,  # noqa: F401
    completeness,  # noqa: F401
    config,  # noqa: F401
    coordinate,  # noqa: F401
    dashboard,  # noqa: F401
    db,  # noqa: F401
    db_archive,  # noqa: F401
    db_backup,  # noqa: F401
    db_status,  # noqa: F401
    decisions,  # noqa: F401
    demo,  # noqa: F401
    evaluate,  # noqa: F401
    execute,  # noqa: F401
    gaps,  # noqa: F401
    gateway,  # noqa: F401
    history,  # noqa: F401
    ingest,  # noqa: F401
    kill,  # noqa: F401
    leases,  # noqa: F401
    notify,  # noqa: F401
    orders,  # noqa: F401
    parity,  # noqa: F401
    pnl,  # noqa: F401
    positions,  # noqa: F401
    recordings,  # noqa: F401
    risk,  # noqa: F401
    run,  # noqa: F401
    services,  # noqa: F401
    signals,  # noqa: F401
    simulate,  # noqa: F401
    sweep,  # noqa: F401
    trades,  # noqa: F401
    watchdog,  # noqa: F401
)
