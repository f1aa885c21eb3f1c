"""What services report of themselves, and what people are told."""

from escapement.storage.migrations.sql import run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add reports of services and the outbox of notifications."""
    run_sql("0009_operations.sql")
