"""Who may write what: leases."""

from escapement.storage.migrations.sql import run_sql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the table of leases, and keep ingestion's state by contract."""
    run_sql("0010_leases.sql")
