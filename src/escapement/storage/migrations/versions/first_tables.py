"""The first tables."""

from escapement.storage.migrations.sql import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create them."""
    run_sql("0001_first_tables.sql")
