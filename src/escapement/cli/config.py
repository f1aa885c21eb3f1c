"""``escapement config``: what is in force, and whether it can be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import orjson
import typer
import yaml

from escapement import wiring, wiring_operations
from escapement.cli import app, settings_of
from escapement.settings import load_settings_with_origins
from escapement.web import process

config_app = typer.Typer(help="The settings in force.", no_args_is_help=True)
app.add_typer(config_app, name="config")


@config_app.command()
def show(
    context: typer.Context, json: Annotated[bool, typer.Option("--json", help="Print JSON instead of YAML.")] = False
) -> None:
    """Print every setting in force, secrets masked; YAML tells where each came from."""
    settings, origins = load_settings_with_origins(context.obj)
    values = settings.model_dump(mode="json")
    if json:
        typer.echo(orjson.dumps(values, option=orjson.OPT_INDENT_2))
    else:
        for line in _yaml(values, origins):
            typer.echo(line)


@config_app.command()
def check(context: typer.Context) -> None:
    """Say whether the settings can be used; faults are named, one a line, with exit code 2."""
    settings = settings_of(context)
    wiring.coordination_rules(settings, wiring.analyzer_runs(settings))
    if "dashboard" in settings.run.services:
        process.check(settings)
    wiring_operations.postmen(settings)
    named = [contract.id for contract in settings.contracts]
    contracts = ", ".join(named + [f"the front of {product.code}" for product in settings.products]) or "none yet"
    typer.echo(f"The settings can be used. Contracts: {contracts}.")


def _yaml(values: Mapping[str, Any], origins: Mapping[str, str], section: str = "") -> Iterator[str]:
    indent = "  " if section else ""
    for name, value in values.items():
        if isinstance(value, dict) and not section:  # below a section a table is one setting
            yield f"{name}:"
            yield from _yaml(value, origins, f"{name}.")
        else:
            text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1_000)
            text = text.removesuffix("...\n").strip()  # the end of a document that is a bare scalar
            yield f"{indent}{name}: {text}  # {origins[section + name]}"
