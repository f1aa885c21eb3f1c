"""Turning the driver's exceptions into ours, once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from escapement.errors import ConfigurationError, EscapementError, SchemaMismatch, StorageError, StorageUnavailable

# Says nothing of the URL itself, which may hold the password; the driver's own message repeats parts of it.
UNREADABLE_URL = "database.url (DATABASE_URL) cannot be read; write postgresql://user:password@host:port/database"
_GONE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection cut in the middle of a conversation
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # the server is starting, stopping, or cut us off
    asyncpg.InsufficientResourcesError,  # disk full, too many connections
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
)


@contextmanager
def translated(*, missing_is_ours: bool = True) -> Iterator[None]:
    """Raise what the driver raises inside as a StorageError.

    Args:
        missing_is_ours: a missing table or column tells of another schema than this program's.

    Raises:
        StorageUnavailable: a later try may succeed.
        CancelledError: the task was cancelled meanwhile.
        SchemaMismatch: tables or columns are missing.
        StorageError: anything else the database says.
    """
    try:
        yield
    except EscapementError:
        raise  # some are ValueErrors too
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
        if not missing_is_ours:
            raise StorageError(f"the database refused: {error}") from error
        raise SchemaMismatch(f"the database lacks what this program needs ({error}); run escapement db init") from error
    except (ValueError, OverflowError) as error:
        # Before InterfaceError, of which the driver's own ValueErrors are a kind: a later try would not succeed.
        raise StorageError(f"the database or its driver cannot hold a value: {error}") from error
    except _GONE as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # A connection lost while a cancelled query is cleaned up hides that there is nothing to try again.
            raise asyncio.CancelledError from error
        raise StorageUnavailable(f"the database does not answer: {error or type(error).__name__}") from error
    except asyncpg.PostgresError as error:
        raise StorageError(f"the database refused: {error}") from error


@contextmanager
def connecting() -> Iterator[None]:
    """As ``translated``, for the first connection: what is wrong with the URL is a ConfigurationError.

    Raises:
        ConfigurationError: the URL cannot be read, or names a user, password or database that the server refuses.
        StorageError: as ``translated``.
    """
    with translated():
        try:
            yield
        except (ValueError, OverflowError):
            raise ConfigurationError(UNREADABLE_URL) from None
        except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
            raise ConfigurationError(f"the database server refused database.url (DATABASE_URL): {error}") from None
