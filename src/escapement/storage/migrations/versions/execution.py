"""Orders, fills, positions, and what risk and reconciliation said."""

from escapement.storage.migrations.sql import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the tables of execution."""
    run_sql("0007_execution.sql")
