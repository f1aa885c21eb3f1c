"""Alembic: the newest revision of the schema, and how a database gets there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from escapement.errors import SchemaMismatch

_MIGRATIONS = Path(__file__).parent / "migrations"


def head() -> str:
    """Return the newest revision this program knows."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def is_known(revision: str) -> bool:
    """Whether this program has a revision of that name."""
    return revision in {each.revision for each in ScriptDirectory.from_config(_config()).walk_revisions()}


async def apply(connect: Callable[[], Awaitable[asyncpg.Connection[asyncpg.Record]]]) -> None:
    """Bring the database that ``connect`` leads to to the newest revision, in one transaction.

    Raises:
        SchemaMismatch: the database belongs to a newer version of this program.
        asyncpg.PostgresError: the database refuses.
    """
    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise SchemaMismatch(
            f"the database belongs to a newer version of this program ({error}); update the program"
        ) from error
    except DBAPIError as error:
        # Both wrappers off: below SQLAlchemy's and its dialect's is the driver's own error, told as everywhere else.
        raise (error.orig and error.orig.__cause__) or error from None


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
