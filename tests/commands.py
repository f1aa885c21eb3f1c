"""Commands as documentation and deployment files write them, read by the program's own command line."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import typer
from typer._click import ClickException
from typer.main import get_command

from escapement.cli import app


def blocks(page: Path) -> list[tuple[str, str]]:
    """The code blocks of a page, in order: what stands behind the opening fence, and the content."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^( *)```([^\n`]*)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return [(kind, textwrap.dedent(content)) for _, kind, content in found]


def commands_in(text: str) -> Iterator[list[str]]:
    """Each call of the program in lines of a shell, as its words after the program's name."""
    lines = text.replace("\\\n", " ").splitlines()
    while lines:
        found = re.match(r"\s*(?:[A-Z_]+=\S+ )*(?:\S+/)?escapement(?: (.*))?$", lines.pop(0))
        rest = "" if found is None else found[1] or ""
        while found is not None:
            try:
                yield shlex.split(rest, comments=True)
                break
            except ValueError:  # a quotation that goes on
                rest += f"\n{lines.pop(0)}"


def refusal(words: list[str]) -> str | None:
    """What the command line has against a command, None if it would run it; files need not be there."""
    command, context, rest = get_command(app), None, list(words)
    try:
        while True:
            context = command.make_context(command.name, rest, parent=context)
            rest = [*context._protected_args, *context.args]
            if not rest or not hasattr(command, "resolve_command"):
                return None
            _, command, rest = command.resolve_command(context, rest)
    except typer.Exit:
        return None
    except ClickException as error:
        return None if "does not exist" in str(error) else f"{' '.join(words)}: {type(error).__name__} {error}"
