"""Running the SQL file of a revision."""

from __future__ import annotations

from pathlib import Path

from alembic import op


def run_sql(name: str) -> None:
    """Run a file of statements in the revision's transaction.

    SQLAlchemy prepares what it runs, which allows one statement at a time; asyncpg itself takes a whole file.
    """
    text = (Path(__file__).parent / "versions" / name).read_text(encoding="utf-8")
    connection = op.get_bind().connection.dbapi_connection
    connection.run_async(lambda driver: driver.execute(text))  # type: ignore[union-attr] # asyncpg's own adapter
