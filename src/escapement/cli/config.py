"""``escapement config``: what is in force, and whether it can be used."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer
import yaml

from escapement.cli import app, settings_of

config_app = typer.Typer(help="The settings in force.", no_args_is_help=True)
app.add_typer(config_app, name="config")


@config_app.command()
def show(
    context: typer.Context, json: Annotated[bool, typer.Option("--json", help="Print JSON instead of YAML.")] = False
) -> None:
    """Print every setting in force, secrets masked."""
    values = settings_of(context).model_dump(mode="json")
    if json:
        typer.echo(orjson.dumps(values, option=orjson.OPT_INDENT_2))
    else:
        typer.echo(yaml.safe_dump(values, sort_keys=False), nl=False)


@config_app.command()
def check(context: typer.Context) -> None:
    """Say whether the settings can be used; faults are named, one a line, with exit code 2."""
    settings = settings_of(context)
    contracts = ", ".join(contract.id for contract in settings.contracts) or "none yet"
    typer.echo(f"The settings can be used. Contracts: {contracts}.")
