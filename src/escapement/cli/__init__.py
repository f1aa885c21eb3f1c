"""The command line: one file a command.

Exit codes: 0 done; 1 the work failed or found something wrong; 2 a setting, argument or input file must be changed.
"""

from __future__ import annotations

import sys

import typer

from escapement.errors import ConfigurationError, EscapementError

app = typer.Typer(
    name="escapement",
    help="A mechanical trading system for futures traded through the ProjectX Gateway.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; errors raised on purpose end it with their message and an exit code, never a traceback."""
    try:
        app()
    except ConfigurationError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except EscapementError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)


# Commands register themselves on ``app``, so they are imported after it.
from escapement.cli import bars  # noqa: E402, F401
