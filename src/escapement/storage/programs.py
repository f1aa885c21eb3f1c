"""PostgreSQL's own client programs, the installed and those of the wheel, found by version."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from escapement.errors import ConfigurationError, StorageError
from escapement.storage.embedded import POSTGRES_BIN_PATH

_NAMES = "pg_dump", "pg_restore", "psql"
_TOLD = 5  # lines of what a program complains of; the first says what, the rest follows from it


@dataclass(frozen=True, slots=True, order=True)
class Programs:
    """The programs ``pg_dump``, ``pg_restore`` and ``psql`` of one major version, in one folder."""

    major: int
    folder: Path

    def command(self, name: str, *arguments: str) -> list[str]:
        """Return the command line of one of them."""
        return [str(self.folder / name), *arguments]


async def client_programs() -> list[Programs]:
    """Return what there is, the oldest version first.

    Raises:
        ConfigurationError: there is none.
    """
    found: dict[int, Programs] = {}
    for folder in await asyncio.to_thread(_folders):
        version = re.search(rb"\d+", await run([str(folder / "pg_dump"), "--version"]))
        if version:
            found.setdefault(int(version[0]), Programs(int(version[0]), folder))
    if not found:
        raise ConfigurationError("PostgreSQL's programs pg_dump, pg_restore and psql are not on PATH; install them")
    return sorted(found.values())


def fitting(programs: list[Programs], server_major: int, *, least: int = 0) -> Programs:
    """Return the programs of the server's version, else the oldest newer ones.

    Args:
        programs: what there is, the oldest version first.
        server_major: the server's major version.
        least: the version whose archives they have to read.

    Raises:
        ConfigurationError: all are too old.
    """
    needed = max(server_major, least)
    for each in programs:
        if each.major >= needed:
            return each
    raise ConfigurationError(
        f"PostgreSQL's programs of version {needed} or later are needed and the newest here are {programs[-1].major}; "
        f"install postgresql-client-{needed} or put its folder on PATH"
    )


def without_password(url: str) -> tuple[str, dict[str, str]]:
    """Split a URL into what may stand on a command line, which everybody can read, and the variable for the rest."""
    parts = urlsplit(url)
    access, at, place = parts.netloc.rpartition("@")
    user, _, password = access.partition(":")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    secret = unquote(password) or options.get("password", "")
    if not secret:
        return url, {}
    rest = urlencode({name: value for name, value in options.items() if name != "password"}, safe="/", quote_via=quote)
    return f"{parts.scheme}://{user}{at}{place}{parts.path}{'?' if rest else ''}{rest}", {"PGPASSWORD": secret}


async def run(command: list[str], secret: dict[str, str] | None = None) -> bytes:
    """Run a program to its end; return what it printed.

    Raises:
        StorageError: it failed, with its own words.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=os.environ | (secret or {}),
    )  # fmt: skip
    try:
        output, complaint = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.communicate()
        raise
    if process.returncode:
        raise StorageError(f"{Path(command[0]).name} failed: {words(complaint)}")
    return output


async def end(process: asyncio.subprocess.Process) -> None:
    """Make sure that a program ends, also one whose output nobody read to its end."""
    if process.returncode is None:
        process.kill()
    while process.stdout is not None and await process.stdout.read(1 << 18):
        pass
    await process.wait()


def _folders() -> list[Path]:
    installed = shutil.which("pg_dump")
    folders = [POSTGRES_BIN_PATH, *([Path(installed).parent] if installed else [])]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # where Debian keeps them
    return [folder for folder in folders if all((folder / name).exists() for name in _NAMES)]


def words(complaint: bytes) -> str:
    """Return the first lines of what a program complains of, warnings and notices left out."""
    lines = [line for line in complaint.decode(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"error|fatal", line, re.IGNORECASE)] or lines
    return "; ".join(telling[:_TOLD]) or "it said nothing"
