"""A whole database in one file, and back: PostgreSQL's own archives, with what TimescaleDB needs besides.

Restoring is one transaction: it ends with all of the file in the database, or with the database as it was.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from escapement.errors import InvalidInput, SchemaMismatch, StorageError
from escapement.storage import queries
from escapement.storage.failures import connecting, translated
from escapement.storage.programs import Programs, client_programs, end, fitting, run, without_password, words
from escapement.storage.schema import REVISION_OF, is_known
from escapement.storage.timescale import timescale

_CLEAR = queries.load("clear_schema")
_TABLES = queries.load("tables")
_AT_WORK = queries.load("at_work")
_PIECE = 1 << 18
_SETTING_OF_17 = b"SET transaction_timeout = 0;\n"


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup is of: PostgreSQL's version, the schema's revision, whether with TimescaleDB; its size in bytes."""

    server_version: str
    revision: str
    timescale: bool
    bytes: int


async def back_up(url: str, file: Path) -> Backup:
    """Write everything in the database, as at one moment, to a new file that only its owner can read.

    Raises:
        InvalidInput: the file is there already or cannot be made.
        ConfigurationError: the URL is refused, or PostgreSQL's programs are too old for the server.
        StorageError: the database does not answer, refuses, or has no tables of ours.
    """
    async with _connected(url) as connection:
        major = connection.get_server_version().major
        with translated():
            version = str(await connection.fetchval("SHOW server_version")).partition(" ")[0]
        revision = await _revision(connection)
        is_timescale = (await timescale(connection)).installed is not None
    programs = fitting(await client_programs(), major)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    try:
        await asyncio.to_thread(_begin, file, partial)
        place, secret = without_password(url)
        options = ["--format=custom", "--no-owner", "--no-privileges", "--lock-wait-timeout=60s", f"--file={partial}"]
        await run(programs.command("pg_dump", *options, place), secret)
        size = await asyncio.to_thread(_publish, partial, file)
    except OSError as error:
        raise InvalidInput(f"{file} cannot be written: {error.strerror}; name another file") from error
    finally:
        partial.unlink(missing_ok=True)
    return Backup(version, revision, is_timescale, size)


async def restore(url: str, file: Path, *, replace: bool) -> Backup:
    """Put what a backup holds in the place of everything in the database's schema.

    The tables are then those of the backup's revision; ``migrate`` brings them up to date.

    Args:
        url: of the database.
        file: made by ``back_up``.
        replace: throw away what is there; without it a database with rows is refused.

    Raises:
        InvalidInput: the file is no backup of this program, or what it needs is not there.
        ConfigurationError: the URL is refused, or PostgreSQL's programs are too old for the file or the server.
        StorageError: the database is not empty, is in use, does not answer or refuses; it is as it was.
    """
    programs = await client_programs()
    backup, made_by = await _read_contents(programs[-1], file)
    async with _connected(url) as connection:
        major = connection.get_server_version().major
        await _check_is_free(connection, replace=replace)
        if backup.timescale:
            state = await timescale(connection)
            if state.available is None:
                raise InvalidInput(
                    f"{file} comes from a server with TimescaleDB and this one has none; restore it on one that has "
                    "it, and move from there with escapement db export and import"
                )
            with translated():
                await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    await _replace_all(url, file, fitting(programs, major, least=made_by), backup, major)
    return backup


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    with connecting():
        connection = await asyncpg.connect(url, timeout=30)
    try:
        yield connection
    finally:
        await connection.close()


async def _revision(connection: asyncpg.Connection[asyncpg.Record]) -> str:
    with translated():
        return str(await connection.fetchval(REVISION_OF))


async def _check_is_free(connection: asyncpg.Connection[asyncpg.Record], *, replace: bool) -> None:
    with translated():
        at_work = await connection.fetchval(_AT_WORK)
        if at_work:
            raise StorageError(f"escapement is at work on this database ({at_work} connections); stop it first")
        names = [row["name"] for row in await connection.fetch(_TABLES) if row["name"] != "alembic_version"]
        filled = [name for name in names if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {name})")]  # noqa: S608 - quoted by the server
    if filled and not replace:
        raise StorageError(
            f"the database is not empty ({', '.join(filled)}); name another, or throw away all it holds with --replace"
        )


async def _read_contents(programs: Programs, file: Path) -> tuple[Backup, int]:
    """Read what an archive is of, and the version of the program that wrote it."""
    size = await asyncio.to_thread(_size, file)
    try:
        contents = (await run(programs.command("pg_restore", "--list", str(file)))).decode()
        only_revision = "--data-only", "--table=alembic_version", "--file=-", str(file)
        rows = (await run(programs.command("pg_restore", *only_revision))).decode()
    except StorageError as error:
        raise InvalidInput(
            f"{file} cannot be read as a backup: {error}; name one that escapement db backup made"
        ) from None
    server = re.search(r"Dumped from database version: (\S+)", contents)
    program = re.search(r"Dumped by pg_dump version: (\d+)", contents)
    revision = re.search(r"^COPY public\.alembic_version .*\n(\S+)$", rows, re.MULTILINE)
    if not (server and program and revision):
        raise InvalidInput(f"{file} is no backup of this program's tables; name one that escapement db backup made")
    if not is_known(revision[1]):
        raise SchemaMismatch(f"{file} belongs to a newer version of this program ({revision[1]}); update the program")
    has_timescale = re.search(r" EXTENSION - timescaledb\b", contents) is not None
    return Backup(server[1], revision[1], has_timescale, size), int(program[1])


async def _replace_all(url: str, file: Path, programs: Programs, backup: Backup, server_major: int) -> None:
    """Let pg_restore write the statements and psql run them: only so are dropping and filling one transaction."""
    before = f"BEGIN;\nSET LOCAL lock_timeout = '60s';\n{_CLEAR};\n"
    after = "RESET search_path;\n"
    if backup.timescale:
        before += "SELECT timescaledb_pre_restore();\n"
        after += "SELECT timescaledb_post_restore();\n"
    place, secret = without_password(url)
    source = await asyncio.create_subprocess_exec(
        *programs.command("pg_restore", "--no-owner", "--no-privileges", "--no-comments", "--file=-", str(file)),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    target = await asyncio.create_subprocess_exec(
        *programs.command("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", place),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        env=os.environ | secret,
    )  # fmt: skip
    try:
        complaints = asyncio.gather(_all_of(source.stderr), _all_of(target.stderr))
        assert target.stdin is not None  # noqa: S101 - a pipe was asked for
        try:
            await _feed(target.stdin, before.encode())
            await _pump(source, target.stdin, server_major)
            # Without the last word, of a file that ends in the middle for one, the server rolls all of it back.
            if await source.wait() == 0:
                await _feed(target.stdin, f"{after}COMMIT;\n".encode())
        except (BrokenPipeError, ConnectionResetError):
            pass  # psql has ended; why it did is in its complaint
        target.stdin.close()
        await target.wait()
        await end(source)
        of_source, of_target = await complaints
        if target.returncode or source.returncode:
            raise StorageError(_reason(of_source, of_target, file))
    finally:
        await end(source)
        await end(target)


async def _pump(source: asyncio.subprocess.Process, sink: asyncio.StreamWriter, server_major: int) -> None:
    assert source.stdout is not None  # noqa: S101 - a pipe was asked for
    first = True
    while piece := await source.stdout.read(_PIECE):
        if first and server_major < 17:
            piece = piece.replace(_SETTING_OF_17, b"", 1)  # newer programs than the server write it
        first = False
        await _feed(sink, piece)


async def _feed(sink: asyncio.StreamWriter, data: bytes) -> None:
    sink.write(data)
    await sink.drain()


async def _all_of(stream: asyncio.StreamReader | None) -> bytes:
    assert stream is not None  # noqa: S101 - a pipe was asked for
    return await stream.read()


def _reason(of_source: bytes, of_target: bytes, file: Path) -> str:
    told = "; ".join(words(each) for each in (of_source, of_target) if each.strip())
    text = f"{file} was not restored and the database is as it was: {told}"
    if b"catalog version mismatch" in of_target:
        text += "; restore it on a server with the TimescaleDB version it comes from"
    return text


def _begin(file: Path, partial: Path) -> None:
    _check_is_new(file)
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _check_is_new(file: Path) -> None:
    if file.exists():
        raise InvalidInput(f"{file} is there already; name another file or move it away")


def _publish(partial: Path, file: Path) -> int:
    _check_is_new(file)
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    partial.rename(file)
    return file.stat().st_size


def _size(file: Path) -> int:
    if not file.is_file():
        raise InvalidInput(f"{file} is no file; name a file that escapement db backup made")
    return file.stat().st_size
