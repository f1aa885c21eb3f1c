"""Who steered from the dashboard."""

from escapement.storage.migrations.sql import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the audit log, and indexes for the dashboard."""
    run_sql("0008_audit.sql")
