"""Provenance of bars, gaps and coverage."""

from escapement.storage.migrations.sql import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add them."""
    run_sql("0002_provenance.sql")
