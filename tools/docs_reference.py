"""Pages of reference made of the code: the command line, variables and settings, tables, events."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
from typer.main import get_command

import escapement
from escapement.cli import app
from escapement.settings import LIVE_VARIABLE, LOCATION_VARIABLE, Settings, load_settings, setting_paths
from escapement.settings.sources import PREFIX, SETTINGS_VARIABLE, VARIABLES
from escapement.storage import DBHandler, migrate
from escapement.storage.audit import AuditStore
from escapement.storage.embedded import embedded_server
from escapement.web.api import PREFIX as PREFIX_OF_API
from escapement.web.api import api
from escapement.web.app import make_parts
from escapement.web.security.sessions import Sessions

_PACKAGE = Path(escapement.__file__).parent
_LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
_COLUMNS = """
SELECT c.relname AS "table", c.relkind = 'v' AS is_view, a.attname AS "column",
       format_type(a.atttypid, a.atttypmod) AS "type", a.attnotnull AS required,
       pg_get_expr(d.adbin, d.adrelid) AS "default",
       COALESCE(a.attnum = ANY (k.conkey), false) AS is_key
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'p')
ORDER BY c.relname, a.attnum
"""
_CHANNELS = """
SELECT p.proname AS "function", t.tgrelid::regclass::text AS "table", p.prosrc AS source
FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
WHERE NOT t.tgisinternal AND p.prosrc LIKE '%pg_notify%'
ORDER BY 2, 1
"""


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def command_line() -> str:
    """Return every command with its arguments and options."""
    parts = [
        "# Command line",
        "Made of the program itself. [Commands](../commands.md) tells what they are for, and the exit codes.",
    ]
    for name, command in _leaves(get_command(app), "escapement"):
        parts += [f"## {name}", _cell(command.help or "")]
        rows = [
            f"| `{_called(each)}` | {_cell(getattr(each, 'help', None) or '')} | {_default(each)} |"
            for each in command.params
            if each.name != "help"
        ]
        if rows:
            parts.append("\n".join(["| argument or option | what it does | default |", "|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None or command.invoke_without_command:
        yield name, command
    for word, each in (inner or {}).items():
        yield from _leaves(each, f"{name} {word}")


def _called(param: Any) -> str:
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper())
    names = ", ".join([*param.opts, *param.secondary_opts])
    return names if param.is_flag else f"{names} {param.metavar or param.name.upper()}"


def _default(param: Any) -> str:
    if param.required:
        return "needed"
    value = param.default
    return "" if value is None or value is False or callable(value) else f"`{value}`"


def variables() -> str:
    """Return every variable of the environment and the setting it stands for."""
    others: dict[str, list[str]] = {}
    for name, path in VARIABLES.items():
        others.setdefault(path, []).append(name)
    defaults = Settings().model_dump(mode="json")
    parts = [
        "# Variables",
        "Every variable that counts, in `.env` or the environment. [Settings](../settings.md) says what each does.",
        "| variable | setting | default |\n|---|---|---|",
    ]
    for path in setting_paths():
        value: Any = defaults
        for word in path.split("."):
            value = value[word]
        shown = "null" if path == "data_dir" else json.dumps(value)
        names = [*others.get(path, []), f"{PREFIX}{path.upper().replace('.', '__')}"]
        parts[-1] += f"\n| {', '.join(f'`{name}`' for name in names)} | `{path}` | `{_cell(shown)}` |"
    parts.append(
        "| variable | what it does |\n|---|---|\n"
        f"| `{SETTINGS_VARIABLE}` | the settings file, unless `--settings` names one |\n"
        f"| `{LIVE_VARIABLE}` | `yes` is one of the things that [live trading](../execution.md#live) needs |\n"
        f"| `{LOCATION_VARIABLE}` | `own-device` says so, where a [firm](../risk.md) forbids servers |"
    )
    return "\n\n".join(parts) + "\n"


def tables() -> str:
    """Return the tables and views of a database that was just made, and what it announces."""
    with tempfile.TemporaryDirectory(prefix="escapement-docs-") as folder, embedded_server(Path(folder)) as url:
        columns, channels = asyncio.run(_schema(url))
    parts = [
        "# Tables",
        "Read from a database as `escapement db init` makes it. [The database](../storage.md) tells what they are for.",
    ]
    for table in dict.fromkeys(row["table"] for row in columns if row["table"] != "alembic_version"):
        mine = [row for row in columns if row["table"] == table]
        parts += [
            f"## {table}",
            "\n".join([*(["A view.", ""] if mine[0]["is_view"] else []), "| column | type | |", "|---|---|---|",
                       *(f"| `{row['column']}` | {row['type']} | {_notes(row)} |" for row in mine)]),
        ]  # fmt: skip
    parts += ["## Announcements", "| channel of `NOTIFY` | when rows change in |\n|---|---|"]
    for row in channels:
        for channel in re.findall(r"pg_notify\(\s*'(\w+)'", row["source"]):
            parts[-1] += f"\n| `{channel}` | `{row['table']}` |"
    return "\n\n".join(parts) + "\n"


def http_api() -> str:
    """Return the calls of the dashboard's JSON API, by its own OpenAPI."""
    with tempfile.TemporaryDirectory(prefix="escapement-docs-") as folder, embedded_server(Path(folder)) as url:
        described = asyncio.run(_described(url, Path(folder)))
    parts = [
        "# HTTP API",
        f"Made of the API's own description, `{PREFIX_OF_API}/openapi.json`, which says what each answer holds.",
        "[The dashboard](../dashboard.md) tells who may call it.",
    ]
    for path, calls in described["paths"].items():
        for method, call in calls.items():
            parts += [f"## {method.upper()} {PREFIX_OF_API}{path}", _cell(call.get("description") or call["summary"])]
            rows = [
                f"| `{each['name']}` | {each['in']} | {'yes' if each.get('required') else ''} "
                f"| {_cell(each.get('description') or each['schema'].get('description') or '')} |"
                for each in call.get("parameters", ())
            ]
            if rows:
                parts.append("\n".join(["| parameter | in | required | |", "|---|---|---|---|", *rows]))
            answers = ", ".join(f"{code} {_cell(each['description'])}" for code, each in call["responses"].items())
            parts.append(f"Answers: {answers}.")
    return "\n\n".join(parts) + "\n"


async def _described(url: str, folder: Path) -> dict[str, Any]:
    await migrate(url)
    settings = load_settings(environ={}, data_dir=folder / "data", database={"url": url})
    async with await DBHandler.open(url) as database:
        parts = make_parts(settings, database, database, Sessions(b"none is opened", settings.dashboard.session_hours))
        return api(parts, AuditStore(database)).openapi()


async def _schema(url: str) -> tuple[list[Any], list[Any]]:
    await migrate(url)
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(_COLUMNS), await connection.fetch(_CHANNELS)
    finally:
        await connection.close()


def _notes(row: Any) -> str:
    notes = ["key"] if row["is_key"] else [] if row["required"] or row["is_view"] else ["may be null"]
    return ", ".join([*notes, *([f"default `{_cell(row['default'])}`"] if row["default"] else [])])


def events() -> str:
    """Return every event that is logged, with its level and fields, read from the source."""
    found: dict[tuple[str, str, str], dict[str, None]] = {}
    for file in sorted(_PACKAGE.rglob("*.py")):
        module = ".".join(file.relative_to(_PACKAGE).with_suffix("").parts)
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match call:
                case ast.Call(ast.Attribute(ast.Name(id=logger), level), [ast.Constant(str(name)), *_], fields) if (
                    level in _LEVELS and logger.strip("_") in {"log", "logger"}
                ):
                    found.setdefault((name, level, module), {}).update(dict.fromkeys(f.arg or "…" for f in fields))
    rows = [
        f"| `{name}` | {level} | {', '.join(f'`{each}`' for each in fields)} | `{module}` |"
        for (name, level, module), fields in sorted(found.items())
    ]
    return (
        "# Events\n\nWhat is logged, made of the source. Each event also carries its time, level and service.\n\n"
        + "\n".join(["| event | level | fields | module |", "|---|---|---|---|", *rows])
        + "\n"
    )
